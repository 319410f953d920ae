"""Doubts that two people settle at once, and decisions that are taken back when other things have changed."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest
from fastapi.testclient import TestClient
from support import shapes
from support.dashboard import csrf, words
from support.fake_studio import FakeStudio
from unit.trainer.dashboard.test_settling import (
    ADDRESS,
    LOOSE,
    OTHER,
    TRUE,
    boxes,
    doubt_of,
    doubted,
    px,
    settle,
    undo,
)

from labelloop.studio import Studio
from trainer.dashboard.loop import WatchedLoop
from trainer.dataset.reviews import Reviews
from trainer.dataset.rewriting import Edit, rewrite

__all__ = ["doubted"]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two requests that read an annotation at once, both have read it before one writes."""
    both, write = Barrier(2), Studio.update_annotation

    def meet(self: Studio, annotation_id: int, results: Any) -> None:
        with suppress(BrokenBarrierError):
            both.wait(0.5)
        write(self, annotation_id, results)

    monkeypatch.setattr(Studio, "update_annotation", meet)


def test_two_corrections_of_an_annotation_are_both_written(
    loop: WatchedLoop, doubted: list[dict[str, Any]], slow: None
) -> None:
    def delete(number: int) -> None:
        rewrite(loop.studio, 4, lambda annotation: Edit((rows[number],), ()), "ann")

    rows = list(doubted[3]["result"])
    with ThreadPoolExecutor(2) as both:
        list(both.map(delete, range(2)))
    assert doubted[3]["result"] == []


def test_a_box_that_somebody_drew_meanwhile_is_not_added_again(
    client: TestClient, doubted: list[dict[str, Any]]
) -> None:
    form = {"csrf": csrf(client, ADDRESS), "doubt": doubt_of(client, 1), "how": "accepted"}
    by_hand = {**doubted[0]["result"][0], "id": "byhand"}
    wide, high = by_hand["original_width"], by_hand["original_height"]
    x1, y1, x2, y2 = OTHER
    by_hand["value"] = {
        "x": 100 * x1 / wide,
        "y": 100 * y1 / high,
        "width": 100 * (x2 - x1 + 1) / wide,
        "height": 100 * (y2 - y1 + 1) / high,
        "rotation": 0,
        "rectanglelabels": ["crate"],
    }
    doubted[0]["result"].append(by_hand)
    answer = client.post("/label-errors/settle?project=1", data=form)
    assert "such a box is there already" in words(client.get(answer.headers["Location"]).text)
    assert len(doubted[0]["result"]) == 2


def test_nothing_comes_back_into_another_annotation(
    client: TestClient, fake_studio: FakeStudio, doubted: list[dict[str, Any]]
) -> None:
    settle(client, 2, "deleted")
    anew = {**doubted[1], "id": 999, "result": []}
    fake_studio.tasks[2]["annotations"] = [anew]
    assert "task 2 has another annotation now" in undo(client)
    assert anew["result"] == []


def test_no_label_comes_back_that_the_config_lost(
    client: TestClient, fake_studio: FakeStudio, doubted: list[dict[str, Any]]
) -> None:
    settle(client, 4, "deleted")
    before = fake_studio.projects[1]["label_config"]
    fake_studio.projects[1]["label_config"] = shapes.LABEL_CONFIG.replace('"crate"', '"box"')
    assert "the label config was changed since, so nothing was written" in undo(client)
    assert boxes(doubted[3]) == [px("ball", TRUE)]
    fake_studio.projects[1]["label_config"] = before
    assert "taken back" in undo(client)
    assert px("crate", OTHER) in boxes(doubted[3])


def test_what_cannot_be_noted_is_not_done(
    client: TestClient, doubted: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Reviews, *added: object) -> None:
        raise OSError(28, "No space left on device", str(self.path))

    monkeypatch.setattr(Reviews, "add", full)
    assert "No space left on device" in settle(client, 3, "accepted")
    assert boxes(doubted[2]) == [px("ball", LOOSE)]


def test_marks_of_the_former_release_are_taken_back(
    client: TestClient, loop: WatchedLoop, doubted: list[dict[str, Any]]
) -> None:
    settle(client, 2, "deleted")
    path: Path = loop.models(1).path / "reviews.json"
    path.write_text(re.sub(r',"annotation":\d+', "", path.read_text()))
    assert Reviews(path.parent).marks()[0].annotation is None
    assert "taken back" in undo(client) and boxes(doubted[1]) == [px("crate", TRUE)]


def test_an_answer_about_a_box_moves_with_it(client: TestClient, doubted: list[dict[str, Any]]) -> None:
    [box] = doubted[2]["result"]
    place = {side: box["value"][side] for side in ("x", "y", "width", "height")}
    about = {"id": box["id"], "from_name": "sure", "type": "choices", "value": {**place, "choices": ["no"]}}
    doubted[2]["result"] = [about, box]
    settle(client, 3, "accepted")
    first, second = doubted[2]["result"]
    assert first["value"]["height"] == second["value"]["height"] < place["height"]
    assert second["value"]["choices"] == ["no"]
    undo(client)
    assert all(row in doubted[2]["result"] for row in (about, box)) and len(doubted[2]["result"]) == 2
