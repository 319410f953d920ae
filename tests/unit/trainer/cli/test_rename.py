"""Labels renamed in versions and rounds: what was learnt under the old names goes on under the new ones."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import shapes
from support.cli import Run
from support.dashboard_data import finished_round
from support.fake_studio import FakeStudio
from support.killed import Killed
from support.made_scores import History, snapshot_of

from labelloop import files
from labelloop.card import Overlaps
from labelloop.choice import choose
from labelloop.labels import LabelMap, parse_label_config
from labelloop.locks import is_held
from labelloop.registry import Card, ProjectModels
from labelloop.renaming import rename_in_config
from labelloop.studio import Studio
from trainer.dashboard.loop import WatchedLoop
from trainer.dataset.reviews import How, Mark, Reviews, Side
from trainer.dataset.snapshot import Snapshot
from trainer.env import TrainerSettings
from trainer.judging.judgement import Judgement
from trainer.judging.scoring import take_over
from trainer.judging.standing import NOT_YET, Stand, standing
from trainer.peers.backend import Backend
from trainer.rounds.table import Rounds, State
from trainer.worker.prelabel import lock_path

MERGED = {"ball": "thing", "crate": "thing"}


@pytest.fixture
def loop(
    loop_settings: TrainerSettings, models: ProjectModels, studio: Studio, backend: Backend
) -> WatchedLoop:
    """Project 1 after a round that promoted v0001."""
    made = WatchedLoop(loop_settings, studio, backend)
    assert finished_round(made, 25, 4, 40).state == State.PROMOTED
    (made.rounds.folder(1) / "predictions-v0001.json").write_text("{}")
    files.write_text(loop_settings.rounds_dir / "predicted-labels-1.json", json.dumps({"v0001": "these"}))
    return made


@pytest.fixture
def project(fake_studio: FakeStudio) -> dict[str, Any]:
    return fake_studio.projects[1]


def rename(run: Run, project: dict[str, Any], names: dict[str, str], *options: str) -> Any:
    """Label Studio's part, as `provisioner.rename` does it, and the trainer's."""
    if "--dry" not in options:
        project["label_config"] = rename_in_config(project["label_config"], names).xml
    result = run("rename", json.dumps(names), "--project", "1", *options)
    return json.loads(result.stdout) if result.exit_code == 0 else result


def kept(loop: WatchedLoop) -> dict[str, str]:
    """All that models and rounds hold, but for the table of rounds."""
    return {
        str(path.relative_to(loop.settings.volumes_dir)): path.read_text(errors="replace")
        for folder in (loop.settings.models_dir, loop.settings.rounds_dir)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "sqlite3" not in path.name and path.suffix != ".lock"
    }


def test_no_pre_labels_are_made_between_the_mark_and_the_champions_new_card(
    run: Run, loop: WatchedLoop, project: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would have the old names and be taken for the new card's."""
    held: list[bool] = []

    def seen(models: ProjectModels, version: str, card: Card | None) -> None:
        held.append(is_held(lock_path(loop.settings.rounds_dir, 1)))

    monkeypatch.setattr(ProjectModels, "replace_card", seen)
    monkeypatch.setattr(ProjectModels, "exchange", lambda models, _, version: seen(models, version, None))
    rename(run, project, {"ball": "globe"})
    assert held == [True, True]


def test_the_champion_knows_the_new_name_at_once(
    run: Run, loop: WatchedLoop, models: ProjectModels, project: dict[str, Any]
) -> None:
    limits = {"iou": {"ball": 0.6, "crate": 0.5}, "inside": {"ball": 0.9}, "across": [["ball", "crate"]]}
    path = models.folder("v0001") / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"overlaps": limits}))
    before, stamp = models.card("v0001"), models.champion_stamp()
    assert rename(run, project, {"ball": "globe"}) == {"versions": 1, "rounds": 1}
    card = models.check("v0001")
    assert card.classes == ["globe", "crate"]
    assert card.score_thresholds["globe"] == before.score_thresholds["ball"]
    assert card.metrics["per_class"]["globe"] == before.metrics["per_class"]["ball"]
    assert card.overlaps == Overlaps(
        iou={"globe": 0.6, "crate": 0.5}, inside={"globe": 0.9}, across=[("globe", "crate")]
    )
    config = parse_label_config(project["label_config"])
    assert LabelMap.build(card.classes, config, trained=True).to_label == (0, 1)
    assert models.champion() == "v0001" and models.champion_stamp() != stamp, "so the backend loads it anew"
    recorded = json.loads((loop.settings.rounds_dir / "predicted-labels-1.json").read_text())
    assert recorded["v0001"] != "these", "so its predictions are made anew"


