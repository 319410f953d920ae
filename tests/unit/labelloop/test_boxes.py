import numpy as np
import pytest

from labelloop.boxes import Boxes, iou_matrix, nms


def test_arrays_that_do_not_agree_are_refused_with_what_came() -> None:
    with pytest.raises(ValueError, match=r"\(3,\)"):
        Boxes.of(np.zeros((2, 4)), [1.0, 1.0, 1.0], [0, 0])


def test_clip_keeps_what_is_inside_and_drops_slivers_and_nan() -> None:
    boxes = Boxes.of(
        [[-5, -5, 10, 10], [20, 0, 40, 10], [5, 5, 5.5, 9], [np.nan, 0, 9, 9], [0, 0, 9, 9]],
        [0.9, 0.8, 0.7, 0.6, np.nan],
        [0, 1, 2, 3, 4],
    )
    clipped = boxes.clip(width=20, height=20)
    assert clipped.labels.tolist() == [0]
    assert clipped.xyxy.tolist() == [[0, 0, 10, 10]]


def test_iou_of_equal_apart_and_half_covered_boxes() -> None:
    a = np.array([[0, 0, 10, 10]], dtype=np.float32)
    b = np.array([[0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 5], [3, 3, 3, 3]], dtype=np.float32)
    assert iou_matrix(a, b).tolist() == [[1.0, 0.0, 0.5, 0.0]]


def test_nms_suppresses_within_a_label_only_and_sorts_by_score() -> None:
    boxes = Boxes.of(
        [[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [50, 50, 60, 60]], [0.5, 0.9, 0.7, 0.8], [0, 0, 1, 0]
    )
    kept = nms(boxes, iou_threshold=0.5)
    assert kept.scores.tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert kept.labels.tolist() == [0, 0, 1]
