"""What a person puts into service while a round is on its way is not overruled by it."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.fake_learning import FakeLearning, made_snapshot
from support.fake_studio import FakeStudio
from support.killed import Killed
from support.versions import add_version

from labelloop import registry as registry_module
from labelloop import version_files
from labelloop.registry import Card, ChampionMoved, ProjectModels, Registry, RegistryError
from labelloop.studio import Studio
from trainer.dataset.snapshot import Snapshot
from trainer.env import TrainerSettings
from trainer.judging.corrections import Corrections
from trainer.judging.effort import Work
from trainer.judging.evaluate import Evaluation
from trainer.judging.gate import Verdict
from trainer.judging.judgement import Judgement
from trainer.rounds.table import Round, Rounds, State
from trainer.worker.retention import Retention
from trainer.worker.stages import COMPARISONS, Stages


class Learning(FakeLearning):
    """Somebody acts before a version's scores are there, or before the verdict."""

    before: dict[str, Callable[[], object]]
    newer: Any = ()
    evaluated: list[tuple[str, int]]

    def evaluate(self, folder: Path, snapshot: Snapshot, progress: Any, since: Any = ()) -> Evaluation:
        self.before.pop(folder.name, lambda: None)()
        self.evaluated.append((folder.name, len(since)))
        made = super().evaluate(folder, snapshot, progress, since)
        return made.model_copy(update={"since": Corrections.of([Work()] * len(since))})

    def since(self, *arguments: Any) -> Any:
        return self.newer

    def decide(self, candidate: Evaluation, champion: Evaluation | None) -> Verdict:
        self.before.pop("verdict", lambda: None)()
        return super().decide(candidate, champion)


class Bench:
    """v0001 is in service and worse than the candidate; v0000, which it replaced, is better."""

    def __init__(self, settings: TrainerSettings, studio: Studio, models: ProjectModels, made: Path) -> None:
        self.settings, self.studio, self.models = settings, studio, models
        models.promote(add_version(models, made))
        self.learning = Learning({"candidate": 0.6, "v0000": 0.7, "v0001": 0.5})
        self.learning.before = {}
        self.learning.evaluated = []
        self.rounds = Rounds(settings.rounds_dir)
        self.round, _ = self.rounds.request(1, "test")

    def roll_back(self) -> None:
        self.models.promote("v0000")

    def run(self) -> Round:
        registry = Registry(self.settings.models_dir)
        return Stages(self.rounds, registry, self.studio, self.learning).run(self.round.id)


@pytest.fixture
def bench(
    loop_settings: TrainerSettings,
    studio: Studio,
    fake_studio: FakeStudio,
    models: ProjectModels,
    tmp_path: Path,
) -> Bench:
    fake_studio.add_task(annotations=1)
    return Bench(loop_settings, studio, models, tmp_path / "made")


@pytest.mark.parametrize("moment", ["v0001", "verdict"])
def test_a_better_version_put_back_during_the_evaluation_stays(bench: Bench, moment: str) -> None:
    bench.learning.before[moment] = bench.roll_back
    closed = bench.run()
    assert bench.models.champion() == "v0000"
    assert bench.models.versions() == ["v0000", "v0001"], "a version is written when it is put into service"
    assert (closed.state, closed.parent) == (State.KEPT, "v0000")
    assert closed.verdict == "kept v0000: mAP 0.700 → 0.600 on 1 hold-out image"
    assert bench.learning.calls.count("evaluate candidate") == 1, "its scores still hold"


@pytest.mark.parametrize("moment", ["v0001", "verdict"])
def test_a_worse_one_is_compared_with_before_the_candidate_replaces_it(bench: Bench, moment: str) -> None:
    bench.learning.scores["v0000"] = 0.4
    bench.learning.before[moment] = bench.roll_back
    closed = bench.run()
    assert (closed.state, closed.version, closed.parent) == (State.PROMOTED, "v0002", "v0000")
    assert closed.verdict == "promoted v0002: mAP 0.400 → 0.600 on 1 hold-out image"


def test_a_candidate_that_lost_is_compared_with_the_worse_one_put_back_too(bench: Bench) -> None:
    bench.learning.scores |= {"v0000": 0.4, "v0001": 0.9}
    bench.learning.before["verdict"] = bench.roll_back
    assert bench.run().verdict == "promoted v0002: mAP 0.400 → 0.600 on 1 hold-out image"


