"""Boxes of a frame are found again in the frames beside it, where things have moved."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from support.films import SIDE, encoded, film, moving, scene

from labelloop.boxes import iou_matrix
from labelloop.looks import NEAR, distances, look_of
from trainer.dataset.following import Corners, Grey, follow, grey_of

RIGHT = 0.7
"""From this IoU on a person accepts a box as it is."""


def grey(frame: np.ndarray) -> Grey:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))


def iou(one: Corners, other: Corners) -> float:
    return float(iou_matrix(np.float32([one]), np.float32([other]))[0, 0])


def test_in_near_frames_of_films_nearly_all_boxes_are_right_and_hardly_any_in_place() -> None:
    in_place, followed = [], []
    for seed in range(12):
        frames = moving(seed, 8)
        looks = [look_of(frame[:, :, ::-1]) for frame, _ in frames]
        for number in range(1, len(frames)):
            one, other = looks[0], looks[number]
            assert one is not None and other is not None
            if distances(one, other[None])[0] > NEAR:
                continue
            before, after = frames[0], frames[number]
            found = follow(grey(before[0]), grey(after[0]), before[1])
            for old, (new, score), truth in zip(before[1], found, after[1], strict=True):
                in_place.append(iou(old, truth) >= RIGHT)
                followed.append(score > 0 and iou(new, truth) >= RIGHT)
    assert len(followed) >= 200
    assert np.mean(followed) >= 0.98 and np.mean(in_place) <= 0.05


def test_what_is_gone_is_not_found_again() -> None:
    frame = film(1, 1)[0]
    gone = scene(1, SIDE + 2)[:SIDE, :SIDE]
    left = 100 * (SIDE // 2) / SIDE
    box = (left, 25.0, left + 12.5, 37.5)
    assert follow(grey(frame), grey(frame), [box]) == [(box, pytest.approx(1.0))]
    assert follow(grey(frame), grey(gone), [box]) == [(box, 0.0)]


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
def test_copies_saved_anew_in_another_size_have_it_in_place(tmp_path: Path, scale: float) -> None:
    (frame, boxes), *_ = moving(3, 1)
    (tmp_path / "one.png").write_bytes(encoded(frame))
    (tmp_path / "other.jpg").write_bytes(encoded(frame, "JPEG", 60, scale))
    found = follow(grey_of(tmp_path / "one.png"), grey_of(tmp_path / "other.jpg"), boxes)
    assert all(score > 0 and iou(new, old) > 0.9 for old, (new, score) in zip(boxes, found, strict=True))


def test_images_of_another_shape_and_boxes_at_the_edge_are_no_trouble(tmp_path: Path) -> None:
    frame = scene(1)
    whole, corner, speck = (0.0, 0.0, 100.0, 100.0), (95.0, 95.0, 100.0, 100.0), (50.0, 50.0, 50.2, 50.2)
    wide = np.asarray(cv2.resize(frame, (2 * SIDE, SIDE)))
    assert follow(grey(frame), grey(wide), [whole]) == [(whole, 0.0)]
    assert [score > 0 for _, score in follow(grey(frame), grey(frame), [whole, corner, speck])] == [True] * 3
    plain = np.full((SIDE, SIDE), 90, np.uint8)
    assert follow(plain, plain, [corner]) == [(corner, 1.0)]
    assert follow(plain, plain + np.uint8(60), [corner]) == [(corner, 0.0)]


def test_a_large_image_is_looked_at_small(tmp_path: Path) -> None:
    Image.fromarray(scene(1, 1200)).save(tmp_path / "large.png")
    assert grey_of(tmp_path / "large.png").shape == (600, 600)
