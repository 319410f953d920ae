"""Near-duplicates of labelled images come last; crowded images get all their boxes."""

import numpy as np
from support.backend_home import Home
from support.films import encoded, film, scene

from labelloop.boxes import Boxes
from labelloop.looks import look_of, looks_lines


def add(home: Home, name: str, content: bytes) -> str:
    (home.settings.images_dir / name).write_bytes(content)
    return f"/data/local-files/?d=images/{name}"


def label(home: Home, *frames: np.ndarray) -> None:
    """Leaves what a snapshot with these images leaves."""
    rows = [(f"{number:064x}", found.tobytes()) for number, frame in enumerate(frames)
            if (found := look_of(frame[:, :, ::-1])) is not None]  # fmt: skip
    (home.registry.project(1).path / "looks.txt").write_text("".join(looks_lines(rows)))


def test_near_duplicates_of_labelled_images_are_asked_for_last(home: Home) -> None:
    frames = film(1, 3)
    urls = [
        add(home, "copy.jpg", encoded(frames[0], "JPEG", quality=60)),
        add(home, "neighbour.png", encoded(frames[2])),
        *(add(home, f"{seed}.png", encoded(scene(seed))) for seed in range(10, 30)),
    ]
    before = [result["score"] for result in home.results(*urls)]
    assert max(before) < 1
    label(home, frames[0])
    after = [result["score"] for result in home.results(*urls)]
    assert after == [1.0, 1.0, *before[2:]]
    label(home)
    assert [result["score"] for result in home.results(*urls)] == before


def test_of_a_trained_version_too_and_its_boxes_are_there(home: Home) -> None:
    home.add_version(classes=["pet"], dataset_fingerprint="made")
    copy = add(home, "copy.png", encoded(scene(1)))
    [before] = home.results(copy)
    label(home, scene(1))
    [after] = home.results(copy)
    assert before["score"] < after["score"] == 1.0
    assert len(after["result"]) == len(before["result"]) == 1


def test_2000_objects_of_an_image_are_2000_proposals(home: Home) -> None:
    corners = [[8 * x, 8 * y, 8 * x + 6, 8 * y + 6] for x in range(50) for y in range(40)]
    url = home.add_image("crowded.png", size=(400, 320))
    home.results(url)
    home.detectors[-1].answer = lambda image: Boxes.of(corners, [0.9] * 2000, [0] * 2000)
    [answer] = home.results(url)
    assert len(answer["result"]) == 2000
    assert len({region["id"] for region in answer["result"]}) == 2000
