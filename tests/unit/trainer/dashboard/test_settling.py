"""Doubts are listed page by page as the labels are now, settled on the spot, and taken back."""

import re
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from support import shapes
from support.dashboard import EMAIL, csrf, words
from support.dashboard_data import finished_round, label_in, snapshot_of
from support.fake_studio import FakeStudio

from labelloop.files import write_text
from trainer.dashboard import label_errors, predictions
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.predictions import Row
from trainer.dataset.labelled import LabelledImages, SnapshotImage

BALL, CRATE = range(2)
TRUE = (10.0, 10.0, 60.0, 60.0)
LOOSE = (10.0, 10.0, 60.0, 100.0)
OTHER = (120.0, 120.0, 160.0, 150.0)
ADDRESS = "/label-errors?project=1"

LABELLED: dict[int, list[tuple[int, tuple[float, ...]]]] = {
    1: [(BALL, TRUE)],
    2: [(CRATE, TRUE)],
    3: [(BALL, LOOSE)],
    4: [(BALL, TRUE), (CRATE, OTHER)],
}
"""How the first four tasks are labelled. The model sees a ball at TRUE in each, in the first also OTHER."""


WHERE = {1: "&kind=missing", 2: "&kind=label", 3: "&kind=loose", 4: "&kind=extra&label=crate"}
"""The filters that take one of these tasks alone."""


@pytest.fixture
def doubted(loop: WatchedLoop, fake_studio: FakeStudio) -> list[dict[str, Any]]:
    """The annotations of tasks 1 to 30, labelled by Bea. v0001 doubts one box of each of the first four,
    and misses a ball at OTHER in all others.
    """
    finished_round(loop, 25, stray=0, champion_stray=40)
    every = snapshot_of(loop, 30)

    def labelled(image: SnapshotImage) -> SnapshotImage:
        boxes = LABELLED.get(image.task, [(BALL, TRUE), (BALL, OTHER)])
        return replace(image, xyxy=tuple(box for _, box in boxes), labels=tuple(label for label, _ in boxes))  # type: ignore[misc]

    snapshot = replace(every, images=LabelledImages(map(labelled, every.images)))
    folder = loop.models(1).path / "seen" / "v0001.1"
    snapshot.write(folder)
    seen: dict[int, list[Row]] = {image.id: [(*TRUE, 0.9, BALL)] for image in snapshot.images}
    seen[1].append((*OTHER, 0.8, CRATE))
    made = predictions.Predictions(version="v0001", fingerprint="f", boxes=seen)
    write_text(predictions.path_of(folder, "v0001"), made.model_dump_json())
    label_in(fake_studio, snapshot)
    return [task["annotations"][0] for task in fake_studio.tasks.values()]


def page(client: TestClient, more: str = "") -> str:
    return client.get(f"{ADDRESS}{more}").text


def tasks(html: str) -> list[int]:
    return [int(task) for task in re.findall(r">Task (\d+)</a>: ", html)]


def doubt_of(client: TestClient, task: int) -> str:
    """The id of the doubt about one of the first four tasks."""
    return re.findall(r'name="doubt" value="(\w+)"', page(client, WHERE[task]))[0]


def settle(client: TestClient, task: int, how: str) -> str:
    form = {"csrf": csrf(client, ADDRESS), "doubt": doubt_of(client, task), "how": how}
    answer = client.post("/label-errors/settle?project=1", data=form)
    assert answer.status_code == 303, answer.text
    return words(client.get(answer.headers["Location"]).text)


def undo(client: TestClient, nth: int = 0) -> str:
    marks = re.findall(r'name="mark" value="(\w+)"', page(client, "&show=done"))
    form = {"csrf": csrf(client, ADDRESS), "mark": list(dict.fromkeys(marks))[nth]}
    answer = client.post("/label-errors/undo?project=1", data=form)
    return words(client.get(answer.headers["Location"]).text)


def boxes(annotation: dict[str, Any]) -> list[tuple[str, int, int, int, int]]:
    """Label and corners in pixels."""
    found = []
    for row in annotation["result"]:
        value, (wide, high) = row["value"], (row["original_width"], row["original_height"])
        x, y = value["x"] * wide / 100, value["y"] * high / 100
        right, low = x + value["width"] * wide / 100, y + value["height"] * high / 100
        found.append((value["rectanglelabels"][0], round(x), round(y), round(right), round(low)))
    return found


def px(label: str, box: tuple[float, ...]) -> tuple[str, int, int, int, int]:
    x1, y1, x2, y2 = map(round, box)
    return label, x1, y1, x2, y2


