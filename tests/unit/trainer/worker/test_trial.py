"""A promoted version is compared with the one before it on what is labelled since."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fake_studio import FakeStudio
from support.killed import Killed
from support.labelled_tasks import label
from support.made_scores import History, snapshot_of
from support.worker_bench import WorkerBench

from labelloop.boxes import Boxes
from labelloop.choice import CHOSEN, choose
from labelloop.registry import ProjectModels, Registry
from trainer.judging.effort import QUICK
from trainer.judging.trial import Outcome, Trial
from trainer.rounds.table import Round, Rounds
from trainer.system.children import RETRY
from trainer.worker import trial as trial_module
from trainer.worker.chores import ProjectsFailed
from trainer.worker.trial import Trials, main

OLD, NEW, NEXT = "v0000", "v0001", "v0002"


class Court:
    """v0001 was promoted over v0000. Images are labelled, of which each version has proposed something."""

    def __init__(self, bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio) -> None:
        self.bench, self.models, self.fake_studio = bench, models, fake_studio
        history = History(models, bench.rounds)
        promoted = history.round(snapshot_of(range(501, 521), range(601, 606)), {"ball": 3}, {"ball": 1})
        self.round_id = promoted.id
        self.versions = (OLD, NEW)
        bench.rounds.record(promoted.id, parent=OLD)

    def promote_next(self) -> None:
        """v0002 takes v0001's place."""
        images = snapshot_of(range(501, 521), range(601, 607))
        promoted = History(self.models, self.bench.rounds).round(images, {"ball": 3}, {"ball": 1})
        self.bench.rounds.record(promoted.id, parent=NEW)
        self.round_id, self.versions = promoted.id, (OLD, NEW, NEXT)

    @property
    def round(self) -> Round:
        return self.bench.rounds.get(self.round_id)

    def label(self, count: int, right: str | None) -> None:
        """right: the version that proposed what a person submits; the others proposed nothing."""
        for _ in range(count):
            task = label(self.fake_studio, self.bench.settings.images_dir)
            truth = self.fake_studio.tasks[task]["annotations"][0]["result"]
            for version in self.versions:
                result = [dict(row, score=0.9) for row in truth] if version == right else []
                row = {"id": 10 * task, "task": task, "model_version": version, "result": result}
                self.fake_studio.predictions.append(row)

    def carry_on(self) -> Trial | None:
        registry = Registry(self.bench.settings.models_dir)
        return Trials(self.bench.settings, self.bench.studio, registry, self.bench.rounds).carry_on(1)


@pytest.fixture
def court(bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio) -> Court:
    return Court(bench, models, fake_studio)


def test_the_former_version_comes_back_by_itself_when_it_is_cheaper_to_correct(court: Court) -> None:
    court.label(4, right=OLD)
    assert court.carry_on() and court.models.champion() == NEW, "four images are no look yet"
    court.label(1, right=OLD)
    found = court.carry_on()
    assert found is not None and found.outcome is Outcome.UNDONE
    assert court.models.champion() == OLD
    assert court.round.verdict == (
        f"promoted v0001; taken back: on 5 images labelled since, v0000 takes "
        f"{found.before.seconds(QUICK).mean():.1f} s to correct one, v0001 "
        f"{found.after.seconds(QUICK).mean():.1f} s (98 % sure that it is better)"
    )
    before = court.round
    assert court.carry_on() is None and court.round == before, "it is over"


def test_it_stays_when_it_is_the_better_one(court: Court) -> None:
    court.label(21, right=NEW)
    found = court.carry_on()
    assert found is not None and (found.outcome, len(found.tasks)) == (Outcome.STAYS, 20)
    assert court.models.champion() == NEW
    assert "; it stays: on 20 images labelled since, v0000 takes " in (court.round.verdict or "")
    assert court.carry_on() is None


