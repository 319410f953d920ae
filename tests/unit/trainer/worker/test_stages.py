"""A round from request to verdict, and the same round when it is interrupted anywhere on its way."""

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_learning import FakeLearning
from support.fake_studio import FakeStudio
from support.killed import Killed
from support.versions import add_version

from labelloop import registry as registry_module
from labelloop import version_files
from labelloop.locks import Busy
from labelloop.registry import ProjectModels, Registry
from labelloop.studio import Studio, StudioError
from trainer.dataset import snapshot as snapshot_module
from trainer.dataset.snapshot import snapshotting
from trainer.env import TrainerSettings
from trainer.judging import judgement, scores
from trainer.judging.evaluate import Evaluation
from trainer.judging.gate import Verdict
from trainer.judging.standing import standing
from trainer.peers.projects import NO_PROJECT
from trainer.rounds import claims
from trainer.rounds.folder import EVALUATION
from trainer.rounds.table import Round, Rounds, State
from trainer.system.children import RETRY, STOPPED
from trainer.system.failures import Unforeseen
from trainer.training.process import TrainingFailed, TrainingKilled
from trainer.worker import stages as stages_module
from trainer.worker.stages import Stages

UNFORESEEN = (
    "the training stopped over a fault that labelloop did not foresee ({}); the log is "
    "volumes/rounds/00001/log.txt. Try again with `make retrain`; should it come again, the log says what to "
    "report"
)
TRACE = 'Traceback (most recent call last):\n  File "loader.py", line 3, in fetch\nKeyError: 7'
CAUGHT = "RuntimeError: Caught KeyError in worker 0."


class Bench:
    """A registry with v0000 in service, one labelled image, a requested round, and stages made anew for each
    run.
    """

    def __init__(
        self, settings: TrainerSettings, studio: Studio, fake_studio: FakeStudio, models: ProjectModels
    ) -> None:
        fake_studio.add_task(annotations=1)
        self.settings, self.studio, self.models = settings, studio, models
        self.learning = FakeLearning()
        self.rounds = Rounds(settings.rounds_dir)
        self.round, _ = self.rounds.request(1, "test")

    def run(self) -> Round:
        return Stages(self.rounds, Registry(self.settings.models_dir), self.studio, self.learning).run(
            self.round.id
        )


@pytest.fixture
def bench(
    loop_settings: TrainerSettings, studio: Studio, fake_studio: FakeStudio, models: ProjectModels
) -> Bench:
    return Bench(loop_settings, studio, fake_studio, models)


def test_a_better_candidate_is_promoted(bench: Bench) -> None:
    closed = bench.run()
    assert (closed.state, closed.version, closed.parent) == (State.PROMOTED, "v0001", "v0000")
    assert closed.verdict == "promoted v0001: mAP 0.500 → 0.600 on 1 hold-out image"
    assert closed.labelled == 1
    assert bench.models.champion() == "v0001"
    card = bench.models.card("v0001")
    assert (card.round, card.parent, card.verdict) == (bench.round.id, "v0000", "promoted")
    assert card.metrics["mAP"] == 0.6
    assert card.score_thresholds == {"ball": 0.4}
    assert (bench.models.folder("v0001") / "weights.pth").read_bytes() == b"trained"


def test_both_scores_are_kept_beside_the_versions(bench: Bench) -> None:
    bench.run()
    found = standing(bench.models, bench.rounds, 1)
    assert [(stand.key, stand.mAP) for stand in found.stands] == [("v0001", 0.6), ("v0000", 0.5)]
    assert found.words == "scored on today's hold-out (1 image, that of round 1): 2 of 2 versions"


def test_a_refused_candidates_score_is_kept_too(bench: Bench) -> None:
    bench.learning.scores = {"candidate": 0.4, "v0000": 0.5}
    bench.run()
    found = standing(bench.models, bench.rounds, 1)
    assert [(stand.name, stand.mAP) for stand in found.stands] == [
        ("v0000", 0.5),
        ("the candidate of round 1", 0.4),
    ]


def test_scores_that_cannot_be_kept_spoil_no_round(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scores, "keep", full)
    assert bench.run().state == State.PROMOTED
    assert [stand.mAP for stand in standing(bench.models, bench.rounds, 1).stands] == [None, None]


def test_a_worse_candidate_is_not(bench: Bench) -> None:
    bench.learning.scores = {"candidate": 0.4, "v0000": 0.5}
    closed = bench.run()
    assert (closed.state, closed.version) == (State.KEPT, None)
    assert closed.verdict == "kept v0000: mAP 0.500 → 0.400 on 1 hold-out image"
    assert bench.models.champion() == "v0000"
    assert bench.models.versions() == ["v0000"]


