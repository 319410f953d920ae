import numpy as np
import pytest

from labelloop.boxes import Boxes, iou_matrix, nms, prediction_score


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


def score(*scores: float, weights: float | list[float] = 1.0) -> float:
    return prediction_score(np.array(scores, np.float32), np.array(weights, np.float32))


def test_what_teaches_more_is_asked_for_first() -> None:
    """The least sure box, more such boxes, boxes of rarer labels."""
    assert 0 < score(0.5) < score(0.3) < score(0.9) < score(0.99) < 1
    assert score(*[0.5] * 300) < score(*[0.5] * 3) < score(0.5)
    assert score(0.5, 0.9, weights=[3.0, 0.5]) < score(0.5, 0.9, weights=[0.5, 3.0])


def test_noise_does_not_count() -> None:
    assert score(0.5, *[0.04] * 300, float("nan")) == score(0.5)


def test_an_image_without_candidates_has_a_real_score() -> None:
    assert score() == score(0.01) == 1.0