def test_a_rollback_at_the_very_last_moment_is_seen(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    succeed = ProjectModels.succeed

    def after_a_rollback(models: ProjectModels, *arguments: Any) -> str:
        monkeypatch.setattr(ProjectModels, "succeed", succeed)
        bench.roll_back()
        return succeed(models, *arguments)

    monkeypatch.setattr(ProjectModels, "succeed", after_a_rollback)
    assert bench.run().state is State.KEPT
    assert bench.models.champion() == "v0000"


def test_a_model_that_changes_without_end_is_left_to_people(bench: Bench) -> None:
    bench.learning.scores |= {"v0000": 0.4}

    def change() -> None:
        bench.models.promote("v0001" if bench.models.champion() == "v0000" else "v0000")
        bench.learning.before["verdict"] = change

    bench.learning.before["verdict"] = change
    closed = bench.run()
    champion = bench.models.champion()
    assert (closed.state, bench.models.versions()) == (State.KEPT, ["v0000", "v0001"])
    assert closed.verdict == (
        f"kept {champion}: the model in service was changed {COMPARISONS} times meanwhile"
    )


def writes_of(bench: Bench, killed_at: int) -> None:
    """Runs the round until the registry is about to write its file number killed_at."""
    count = 0
    write_text = registry_module.write_text

    def counted(path: Path, text: str) -> None:
        nonlocal count
        count += 1
        if count == killed_at:
            raise Killed
        write_text(path, text)

    with pytest.MonkeyPatch.context() as patch:
        for module in (registry_module, version_files):
            patch.setattr(module, "write_text", counted)
        with pytest.raises(Killed):
            bench.run()


# The copy of the pointer, config.py, card.json, the pointer's copy again, the pointer.
@pytest.mark.parametrize("killed_at", [1, 2, 3, 4, 5])
def test_a_rollback_before_an_interrupted_round_goes_on_stays(bench: Bench, killed_at: int) -> None:
    writes_of(bench, killed_at)
    bench.roll_back()
    closed = bench.run()
    assert bench.models.champion() == "v0000"
    assert closed.state is State.KEPT and (closed.verdict or "").startswith("kept v0000: ")


@pytest.mark.parametrize("killed_at", [1, 2, 3, 4, 5])
def test_without_one_it_goes_on_as_if_it_had_not_been(bench: Bench, killed_at: int) -> None:
    writes_of(bench, killed_at)
    closed = bench.run()
    assert (closed.state, closed.version, closed.parent) == (State.PROMOTED, "v0002", "v0001")
    assert closed.verdict == "promoted v0002: mAP 0.500 → 0.600 on 1 hold-out image"
    assert bench.models.champion() == "v0002"


def test_the_version_it_replaced_put_back_before_the_round_could_close_stays(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the promotion; what is put back is the very version that the candidate had won against."""
    move = Rounds.move

    def killed(rounds: Rounds, round_id: int, state: State, **columns: object) -> Round:
        if state is State.PROMOTED:
            raise Killed
        return move(rounds, round_id, state, **columns)

    with monkeypatch.context() as patch:
        patch.setattr(Rounds, "move", killed)
        with pytest.raises(Killed):
            bench.run()
    assert bench.models.champion() == "v0002"
    bench.models.promote("v0001")
    closed = bench.run()
    assert bench.models.champion() == "v0001"
    assert (closed.state, closed.verdict) == (
        State.KEPT,
        "kept v0001: it was put into service after the round's v0002",
    )


def new_card() -> Card:
    return Card(detector="yolox_nano", classes=["ball"])


def test_only_what_is_in_service_is_succeeded(models: ProjectModels, tmp_path: Path) -> None:
    weights_file = tmp_path / "new.pth"
    weights_file.write_bytes(b"new")
    for expected in (None, "v0007"):
        with pytest.raises(
            ChampionMoved, match=f"v0000 is in service for project 1, not {expected}"
        ) as moved:
            models.succeed(expected, new_card(), "", weights_file)
        assert moved.value.champion == "v0000"
    assert models.versions() == ["v0000"]
    assert models.succeed("v0000", new_card(), "", weights_file) == "v0001" == models.champion()


def test_a_full_disk_leaves_the_pointer_and_its_copy(
    models: ProjectModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    weights_file = tmp_path / "new.pth"
    weights_file.write_bytes(b"new")
    monkeypatch.setattr(version_files, "link_or_copy", full)
    with pytest.raises(OSError, match="No space left"):
        models.succeed("v0000", new_card(), "", weights_file)
    assert (models.path / ".champion").read_text() == (models.path / "champion").read_text() == "v0000\n"
    assert models.versions() == ["v0000"]


def test_promoting_tells_what_was_replaced(models: ProjectModels, tmp_path: Path) -> None:
    newer = add_version(models, tmp_path / "made")
    assert models.promote(newer) == "v0000"
    (models.path / "champion").write_text("nonsense")
    assert models.promote("v0000") is None


def test_a_version_put_into_service_while_another_is_mended_stays(
    models: ProjectModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mending reads whole files; meanwhile a person does what the message said."""
    for _ in range(2):
        add_version(models, tmp_path / "made")
    (models.path / "champion").write_text("v9999\n")
    check = ProjectModels.check

    def person_is_quicker(found: ProjectModels, version: str) -> Card:
        monkeypatch.setattr(ProjectModels, "check", check)
        models.promote("v0001")
        return check(found, version)

    monkeypatch.setattr(ProjectModels, "check", person_is_quicker)
    assert models.mend() == "v0001" == models.champion()


def test_retention_leaves_what_is_put_into_service_while_it_removes(
    loop_settings: TrainerSettings,
    studio: Studio,
    models: ProjectModels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(5):
        models.promote(add_version(models, tmp_path / "made"))
    settings = loop_settings.model_copy(update={"keep_versions": 1})
    retention = Retention(settings, studio, Registry(settings.models_dir), Rounds(settings.rounds_dir))
    remove = ProjectModels.remove

    def rolled_back_before(found: ProjectModels, version: str) -> None:
        if version == "v0003":
            models.promote("v0003")
        remove(found, version)

    monkeypatch.setattr(ProjectModels, "remove", rolled_back_before)
    assert retention.prune_versions(1) == 3
    assert models.champion() == "v0003" and models.versions() == ["v0000", "v0003", "v0005"]


def test_rollbacks_and_rounds_at_once_never_overrule_one_another(
    models: ProjectModels, tmp_path: Path
) -> None:
    """Each thread replaces only what it has seen in service: none of their versions is lost sight of."""
    weights_file = tmp_path / "new.pth"
    weights_file.write_bytes(b"new")
    replaced: list[str] = []

    def succeed_five_times() -> None:
        done = 0
        while done < 5:
            seen = models.champion()
            try:
                models.succeed(seen, new_card(), "", weights_file)
            except ChampionMoved:
                continue
            replaced.append(str(seen))
            done += 1

    threads = [threading.Thread(target=succeed_five_times) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(replaced) == [f"v{number:04d}" for number in range(20)], "each exactly once"
    with pytest.raises(RegistryError):
        models.check("v0021")


def test_both_are_scored_on_what_was_labelled_since_the_snapshot(bench: Bench) -> None:
    bench.models.replace_card("v0001", old(bench.models.card("v0001")))
    bench.learning.newer = list(made_snapshot().holdout) * 3
    closed = bench.run()
    assert bench.learning.evaluated == [("candidate", 3), ("v0001", 3)]
    judged = Judgement.load(bench.rounds.folder(closed.id))
    assert judged.candidate.since == Corrections.of([Work()] * 3)


def test_a_version_that_is_younger_than_the_snapshot_may_know_these_images(bench: Bench) -> None:
    bench.models.replace_card("v0000", old(bench.models.card("v0000"), years=-1))
    bench.models.replace_card("v0001", old(bench.models.card("v0001")))
    bench.learning.newer = list(made_snapshot().holdout) * 3
    bench.learning.before["verdict"] = bench.roll_back
    closed = bench.run()
    assert bench.learning.evaluated == [("candidate", 3), ("v0001", 3), ("v0000", 0)]
    judged = Judgement.load(bench.rounds.folder(closed.id))
    assert judged.champion is not None and judged.champion.version == "v0000"
    assert judged.candidate.since == judged.champion.since == Corrections(rows=[])


def test_an_earlier_rounds_version_knows_none_of_them_whatever_its_date(bench: Bench) -> None:
    """The clock was ahead when it was made: by its date it would know them all, for years."""
    made = old(bench.models.card("v0001"), years=-9)
    bench.models.replace_card("v0001", made.model_copy(update={"round": 0}))
    bench.learning.newer = list(made_snapshot().holdout) * 3
    bench.run()
    assert bench.learning.evaluated == [("candidate", 3), ("v0001", 3)]


def old(card: Card, years: int = 1) -> Card:
    return card.model_copy(update={"created_at": card.created_at - timedelta(days=365 * years)})