def test_all_are_paged_under_addresses_that_can_be_kept(client: TestClient, doubted: Any) -> None:
    first = page(client)
    assert "30 images of 30" in words(first) and "Page 1 of 2" in words(first)
    assert 'rel="next" href="/label-errors?project=1&amp;page=2"' in first
    second = page(client, "&page=2")
    assert len(tasks(first)) == 24 and len(tasks(second)) == 6
    assert sorted(tasks(first) + tasks(second)) == list(range(1, 31))
    assert "There is no page 9 any more; this is the last one." in words(page(client, "&page=9"))
    for bad in ("page=0", "page=x", "kind=odd", "show=all", "label=owl"):
        answer = client.get(f"{ADDRESS}&{bad}")
        assert answer.status_code in (400, 404) and bad.split("=")[1] in words(answer.text)
    assert "there are: ball, crate" in words(client.get(f"{ADDRESS}&label=owl").text)


def test_filters_by_kind_and_label(client: TestClient, doubted: Any) -> None:
    assert tasks(page(client, "&kind=missing")) == [1]
    assert tasks(page(client, "&kind=label&label=ball")) == [2], "of either side"
    assert tasks(page(client, "&kind=loose&label=crate")) == []
    assert "None: v0001 doubts no label of 30 images that the filters take" in words(
        page(client, "&kind=loose&label=crate")
    )
    assert tasks(page(client, "&label=crate&kind=extra&show=open")) == [4]


SETTLED: list[tuple[int, str, list[Any]]] = [
    (1, "accepted", [px("ball", TRUE), px("crate", OTHER)]),
    (2, "relabelled", [px("ball", TRUE)]),
    (2, "accepted", [px("ball", TRUE)]),
    (2, "deleted", []),
    (3, "accepted", [px("ball", TRUE)]),
    (3, "deleted", []),
    (4, "deleted", [px("ball", TRUE)]),
]


def test_a_doubt_is_settled_in_the_annotation_and_taken_back(
    client: TestClient, doubted: list[dict[str, Any]]
) -> None:
    for task, how, after in SETTLED:
        annotation = doubted[task - 1]
        before = list(annotation["result"])
        shown = settle(client, task, how)
        assert boxes(annotation) == after and f"Task {task}: " in shown, (task, how)
        assert "29 images of 30" in shown or how == "deleted"
        done = words(page(client, "&show=done"))
        assert f"Task {task} : " in done and EMAIL in done
        assert f"Task {task}: taken back." in undo(client)
        assert annotation["result"] == before and tasks(page(client, WHERE[task])) == [task]
        assert "Nothing." in page(client, "&show=done")


def test_what_hangs_on_a_box_goes_and_comes_back_with_it(
    client: TestClient, doubted: list[dict[str, Any]]
) -> None:
    annotation = doubted[3]
    about = {
        "id": annotation["result"][1]["id"],
        "from_name": "sure",
        "type": "choices",
        "value": {"choices": ["no"]},
    }
    annotation["result"] = [annotation["result"][0], about, annotation["result"][1]]
    settle(client, 4, "deleted")
    assert len(annotation["result"]) == 1
    undo(client)
    assert len(annotation["result"]) == 3 and about in annotation["result"]


def test_a_dismissed_doubt_stays_so_in_new_sessions_and_under_other_versions(
    client: TestClient, loop: WatchedLoop, doubted: list[dict[str, Any]]
) -> None:
    for task in (1, 2):
        settle(client, task, "right")
    assert tasks(page(client, WHERE[1])) == tasks(page(client, WHERE[2])) == []
    assert "28 images of 30" in words(page(client)) and "already (2)" in page(client)
    other = (
        loop.models(1).path / "seen" / "v0001.2"
    )  # it looks again, and sees the missing box elsewhere by a bit
    snapshot = label_errors.stored.snapshot(loop.models(1).path / "seen" / "v0001.1")
    assert snapshot is not None
    snapshot.write(other)
    seen: dict[int, list[Row]] = {
        1: [(*TRUE, 0.9, BALL), (123.0, 118.0, 163.0, 151.0, 0.7, CRATE)],
        2: [(*TRUE, 0.95, BALL)],
        3: [(*TRUE, 0.9, BALL), (*OTHER, 0.9, CRATE)],
    }
    made = predictions.Predictions(version="v0001", fingerprint="f", boxes=seen)
    write_text(predictions.path_of(other, "v0001"), made.model_dump_json())
    assert tasks(page(client)) == [3]
    table = client.get("/label-errors.csv?project=1").text
    assert table.count(f"the label is right,{EMAIL}") == 2


def test_a_label_that_was_vouched_for_is_doubted_again_once_it_is_changed(
    client: TestClient, fake_studio: FakeStudio, app: Any, doubted: list[dict[str, Any]]
) -> None:
    settle(client, 2, "right")
    assert tasks(page(client, WHERE[2])) == []
    doubted[1]["result"][0]["value"]["width"] *= 0.9
    fake_studio.tasks[2]["updated_at"] = "2030-01-01T00:00:00+00:00"
    app.state.parts.changes.forget()
    assert tasks(page(client, WHERE[2])) == [2]


