"""A plan is carried out beside the worker's own import, also while Label Studio is away for a moment."""

import json
from pathlib import Path
from typing import Any

import pytest

from labelloop.locks import Busy, holding
from labelloop.studio import Studio, StudioError
from trainer.env import TrainerSettings
from trainer.intake import carry_out
from trainer.intake.carry_out import LOCK, Places
from trainer.intake.drafts import Counts
from trainer.intake.plan import Plan
from trainer.intake.records import IntakeError
from trainer.worker.importer import ImageIndex, Importer


class Away:
    """Answers 503 so many times, then that one task was made."""

    def __init__(self, times: int, status: int = 503) -> None:
        self.times, self.status = times, status
        self.asked: list[Any] = []

    def request(self, method: str, path: str, json: Any, timeout: Any) -> Any:
        self.asked.append(json)
        if len(self.asked) <= self.times:
            raise StudioError("down", self.status)
        return {
            "items": [
                {"task": 1, "made": True, "annotations": 0, "predictions": 0, "labelled_here": False}
                for _ in json["items"]
            ]
        }


@pytest.fixture
def places(loop_settings: TrainerSettings, tmp_path: Path) -> Places:
    loop_settings.rounds_dir.mkdir(parents=True)
    return Places(loop_settings.images_dir, loop_settings.rounds_dir, tmp_path / "fetched")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Of one new image."""
    (tmp_path / "a.png").write_bytes(b"image")
    made = Plan(Counts())
    effect = "a task without labels is made"
    row = (1, "a.png", "new", effect, None, str(tmp_path / "a.png"), "images/set/a.png", 0, 0, "{}")
    made.store.run("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    return made


def run(plan: Plan, studio: Away, places: Places) -> carry_out.Outcome:
    return carry_out.carry_out(plan, studio, 1, "image", places, lambda done: None)  # type: ignore[arg-type]


def test_label_studio_may_be_away_for_a_moment(
    plan: Plan, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry_out, "_PAUSES_S", (0.0, 0.0, 0.0))
    studio = Away(3)
    assert run(plan, studio, places).tasks == 1
    assert studio.asked == [{"items": [{"path": "images/set/a.png", "key": "image"}]}] * 4
    assert (places.images_dir / "set" / "a.png").read_bytes() == b"image"


def test_a_request_is_bounded_by_images_and_by_bytes(
    plan: Plan, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2, 7):
        name = f"{number}.png"
        (tmp_path / name).write_bytes(name.encode())
        body = json.dumps({"data": {"text": "x" * (100 if number > 3 else 1)}})
        row = (
            number,
            name,
            "new",
            "a task without labels is made",
            None,
            str(tmp_path / name),
            f"images/set/{name}",
            0,
            0,
            body,
        )
        plan.store.run("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    monkeypatch.setattr(carry_out, "BATCH", 2)
    monkeypatch.setattr(carry_out, "BATCH_BYTES", 150)
    studio = Away(0)
    assert run(plan, studio, places).tasks == 6
    assert [len(body["items"]) for body in studio.asked] == [2, 2, 1, 1]


@pytest.mark.parametrize(("times", "status"), [(4, 503), (1, 400)])
def test_what_does_not_pass_is_told(
    plan: Plan, places: Places, monkeypatch: pytest.MonkeyPatch, times: int, status: int
) -> None:
    monkeypatch.setattr(carry_out, "_PAUSES_S", (0.0, 0.0, 0.0))
    studio = Away(times, status)
    with pytest.raises(StudioError, match="down"):
        run(plan, studio, places)
    assert len(studio.asked) == times


def test_no_task_is_made_of_a_file_while_it_is_copied(
    loop_settings: TrainerSettings,
    studio: Studio,
    plan: Plan,
    places: Places,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker's import and this one take the same lock."""
    importer = Importer(
        ImageIndex(loop_settings.rounds_dir, loop_settings.images_dir), studio, loop_settings.rounds_dir
    )
    with holding(places.rounds_dir / LOCK), pytest.raises(Busy):
        importer.run([1])
    monkeypatch.setattr(carry_out, "LOCK_WAIT_S", 0.0)
    asked = Away(0)
    with holding(importer._lock), pytest.raises(Busy):
        run(plan, asked, places)
    assert asked.asked == [] and not (places.images_dir / "set").exists()


def test_a_file_that_cannot_be_copied_is_named_and_leaves_no_half(plan: Plan, places: Places) -> None:
    (places.images_dir / "set").write_text("a file in the folder's place")
    with pytest.raises(IntakeError, match="a.png cannot be copied to .*/images/set/a.png: "):
        run(plan, Away(0), places)
    assert list(places.images_dir.iterdir()) == [places.images_dir / "set"]