def test_a_promotion_that_the_next_one_cut_short_is_still_tried(court: Court) -> None:
    """v0001 was worse than v0000, and gave way to its like, v0002, before its first look."""
    court.label(4, right=OLD)
    assert court.carry_on() and court.models.champion() == NEW
    court.promote_next()
    court.label(3, right=OLD)
    open_ = court.carry_on()
    assert open_ is not None and open_.so_far.startswith(
        "on trial: compared with v0001 and v0000 on 3 images"
    )
    court.label(2, right=OLD)
    found = court.carry_on()
    assert found is not None and found.outcome is Outcome.UNDONE
    assert court.models.champion() == OLD
    assert (court.round.verdict or "").startswith(
        f"promoted v0002; taken back: on 5 images labelled since, v0000 takes "
        f"{found.with_proven.seconds(QUICK).mean():.1f} s to correct one, v0002 "
        f"{found.after.seconds(QUICK).mean():.1f} s ("
    )
    before = court.round
    assert court.carry_on() is None and court.round == before, "it is over"


def test_of_two_better_ones_that_comes_back_which_is_the_quickest(court: Court) -> None:
    court.promote_next()
    court.label(1, right=OLD)
    court.label(4, right=NEW)
    assert court.carry_on() and court.models.champion() == NEW
    assert "labelled since, v0001 takes" in (court.round.verdict or "")


def test_a_version_that_has_stood_its_trial_is_compared_alone(court: Court) -> None:
    court.label(20, right=NEW)
    court.carry_on()
    court.promote_next()
    court.label(5, right=OLD)
    found = court.carry_on()
    assert found is not None and (found.rivals, found.outcome) == ((NEW,), Outcome.OPEN)
    assert court.models.champion() == NEXT


def test_a_version_that_a_person_has_chosen_is_compared_alone(court: Court) -> None:
    choose(court.models, NEW)
    court.promote_next()
    court.label(5, right=OLD)
    found = court.carry_on()
    assert found is not None and found.rivals == (NEW,) and court.models.champion() == NEXT


def test_a_trial_that_an_earlier_release_began_goes_on_with_the_two(court: Court) -> None:
    court.promote_next()
    court.label(4, right=NEW)
    begun = court.carry_on()
    assert begun is not None
    file = court.bench.rounds.folder(court.round_id) / "trial.json"
    file.write_text(begun.model_dump_json(exclude={"proven", "with_proven", "back"}))
    court.label(1, right=NEW)
    found = court.carry_on()
    assert found is not None and (found.rivals, found.outcome) == ((NEW,), Outcome.UNDONE)
    assert court.models.champion() == NEW


def test_what_was_labelled_before_the_promotion_does_not_count(court: Court) -> None:
    court.label(6, right=OLD)
    for task in court.fake_studio.tasks.values():
        task["annotations"][0]["created_at"] = "2026-11-22T19:02:05.237603Z"
    found = court.carry_on()
    assert found is not None and found.tasks == [] and court.models.champion() == NEW


