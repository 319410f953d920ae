from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from support.films import boards, encoded, film, scene

from labelloop.images import read_image
from labelloop.looks import (
    NEAR,
    WORDS,
    Looks,
    are_near,
    distances,
    groups_of,
    look_of,
    looks_lines,
    read_looks,
)


def looks(*images: np.ndarray) -> Looks:
    return np.stack([found for image in images if (found := look_of(image)) is not None])


@pytest.mark.parametrize("change", ["jpeg", "half", "double", "brighter", "grey", "moved", "caption"])
def test_a_copy_that_was_changed_a_little_is_near(change: str) -> None:
    image = scene(1)
    other = image.copy()
    if change == "jpeg":
        other = read_image(encoded(image[:, :, ::-1], "JPEG", quality=40))
    elif change in ("half", "double"):
        scale = 0.5 if change == "half" else 2.0
        other = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    elif change == "brighter":
        other = np.clip(image * 1.15 + 10, 0, 255).astype(np.uint8)
    elif change == "grey":
        other = np.repeat(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[:, :, None], 3, axis=2)
    elif change == "moved":
        other[2:, 3:] = image[:-2, :-3]
    else:
        other[:24, 150:] = 255
    assert distances(*looks(image, other)[:1], looks(other)).max() <= NEAR


def test_different_images_are_not_near_boards_of_one_make_included() -> None:
    every = looks(*(scene(seed) for seed in range(60)), *boards(60))
    assert len(every) == 120
    near = are_near(every, every)
    assert (near == np.eye(len(every), dtype=bool)).all()


def test_what_is_near_is_within_the_limits_pair_by_pair() -> None:
    rng = np.random.default_rng(0)
    flips = rng.random((300, 8 * 8 * WORDS)) < rng.uniform(0, 0.3, (300, 1))
    every = np.packbits(flips, axis=1, bitorder="little").view(np.uint64)
    ours = are_near(every[:40], every)
    apart = (flips[:40, None] != flips[None]).sum(axis=2)
    coarse = (flips[:40, None, :64] != flips[None, :, :64]).sum(axis=2)
    assert (ours == ((apart <= 56) & (coarse <= 16))).all() and 100 < ours.sum() < 40 * 300
    assert (distances(every[7], every) == apart[7]).all()


@pytest.mark.parametrize("rows", [1, 7, 64, 1000])
def test_frames_of_a_film_are_one_group_and_others_alone(rows: int) -> None:
    """The last frame is far from the first, but near its neighbours."""
    frames = film(5, 30)
    every = looks(*frames, *(scene(seed) for seed in range(20)))
    mixed = np.random.default_rng(0).permutation(len(every))
    groups = groups_of(every[mixed], rows=rows)
    of_film = groups[np.isin(mixed, np.arange(30))]
    assert not are_near(every[:1], every[29:30]).any()
    assert len(set(of_film.tolist())) == 1 and of_film[0] == np.flatnonzero(mixed < 30)[0]
    assert len(set(groups.tolist())) == 21


def test_an_image_of_one_colour_or_of_plain_stripes_has_no_look() -> None:
    stripes = np.repeat(scene(1)[:1], 240, axis=0)
    assert look_of(stripes) is None and look_of(np.ascontiguousarray(stripes.transpose(1, 0, 2))) is None
    assert look_of(np.full((50, 60, 3), 200, np.uint8)) is None
    assert look_of(np.asarray(Image.new("RGB", (1, 1)))) is None


def test_looks_survive_a_file_and_damaged_lines_are_left_out(tmp_path: Path) -> None:
    look = looks(scene(1))[0].tobytes()
    rows = [("a" * 64, look), ("b" * 64, None)]
    path = tmp_path / "looks.txt"
    assert list(read_looks(path)) == []
    path.write_text("".join(looks_lines(rows)))
    assert list(read_looks(path)) == rows
    path.write_text("".join(looks_lines(rows))[:-3] + "\nccc zz\n" + "d" * 64 + " 00\n\n")
    assert list(read_looks(path)) == rows[:1]