def _killing(target: Any, name: str, countdown: list[int], patch: pytest.MonkeyPatch) -> None:
    """Every call of target.name has two moments, before and after; at the one countdown says, the process is
    killed.
    """
    original = getattr(target, name)

    def tick() -> None:
        countdown[0] -= 1
        if countdown[0] == 0:
            raise Killed

    def called(*args: Any, **kwargs: Any) -> Any:
        tick()
        answer = original(*args, **kwargs)
        tick()
        return answer

    patch.setattr(target, name, called)


@pytest.mark.parametrize("candidate, state", [(0.6, State.PROMOTED), (0.4, State.KEPT)])
def test_killed_at_any_moment_and_gone_on_with(
    candidate: float,
    state: State,
    tmp_path: Path,
    loop_settings: TrainerSettings,
    studio: Studio,
    fake_studio: FakeStudio,
) -> None:
    for moment in range(1, 200):
        settings = loop_settings.model_copy(update={"labelloop_home": tmp_path / str(moment)})
        models = Registry(settings.models_dir).project(1)
        models.promote(add_version(models, tmp_path / "made"))
        bench = Bench(settings, studio, fake_studio, models)
        bench.learning.scores["candidate"] = candidate
        countdown = [moment]
        with pytest.MonkeyPatch.context() as patch:
            for name in ("snapshot", "train", "evaluate", "decide"):
                _killing(bench.learning, name, countdown, patch)
            _killing(Rounds, "move", countdown, patch)
            _killing(ProjectModels, "write", countdown, patch)
            _killing(ProjectModels, "complete", countdown, patch)
            for module in (judgement, registry_module, version_files, claims):
                _killing(module, "write_text", countdown, patch)
            try:
                bench.run()
            except Killed:
                pass
            else:
                assert moment > 20
                return
        closed = bench.run()
        assert closed.state == state, f"killed at moment {moment}"
        assert len(bench.rounds.history(1)) == 1
        promoted = state == State.PROMOTED
        assert models.versions() == (["v0000", "v0001"] if promoted else ["v0000"])
        assert models.champion() == ("v0001" if promoted else "v0000")
        assert bench.learning.calls.count("snapshot") == 1
        assert bench.learning.calls.count("train") == 1
    pytest.fail("the round never came to its end")


def test_a_rollback_during_the_evaluation_is_compared_with(bench: Bench, tmp_path: Path) -> None:
    bench.models.promote(add_version(bench.models, tmp_path / "made"))
    bench.learning.scores |= {"v0001": 0.7}
    with pytest.MonkeyPatch.context() as patch:
        _killing(judgement, "write_text", countdown := [2], patch)
        with pytest.raises(Killed):
            bench.run()
    assert countdown == [0]
    bench.models.promote("v0000")
    closed = bench.run()
    assert closed.verdict == "promoted v0002: mAP 0.500 → 0.600 on 1 hold-out image"
    assert closed.parent == "v0000"


def test_a_candidate_that_an_earlier_release_scored_is_scored_again(bench: Bench) -> None:
    """It counted 100 boxes an image; the champion's score would count more."""
    bench.run()
    file = bench.rounds.folder(bench.round.id) / EVALUATION
    old = json.loads(file.read_bytes())
    old["champion"]["version"] = "v0009"
    del old["candidate"]["max_detections"]
    again, _ = bench.rounds.request(1, "test")
    bench.round = again
    folder = bench.rounds.folder(again.id)
    folder.mkdir(parents=True)
    bench.learning.calls.clear()
    bench.learning.scores |= {"v0001": 0.5}
    bench.learning.during_training = lambda: (folder / EVALUATION).write_text(json.dumps(old)) and None
    bench.run()
    assert bench.learning.calls[-2:] == ["evaluate candidate", "evaluate v0001"]


def test_a_finished_round_is_left_alone(bench: Bench) -> None:
    first = bench.run()
    calls = list(bench.learning.calls)
    assert bench.run() == first
    assert bench.learning.calls == calls


def test_a_round_cancelled_at_the_last_moment_promotes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = bench.learning.decide

    def cancel_then_decide(candidate: Evaluation, champion: Evaluation | None) -> Verdict:
        bench.rounds.cancel(bench.round.id)
        return decide(candidate, champion)

    monkeypatch.setattr(bench.learning, "decide", cancel_then_decide)
    assert bench.run().state == State.CANCELLED
    assert bench.models.champion() == "v0000"
    assert bench.models.versions() == ["v0000"]


def fail_with(error: Exception) -> Callable[[], None]:
    def raising() -> None:
        raise error

    return raising