def test_images_of_the_snapshot_do_not_count(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    court.label(6, right=OLD)
    monkeypatch.setattr(trial_module, "unseen", lambda *arguments: [])
    found = court.carry_on()
    assert found is not None and (found.tasks, len(found.left_out)) == ([], 6)


@pytest.mark.parametrize("version", [OLD, NEW])
def test_what_a_person_has_chosen_since_stays(version: str, court: Court) -> None:
    court.label(6, right=OLD if version == NEW else NEW)
    choose(court.models, version)
    assert court.carry_on() is None
    assert court.models.champion() == version and court.round.verdict == "promoted v0001"


def test_what_a_person_has_chosen_since_stays_though_the_clock_was_set_back(court: Court) -> None:
    court.label(6, right=OLD)
    choose(court.models, NEW)
    note = court.models.path / CHOSEN
    note.write_text(json.dumps(json.loads(note.read_text()) | {"at": "2020-01-01T00:00:00+00:00"}))
    assert court.carry_on() is None and court.models.champion() == NEW


def test_a_choice_before_the_promotion_is_none_against_it(
    bench: WorkerBench, models: ProjectModels, fake_studio: FakeStudio
) -> None:
    choose(models, OLD)
    court = Court(bench, models, fake_studio)
    court.label(5, right=OLD)
    assert court.carry_on() and models.champion() == OLD


def killed_at(moment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    target, name = {
        "written": (Trial, "write"),
        "moved": (ProjectModels, "exchange"),
        "told": (Rounds, "record"),
    }[moment]
    original: Any = getattr(target, name)

    def dies(*arguments: Any, **keywords: Any) -> None:
        original(*arguments, **keywords)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(target, name, dies)
        yield


@pytest.mark.parametrize("moment", ["written", "moved", "told"])
def test_killed_at_any_moment_it_goes_on(moment: str, court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    court.label(5, right=OLD)
    for _ in killed_at(moment, monkeypatch):
        with pytest.raises(Killed):
            court.carry_on()
    for _ in range(3):
        court.carry_on()
    assert court.models.champion() == OLD
    assert (court.round.verdict or "").count("; taken back: on 5 images labelled since") == 1


def test_a_choice_between_the_decision_and_the_move_wins(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    court.label(5, right=OLD)
    write = Trial.write

    def chooses(trial: Trial, folder: Path) -> None:
        write(trial, folder)
        choose(court.models, NEW)

    monkeypatch.setattr(Trial, "write", chooses)
    court.carry_on()
    assert court.models.champion() == NEW and court.round.verdict == "promoted v0001"
    assert court.carry_on() is None


def test_boxes_that_are_not_stored_are_made(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    court.label(5, right=OLD)
    kept = [row for row in court.fake_studio.predictions if row["model_version"] == OLD]
    court.fake_studio.predictions = kept
    asked = []

    def nothing(proposals: Any, image: Any) -> Any:
        asked.append(proposals._version)
        return Boxes.empty()

    monkeypatch.setattr(trial_module._Proposals, "_made", nothing)
    assert court.carry_on() and asked == [NEW] * 5 and court.models.champion() == OLD


def test_the_worker_begins_a_process_when_enough_is_labelled_for_a_look(court: Court) -> None:
    bench = court.bench
    bench.worker.look_around()

    def look() -> list[list[str]]:
        bench.worker.try_promotions()
        return [child.arguments for child in bench.children if "trainer.worker.trial" in child.arguments]

    court.label(4, right=OLD)
    assert look() == []
    court.label(1, right=OLD)
    bench.rounds.request(2, "somebody")
    assert look() == [], "a round goes first, of whichever project"
    bench.rounds.cancel(2)
    assert look() == [["trainer.worker.trial", "1"]]
    assert look() == [["trainer.worker.trial", "1"]], "one process at a time"
    bench.children[-1].exit = 0
    assert look() == [["trainer.worker.trial", "1"]], "and none without a new label"
    assert len(look()) == 1
    court.label(5, right=OLD)
    assert len(look()) == 2
    bench.children[-1].exit = RETRY
    with pytest.raises(ProjectsFailed):
        look()


def test_the_process_says_what_it_found(
    court: Court, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    court.label(5, right=OLD)
    monkeypatch.setattr(trial_module, "die_with_parent", lambda: None)
    monkeypatch.setattr(os, "nice", lambda by: None)
    monkeypatch.setattr(trial_module, "get_settings", lambda: court.bench.settings)
    assert main(["1"]) == 0
    assert "taken back: on 5 images labelled since" in capsys.readouterr().out
    court.fake_studio.down = True
    court.bench.rounds.record(court.round_id, verdict="promoted v0001")
    (court.bench.rounds.folder(court.round_id) / "trial.json").unlink()
    choose(court.models, NEW)
    (court.models.path / "chosen.json").unlink()
    assert main(["1"]) == RETRY


def test_a_promotion_of_the_future_is_tried_on_what_its_versions_have_not_seen(court: Court) -> None:
    """The clock was ahead when it was made: for years no image is labelled later."""
    court.bench.rounds.record(court.round_id, finished_at="2041-01-01T00:00:00.000+00:00")
    court.label(5, right=OLD)
    found = court.carry_on()
    assert found is not None and found.outcome is Outcome.UNDONE
    assert court.models.champion() == OLD


def test_who_chooses_the_new_version_in_that_very_moment_has_it(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = ProjectModels.exchange

    def after_a_person(models: ProjectModels, *arguments: Any, **options: Any) -> bool:
        choose(models, NEW)
        return exchange(models, *arguments, **options)

    monkeypatch.setattr(ProjectModels, "exchange", after_a_person)
    court.label(5, right=OLD)
    assert court.carry_on() is not None
    assert court.models.champion() == NEW and court.round.verdict == "promoted v0001"
    assert court.carry_on() is None, "and it is not tried again"