@pytest.mark.usefixtures("loop")
def test_a_version_that_a_person_puts_into_service_meanwhile_stays(
    run: Run, models: ProjectModels, project: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_card = ProjectModels.replace_card

    def beside_a_person(models: ProjectModels, version: str, card: Card) -> None:
        choose(models, "v0000")
        replace_card(models, version, card)

    monkeypatch.setattr(ProjectModels, "replace_card", beside_a_person)
    rename(run, project, {"ball": "globe"})
    assert models.champion() == "v0000" and models.card("v0001").classes == ["globe", "crate"]


def test_the_starting_models_classes_are_no_labels(
    run: Run, loop: WatchedLoop, models: ProjectModels, project: dict[str, Any]
) -> None:
    before = models.card("v0000")
    assert "ball" in before.classes and not before.trained
    rename(run, project, {"ball": "globe"})
    assert models.card("v0000") == before


def test_the_rounds_are_told_under_the_new_name(run: Run, loop: WatchedLoop, project: dict[str, Any]) -> None:
    folder = loop.rounds.folder(1)
    snapshot, judged = Snapshot.load(folder), Judgement.load(folder)
    rename(run, project, {"ball": "globe"})
    after, judged_after = Snapshot.load(folder), Judgement.load(folder)
    assert after.classes == ["globe", "crate"] and after.images == snapshot.images
    assert set(judged_after.candidate.matches) == {"globe", "crate"}
    assert judged_after.candidate.per_class["globe"] == judged.candidate.per_class["ball"]
    assert judged_after.candidate.mAP == judged.candidate.mAP
    assert (folder / "predictions-v0001.json").exists()


def test_what_was_seen_and_decided_goes_by_the_new_name(
    run: Run, loop: WatchedLoop, models: ProjectModels, project: dict[str, Any]
) -> None:
    seen = models.path / "seen" / "v0001.1"
    Snapshot.load(loop.rounds.folder(1)).write(seen)
    ball, crate = (Side(label=name, box=(1.0, 1.0, 9.0, 9.0)) for name in ("ball", "crate"))
    row = {"type": "rectanglelabels", "from_name": "label", "value": {"rectanglelabels": ["ball"]}}
    about = {"type": "choices", "from_name": "sure", "value": {"choices": ["ball"]}}
    made = Mark(
        task=1, doubt="odd", how=How.RIGHT, label=ball, model=crate, by="ann", out=(row,), into=(about,)
    )
    Reviews(models.path).add(made)
    assert rename(run, project, {"ball": "globe"}, "--dry") == {"versions": 1, "rounds": 1}
    assert Reviews(models.path).marks()[0].label == ball
    rename(run, project, {"ball": "globe"})
    [mark] = Reviews(models.path).marks()
    assert mark.label == ball.model_copy(update={"label": "globe"}) and mark.model == crate
    assert mark.out[0]["value"] == {"rectanglelabels": ["globe"]} and mark.into == (about,), (
        "as it comes back"
    )
    assert Snapshot.load(seen).classes == ["globe", "crate"]


def test_labels_that_become_one_are_one_in_the_history_too(
    run: Run, loop: WatchedLoop, models: ProjectModels, project: dict[str, Any]
) -> None:
    folder = loop.rounds.folder(1)
    snapshot, judged, card = Snapshot.load(folder), Judgement.load(folder), models.card("v0001")
    rename(run, project, MERGED)
    after, judged_after = Snapshot.load(folder), Judgement.load(folder)
    assert after.classes == ["thing"] and after.boxes == snapshot.boxes
    assert {label for image in after.images for label in image.labels} == {0}
    assert not (folder / "predictions-v0001.json").exists(), "its labels' numbers fit no longer"
    assert models.card("v0001").classes == ["thing", "thing"]
    assert models.card("v0001").score_thresholds["thing"] == min(card.score_thresholds.values())
    found, parts = judged_after.candidate.matches["thing"], judged.candidate.matches.values()
    assert found.truths.tolist() == np.sum([part.truths for part in parts], axis=0).tolist()
    assert found.score.tolist() == sorted((s for part in parts for s in part.score), reverse=True)
    [score] = judged_after.candidate.per_class.values()
    assert min(judged.candidate.per_class.values()) <= score <= max(judged.candidate.per_class.values())


@pytest.fixture
def scored(models: ProjectModels, rounds: Rounds) -> Callable[[], Stand]:
    """How v0001 does on today's hold-out: a round has scored it."""
    closed = History(models, rounds).round(snapshot_of([1, 2], [3, 4]), {"ball": 1, "crate": 2}, {})
    take_over(models, rounds, closed)

    def found() -> Stand:
        stand = standing(models, rounds, 1).of("v0001")
        assert stand is not None
        return stand

    return found


def test_scores_on_todays_hold_out_are_told_under_the_new_name(
    run: Run, scored: Callable[[], Stand], project: dict[str, Any]
) -> None:
    before = scored().score
    rename(run, project, {"ball": "globe"})
    after = scored().score
    assert before is not None and after is not None and after.mAP == before.mAP is not None
    assert after.labels == ["globe", "crate"] and after.per_class["globe"] == before.per_class["ball"]
    assert after.digest is None, "the next round's hold-out has other labels in its digest"


def test_scores_over_labels_that_have_become_one_are_made_anew(
    run: Run, scored: Callable[[], Stand], project: dict[str, Any]
) -> None:
    rename(run, project, MERGED)
    assert scored().why == NOT_YET


def test_removed_versions_are_renamed_too(
    run: Run, loop: WatchedLoop, models: ProjectModels, project: dict[str, Any]
) -> None:
    assert finished_round(loop, 30, 2, 40).version == "v0002"
    models.remove("v0001")
    assert rename(run, project, {"ball": "globe"})["versions"] == 2
    assert models.card("v0001").classes == ["globe", "crate"] and models.removed() == ["v0001"]


def test_a_dry_run_counts_and_changes_nothing(run: Run, loop: WatchedLoop, project: dict[str, Any]) -> None:
    before = kept(loop)
    assert rename(run, project, {"ball": "globe"}, "--dry") == {"versions": 1, "rounds": 1}
    assert kept(loop) == before


def test_typed_again_it_finds_nothing(run: Run, loop: WatchedLoop, project: dict[str, Any]) -> None:
    rename(run, project, MERGED)
    before = kept(loop)
    assert rename(run, project, MERGED) == {"versions": 0, "rounds": 0}
    assert kept(loop) == before


def test_a_round_at_work_is_in_the_way(run: Run, loop: WatchedLoop, project: dict[str, Any]) -> None:
    loop.rounds.request(1, "a test")
    before = kept(loop)
    refused = rename(run, project, {"ball": "globe"})
    assert refused.exit_code == 1
    assert (
        "round 2 of project 1 is requested" in refused.stderr and "`make cancel PROJECT=1`" in refused.stderr
    )
    assert kept(loop) == before


@contextmanager
def killed_at(write: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A kill before the file of that number is written."""
    label_loops, count = files.replacing, 0

    def replacing(path: Path) -> AbstractContextManager[Path]:
        nonlocal count
        count += 1
        if count == write:
            raise Killed
        return label_loops(path)

    with monkeypatch.context() as patched:
        patched.setattr(files, "replacing", replacing)
        yield


@pytest.mark.parametrize("names", [{"ball": "globe"}, MERGED], ids=["one", "merged"])
def test_killed_anywhere_it_goes_on_when_typed_again(
    run: Run,
    loop: WatchedLoop,
    models: ProjectModels,
    project: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    names: dict[str, str],
) -> None:
    before = kept(loop)
    rename(run, project, names)
    wanted, writes, killed = kept(loop), 0, True
    while killed:
        writes += 1
        for name, text in before.items():
            files.write_text(loop.settings.volumes_dir / name, text)
        project["label_config"] = shapes.LABEL_CONFIG
        killed, stamp = False, models.champion_stamp()
        try:
            with killed_at(writes, monkeypatch):
                rename(run, project, names)
        except Killed:
            killed = True
        rename(run, project, names)
        assert kept(loop) == wanted, f"killed before write {writes}"
        assert models.champion_stamp() != stamp
    assert writes > 5