@pytest.mark.parametrize(
    "error, words",
    [
        (
            TrainingFailed("the loss is not a number at iteration 3"),
            "the loss is not a number at iteration 3",
        ),
        (KeyError("bbox_head"), UNFORESEEN.format("KeyError: 'bbox_head'")),
        (RuntimeError(f"Caught KeyError in worker 0.\nOriginal {TRACE}"), UNFORESEEN.format(CAUGHT)),
        (Unforeseen("RuntimeError: no kernel"), UNFORESEEN.format("RuntimeError: no kernel")),
        (
            OSError(errno.ENOSPC, "No space left on device", "x.pth"),
            "the disk is full ([Errno 28] No space left on device: 'x.pth'); make room, then `make retrain`. "
            "The log is volumes/rounds/00001/log.txt",
        ),
    ],
    ids=["explained", "bug", "of another process", "of the training", "disk"],
)
def test_a_failure_is_told_in_one_sentence_and_without_a_traceback(
    bench: Bench, error: Exception, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench.learning.during_training = fail_with(error)
    closed = bench.run()
    assert (closed.state, closed.error) == (State.FAILED, words)
    assert bench.models.champion() == "v0000"
    assert ("Traceback" in caplog.text) is not isinstance(error, TrainingFailed)


def test_the_reason_of_an_earlier_release_is_shown_without_its_traceback(bench: Bench) -> None:
    bench.rounds.move(bench.round.id, State.FAILED, error=f"RuntimeError: no worker Original {TRACE}")
    told = bench.rounds.get(bench.round.id).error
    assert told == "RuntimeError: no worker; the log is volumes/rounds/00001/log.txt"


def test_a_round_whose_training_was_killed_stays_open_and_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = fail_with(
        TrainingKilled("training was ended by the system, mostly because memory ran out (SIGKILL)")
    )
    bench.learning.during_training = killed
    monkeypatch.setattr(stages_module, "RealLearning", lambda settings: bench.learning)
    monkeypatch.setattr(stages_module, "die_with_parent", lambda: None)
    monkeypatch.setattr("signal.signal", lambda *arguments: None)
    assert stages_module.main([str(bench.round.id)]) not in (0, STOPPED, RETRY)
    assert capsys.readouterr().out.endswith(
        "training was ended by the system, mostly because memory ran out (SIGKILL)\n"
    )
    assert bench.rounds.open_round(1) is not None
    bench.learning.during_training = lambda: None
    assert bench.run().state == State.PROMOTED


def test_a_cancelled_round_promotes_nothing(bench: Bench) -> None:
    def cancel() -> None:
        bench.rounds.cancel(bench.round.id)

    bench.learning.during_training = cancel
    closed = bench.run()
    assert (closed.state, closed.verdict) == (State.CANCELLED, "cancelled")
    assert bench.models.versions() == ["v0000"]


def test_a_round_cancelled_because_its_project_is_gone_says_so_from_the_start(
    bench: Bench, fake_studio: FakeStudio
) -> None:
    def delete_the_project() -> None:
        del fake_studio.projects[1]
        bench.rounds.cancel(bench.round.id)

    bench.learning.during_training = delete_the_project
    closed = bench.run()
    assert (closed.state, closed.verdict) == (State.CANCELLED, NO_PROJECT)


@pytest.mark.parametrize("first_answer", [0, 503])
def test_without_label_studio_the_round_stays_open(
    bench: Bench, fake_studio: FakeStudio, first_answer: int
) -> None:
    if first_answer:
        fake_studio.down = True
    else:
        bench.studio.url = "http://127.0.0.1:9"
    with pytest.raises(StudioError, match=r"127\.0\.0\.1"):
        bench.run()
    assert bench.rounds.open_round(1) is not None
    fake_studio.down = False
    bench.studio.url = fake_studio.url
    assert bench.run().state == State.PROMOTED


def test_while_another_snapshot_is_taken_the_round_stays_open(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_module, "WAIT_S", 0.0)
    with snapshotting(bench.settings.rounds_dir), pytest.raises(Busy, match=r"snapshot\.lock is locked"):
        bench.run()
    assert bench.rounds.open_round(1) is not None
    assert bench.run().state == State.PROMOTED


def test_progress_shows_losses(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(bench.rounds, "progress", lambda *args: seen.append(str(args[2])))
    bench.run()
    assert "iteration 5 of 10; loss 1.500, bbox 0.500" in seen


def test_progress_says_when_memory_makes_a_round_slower(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(bench.rounds, "progress", lambda *args: seen.append(str(args[2])))
    bench.learning.parts = 4
    bench.run()
    said = "loss 1.500, bbox 0.500; each batch in 4 parts, as the GPU's memory is short"
    assert f"iteration 5 of 10; {said}" in seen