def test_a_task_that_was_mended_in_label_studio_goes_by_itself(
    client: TestClient, fake_studio: FakeStudio, doubted: list[dict[str, Any]], app: Any
) -> None:
    assert "30 images of 30" in words(page(client)) and tasks(page(client, WHERE[1])) == [1]
    doubted[3]["result"] = doubted[3]["result"][:1]
    fake_studio.tasks[4]["updated_at"] = "2030-01-01T00:00:00+00:00"
    del fake_studio.tasks[1]
    app.state.parts.changes.forget()
    for _ in range(2):
        assert tasks(page(client, WHERE[1])) == tasks(page(client, WHERE[4])) == []
    assert "28 images of 30" in words(page(client))
    fake_studio.broken = {1}
    app.state.parts.changes.forget()
    assert "does not say which labels were changed" in words(page(client))


def test_nothing_is_written_over_what_somebody_has_changed_meanwhile(
    client: TestClient, fake_studio: FakeStudio, doubted: list[dict[str, Any]]
) -> None:
    form = {"csrf": csrf(client, ADDRESS), "doubt": doubt_of(client, 3), "how": "accepted"}
    doubted[2]["result"][0]["value"]["x"] += 10.0
    moved = list(doubted[2]["result"])
    for told in ("does not have this box any more", "This doubt is gone"):
        answer = client.post("/label-errors/settle?project=1", data=form)
        shown = words(client.get(answer.headers["Location"]).text)
        assert told in shown and doubted[2]["result"] == moved
        fake_studio.tasks[3]["updated_at"] = "2030-01-01T00:00:00+00:00"
    settle(client, 2, "relabelled")
    doubted[1]["result"] = []
    assert "the box was changed meanwhile" in undo(client) and doubted[1]["result"] == []


def test_the_box_is_carried_into_the_task(client: TestClient, doubted: list[dict[str, Any]]) -> None:
    form = {"csrf": csrf(client, ADDRESS), "doubt": doubt_of(client, 1), "how": "adjust"}
    answer = client.post("/label-errors/settle?project=1", data=form)
    assert answer.status_code == 200
    assert 'content="0; url=http://testserver:8080/projects/1/data?task=1"' in answer.text
    assert px("crate", OTHER) in boxes(doubted[0])


def test_labellers_settle_what_they_have_labelled_themselves(
    labeller: TestClient, client: TestClient, doubted: list[dict[str, Any]]
) -> None:
    doubted[1]["completed_by"] = 1
    for task, may in ((2, False), (3, True)):
        html = page(labeller, WHERE[task])
        assert ('action="/label-errors/settle' in html) is may
        assert ("Somebody else has labelled this" in html) is not may
    others = doubt_of(client, 2)
    for how in ("relabelled", "right"):
        form = {"csrf": csrf(labeller, ADDRESS), "doubt": others, "how": how}
        answer = labeller.post("/label-errors/settle?project=1", data=form)
        assert "Somebody else has labelled this" in words(labeller.get(answer.headers["Location"]).text)
    assert boxes(doubted[1]) == [px("crate", TRUE)]
    settle(labeller, 3, "accepted")
    assert boxes(doubted[2]) == [px("ball", TRUE)]
    settle(client, 2, "relabelled")
    marks = re.findall(r'name="mark" value="(\w+)"', page(client, "&show=done&kind=label"))
    answer = labeller.post(
        "/label-errors/undo?project=1", data={"csrf": csrf(labeller, ADDRESS), "mark": marks[0]}
    )
    assert "Somebody else has labelled this" in words(labeller.get(answer.headers["Location"]).text)


def test_what_makes_no_sense_is_refused(
    client: TestClient, loop: WatchedLoop, doubted: list[dict[str, Any]]
) -> None:
    token = csrf(client, ADDRESS)
    answer = client.post(
        "/label-errors/settle", data={"csrf": token, "doubt": doubt_of(client, 1), "how": "odd"}
    )
    assert answer.status_code == 400 and "there are: right, accepted, deleted, relabelled" in words(
        answer.text
    )
    form = {"csrf": token, "doubt": doubt_of(client, 1), "how": "deleted"}
    shown = client.get(client.post("/label-errors/settle?project=1", data=form).headers["Location"]).text
    assert "is not settled so" in shown and len(doubted[0]["result"]) == 1
    reviews = loop.models(1).path / "reviews.json"
    reviews.write_text("{")
    assert "reviews.json cannot be read" in words(page(client))
    assert client.get("/label-errors.csv?project=1").status_code == 503
    form = {"csrf": token, "doubt": "0", "how": "right"}
    shown = client.get(client.post("/label-errors/settle?project=1", data=form).headers["Location"]).text
    assert "reviews.json cannot be read" in shown and reviews.read_text() == "{"


def test_no_label_config_is_asked_for_more_than_it_has(
    client: TestClient, fake_studio: FakeStudio, doubted: Any
) -> None:
    """The model's label was renamed in the config."""
    fake_studio.projects[1]["label_config"] = shapes.LABEL_CONFIG.replace('"crate"', '"box"')
    assert "the label config does not have &#39;crate&#39; any more" in settle(client, 1, "accepted")
