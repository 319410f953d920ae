"""Near-duplicates of labelled images come last and get their boxes; crowded images get all of theirs."""

from typing import Any

import numpy as np
import pytest
from support.backend_home import LABEL_CONFIG, Home
from support.films import encoded, film, scene

from labelloop.boxes import Boxes
from labelloop.looks import look_of, looks_lines
from labelloop.twins import is_marked


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


def asked(home: Home, url: str, twin: Any) -> Any:
    """The answer to a task that the trainer sends with what it knows of a labelled near-duplicate."""
    home.results(url)
    body = {"tasks": [{"id": 5, "data": {"image": url}, "twin": twin}], "project": "1.1"}
    return home.client.post("/predict", json=body | {"label_config": LABEL_CONFIG})


def box(label: str, *xyxy: float, score: float = 0.9) -> dict[str, Any]:
    return {"label": label, "xyxy": xyxy, "score": score}


def test_a_labelled_twins_boxes_are_proposed_beside_the_models_and_marked(home: Home) -> None:
    """The model sees a pet in the left half, brightly; the person also drew a car that it does not see."""
    url = home.add_image("bright.png", size=(200, 100), brightness=250)
    pet, car, gone = box("pet", 1, 0, 51, 100), box("car", 60, 20, 90, 80), box("car", 0, 0, 5, 5, score=0.0)
    answer = asked(home, url, {"task": 3, "boxes": [pet, car, gone]})
    [result] = answer.get_json()["results"]
    own, copied = result["result"]
    assert result["score"] == 1.0, "asked for last"
    assert own["value"]["rectanglelabels"] == ["pet"] and "meta" not in own
    assert [round(own["value"][name]) for name in ("x", "y", "width", "height")] == [0, 0, 50, 100]
    assert copied["value"]["rectanglelabels"] == ["car"] and copied["score"] == pytest.approx(0.9)
    assert [round(copied["value"][name]) for name in ("x", "y", "width", "height")] == [60, 20, 30, 60]
    assert copied["meta"]["text"] == ["from a near-duplicate, task 3"]
    assert is_marked(copied) and not is_marked(own)


@pytest.mark.parametrize("label", ["pet", "car"])
def test_where_the_model_sees_nothing_they_are_proposed_alone(home: Home, label: str) -> None:
    url = home.add_image("dark.png", size=(200, 100), brightness=0)
    answer = asked(home, url, {"task": 3, "boxes": [box(label, 60, 20, 90, 80)]})
    [[region]] = [result["result"] for result in answer.get_json()["results"]]
    assert region["value"]["rectanglelabels"] == [label] and is_marked(region)


@pytest.mark.parametrize("twin", [None, [], {"task": 3}, {"task": 3, "boxes": [box("pet", 1, 2, 3)]}])
def test_a_twin_that_is_none_is_refused(home: Home, twin: Any) -> None:
    answer = asked(home, home.add_image("a.png"), twin)
    assert answer.status_code == 400 and "tasks[0].twin: no labelled near-duplicate" in answer.get_data(True)
