"""Takes one round through its stages, in a separate process: `python -m trainer.worker.stages <round id>`.

Each stage leaves a file from which the next one starts: snapshot.json, last.pth, candidate/, evaluation.json,
and the registry's version whose card names the round. So an interrupted round goes on where it stopped. Files
that another round left under the same number are not used (trainer.rounds.claims).

A version that a person puts into service during a round stays: the candidate replaces only the version with
which it was compared.

Exit status 0: the round is over; 69: a service that it needs does not answer, or an earlier process of the
round has not ended yet; 75: it was stopped before its end; 1: its training was killed.
"""

import logging
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

from labelloop.errors import Explained
from labelloop.files import sha256_file
from labelloop.locks import Busy, holding
from labelloop.log_lines import SHORT_LINE, TIMES
from labelloop.registry import Card, ChampionMoved, ProjectModels, Registry
from labelloop.studio import Studio, StudioError
from labelloop.task_filters import LABELLED
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.snapshot import Snapshot, snapshotting
from trainer.env import get_settings
from trainer.judging import scoring
from trainer.judging.corrections import Corrections
from trainer.judging.judgement import Judgement
from trainer.peers.projects import NO_PROJECT
from trainer.rounds.claims import claim
from trainer.rounds.folder import STAGES_LOCK
from trainer.rounds.metrics import Metrics
from trainer.rounds.table import Round, Rounds, State, log_name
from trainer.system.children import RETRY, STOPPED, die_with_parent
from trainer.system.failures import FULL, brief, without_traceback
from trainer.training.process import TrainingCancelled, TrainingKilled, TrainingWaits
from trainer.worker.learning import Learning, Progress, RealLearning

log = logging.getLogger(__name__)

COMPARISONS = 3
"""How often a round's candidate is compared if the version in service keeps changing meanwhile."""
REPORT_EVERY_S = 0.3
STOP_WITHIN_S = 4
LEFT_OVER_S = 60.0
DOING = {
    State.SNAPSHOTTING: "the snapshot",
    State.TRAINING: "the training",
    State.EVALUATING: "the evaluation",
}


class Cancelled(Exception):
    """Somebody asked for the round to be cancelled."""


class Stages:
    """Takes a round from its current stage to its verdict."""

    def __init__(self, rounds: Rounds, registry: Registry, studio: Studio, learning: Learning) -> None:
        self._rounds = rounds
        self._registry = registry
        self._studio = studio
        self._learning = learning

    def run(self, round_id: int) -> Round:
        """Runs the remaining stages; returns the closed round.

        Raises:
            StudioError, Busy, TrainingKilled, TrainingWaits: Label Studio does not answer, another process
                is taking a snapshot, training was killed, or the cluster is away; the round stays open.
        """
        round_ = self._rounds.get(round_id)
        if round_.closed:
            return round_
        try:
            claim(self._rounds, round_)
            snapshot = self._snapshot(round_)
            candidate = self._train(round_, snapshot)
            closed = self._evaluate_and_decide(round_, snapshot, candidate)
            self._keep_scores(closed)
            return closed
        except (Cancelled, TrainingCancelled):
            gone = self._project_is_gone(round_.project)
            return self._rounds.move(round_id, State.CANCELLED, verdict=NO_PROJECT if gone else "cancelled")
        except StudioError as error:
            if error.status == 0 or error.status >= 500:
                raise
            if self._project_is_gone(round_.project):
                return self._rounds.move(round_id, State.CANCELLED, verdict=NO_PROJECT)
            return self._fail(round_id, error)
        except (Busy, TrainingKilled, TrainingWaits):
            raise
        except Exception as error:
            return self._fail(round_id, error)

    def _project_is_gone(self, project_id: int) -> bool:
        try:
            self._studio.project(project_id)
        except StudioError as error:
            return error.status == 404
        return False

    def _fail(self, round_id: int, error: Exception) -> Round:
        """Closes the round with one sentence. Only a fault that nobody foresaw has its traceback logged."""
        if isinstance(error, Explained):
            reason = str(error)
            log.error("round %d failed: %s", round_id, reason)
        else:
            reason = self._unforeseen(round_id, error)
            log.error("round %d failed: %s", round_id, reason, exc_info=error)
        return self._rounds.move(round_id, State.FAILED, error=reason)

    def _unforeseen(self, round_id: int, error: Exception) -> str:
        where = log_name(round_id)
        if isinstance(error, OSError) and error.errno in FULL:
            return (
                f"the disk is full ({without_traceback(str(error))}); make room, then `make retrain`. "
                f"The log is {where}"
            )
        stage = DOING.get(self._rounds.get(round_id).state, "the round")
        return (
            f"{stage} stopped over a fault that labelloop did not foresee ({brief(error)}); the log is "
            f"{where}. Try again with `make retrain`; should it come again, the log says what to report"
        )

    def _snapshot(self, round_: Round) -> Snapshot:
        folder = self._rounds.folder(round_.id)
        if round_.state == State.REQUESTED:
            labelled = self._studio.count_tasks(round_.project, LABELLED)
            self._rounds.move(
                round_.id, State.SNAPSHOTTING, labelled=labelled, parent=self._models(round_).champion()
            )
        with snapshotting(self._rounds.root):
            snapshot = self._learning.snapshot(
                self._studio, round_.project, folder, self._progress(round_.id)
            )
        for warning in snapshot.warnings:
            log.warning("snapshot: %s", warning)
        for skipped in snapshot.skipped:
            log.warning("snapshot: task %s left out: %s", skipped.task, skipped.reason)
        for row in snapshot.boxes_left_out:
            log.warning("snapshot: task %s, boxes not learned, %s: %s", row.task, row.kind, row.reason)
        return snapshot

    def _train(self, round_: Round, snapshot: Snapshot) -> Path:
        if self._rounds.get(round_.id).state == State.SNAPSHOTTING:
            self._rounds.move(round_.id, State.TRAINING, message="preparing")

        def show(metrics: Metrics) -> None:
            self._rounds.progress(round_.id, metrics.fraction, _in_words(metrics), metrics.eta)

        return self._learning.train(
            self._rounds.folder(round_.id),
            round_.project,
            snapshot,
            show,
            lambda: self._rounds.cancel_requested(round_.id),
        )

    def _evaluate_and_decide(self, round_: Round, snapshot: Snapshot, candidate: Path) -> Round:
        """Compares the candidate with the version in service, again if that changes before the verdict."""
        if self._rounds.get(round_.id).state == State.TRAINING:
            self._rounds.move(round_.id, State.EVALUATING, message="loading the models")
        models = self._models(round_)
        digest = sha256_file(candidate / "weights.pth")
        written = models.of_round(round_.id, round_.requested_at, digest)
        if written is not None:
            return self._conclude(round_, models, written)
        for _ in range(COMPARISONS):
            judgement = self._judge(round_, snapshot, candidate, models)
            compared_with = judgement.compared_with
            if not judgement.promote and models.in_service() == compared_with:
                verdict = f"kept {compared_with}: {judgement.reason}"
                return self._rounds.move(round_.id, State.KEPT, parent=compared_with, verdict=verdict)
            if self._rounds.cancel_requested(round_.id):
                raise Cancelled
            if judgement.promote:
                try:
                    version = self._succeed(round_, candidate, models, judgement)
                except ChampionMoved:
                    pass
                else:
                    return self._promoted(round_, version, judgement.reason, compared_with)
            log.warning(
                "round %d: %s took the place of %s meanwhile; the candidate is compared with it",
                round_.id,
                models.in_service(),
                compared_with,
            )
        champion = models.in_service()
        verdict = f"kept {champion}: the model in service was changed {COMPARISONS} times meanwhile"
        return self._rounds.move(round_.id, State.KEPT, parent=champion, verdict=verdict)

    def _keep_scores(self, closed: Round) -> None:
        """Keeps both models' scores beside them, so that the pages need not read the whole evaluation. The
        scorer makes up for what fails here.
        """
        try:
            scoring.take_over(self._models(closed), self._rounds, closed)
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("round %d: its scores are not kept yet: %s", closed.id, error)

    def _conclude(self, round_: Round, models: ProjectModels, written: str) -> Round:
        """Closes a round that was interrupted after it had written its version."""
        earlier = self._earlier(round_)
        parent = earlier.compared_with if earlier else round_.parent
        if models.complete(written):
            return self._promoted(round_, written, models.card(written).reason, parent)
        champion = models.in_service()
        verdict = f"kept {champion}: it was put into service after the round's {written}"
        return self._rounds.move(round_.id, State.KEPT, parent=champion, verdict=verdict)

    def _promoted(self, round_: Round, version: str, reason: str, parent: str | None) -> Round:
        verdict = f"promoted {version}: {reason}"
        return self._rounds.move(round_.id, State.PROMOTED, version=version, parent=parent, verdict=verdict)

    def _earlier(self, round_: Round) -> Judgement | None:
        try:
            return Judgement.load(self._rounds.folder(round_.id))
        except (FileNotFoundError, ValueError):
            return None

    def _judge(self, round_: Round, snapshot: Snapshot, candidate: Path, models: ProjectModels) -> Judgement:
        """The judgement of the candidate against the version in service.

        If an earlier judgement was against another version, the candidate's scores in it are used again,
        unless an earlier release made them, which counted no corrections.
        """
        progress = self._progress(round_.id)
        champion_version = models.champion()
        earlier = self._earlier(round_)
        if earlier is not None and earlier.compared_with == champion_version:
            return earlier
        since = self._since(round_, snapshot) if champion_version else ()
        share = 0.5 if champion_version else 1.0
        scored = (
            earlier.candidate
            if earlier and earlier.candidate.as_today and earlier.candidate.since is not None
            else self._learning.evaluate(
                candidate, snapshot, lambda f, text: progress(f * share, f"candidate: {text}"), since
            )
        )
        champion = None
        if champion_version is not None:
            folder = models.folder(champion_version)
            if _may_know_newer(models.card(champion_version), round_):
                since, scored = (), scored.model_copy(update={"since": Corrections(rows=[])})
            champion = self._learning.evaluate(
                folder,
                snapshot,
                lambda f, text: progress(0.5 + f * 0.5, f"{champion_version}, in service: {text}"),
                since,
            )
        judgement = Judgement(
            candidate=scored, champion=champion, **asdict(self._learning.decide(scored, champion))
        )
        judgement.write(self._rounds.folder(round_.id))
        return judgement

    def _since(self, round_: Round, snapshot: Snapshot) -> Sequence[SnapshotImage]:
        """The images that were labelled after the snapshot. They count beside the hold-out."""
        folder, progress = self._rounds.folder(round_.id), self._progress(round_.id)
        with snapshotting(self._rounds.root):
            return self._learning.since(self._studio, folder, snapshot, _began(round_), progress)

    def _succeed(self, round_: Round, candidate: Path, models: ProjectModels, judgement: Judgement) -> str:
        """Puts the candidate into service; returns its version.

        Raises:
            ChampionMoved: the version in service is not the one with which the candidate was compared.
        """
        card = Card.model_validate_json((candidate / "card.json").read_bytes())
        complete = card.model_copy(
            update={
                "round": round_.id,
                "round_requested_at": round_.requested_at,
                "parent": card.parent or judgement.compared_with,
                "metrics": judgement.candidate.metrics() | judgement.comparison,
                "score_thresholds": judgement.candidate.score_thresholds,
                "verdict": "promoted",
                "reason": judgement.reason,
            }
        )
        config_text = (candidate / "config.py").read_text(encoding="utf-8")
        return models.succeed(judgement.compared_with, complete, config_text, candidate / "weights.pth")

    def _models(self, round_: Round) -> ProjectModels:
        return self._registry.project(round_.project)

    def _progress(self, round_id: int) -> Progress:
        next_report = 0.0

        def report(fraction: float, message: str) -> None:
            nonlocal next_report
            if time.monotonic() < next_report:
                return
            next_report = time.monotonic() + REPORT_EVERY_S
            if self._rounds.cancel_requested(round_id):
                raise Cancelled
            self._rounds.progress(round_id, fraction, message)

        return report


def _may_know_newer(champion: Card, round_: Round) -> bool:
    """Whether a version may have been trained on images that were labelled since the round began. Rounds of a
    project follow one another; only what no round made is told by the clock.
    """
    if champion.round is not None:
        return champion.round > round_.id
    return champion.created_at > _began(round_)


def _began(round_: Round) -> datetime:
    """When the round's snapshot was begun, or shortly before."""
    return datetime.fromisoformat(round_.started_at or round_.requested_at)


def _in_words(metrics: Metrics) -> str:
    """The iteration, the losses, their sum first, and whether memory makes the round slower."""
    names = sorted(metrics.losses, key=lambda name: name != "loss")
    losses = ", ".join(f"{name.removeprefix('loss_')} {metrics.losses[name]:.3f}" for name in names)
    parts = (
        f"; each batch in {metrics.parts} parts, as the GPU's memory is short" if metrics.parts > 1 else ""
    )
    together = f", in {metrics.processes} processes" if metrics.processes > 1 else ""
    return f"iteration {metrics.iteration} of {metrics.iterations}{together}; {losses}{parts}"


def main(arguments: list[str]) -> int:
    die_with_parent()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = get_settings()
    logging.basicConfig(level=settings.log_level.upper(), format=SHORT_LINE, datefmt=TIMES)
    rounds = Rounds(settings.rounds_dir)
    studio = Studio.connect(settings)
    stages = Stages(rounds, Registry(settings.models_dir), studio, RealLearning(settings))
    lock = rounds.folder(int(arguments[0])) / STAGES_LOCK
    try:
        # A process that a killed worker left behind must end first.
        with holding(lock, LEFT_OVER_S):
            closed = stages.run(int(arguments[0]))
    except (StudioError, Busy, TrainingWaits) as error:
        rounds.record(int(arguments[0]), message=str(error))
        print(error)
        return RETRY
    except TrainingKilled as error:
        print(error)
        return 1
    print(closed.verdict or closed.error)
    return 0


def _stop(signum: int, frame: FrameType | None) -> NoReturn:
    """Ends the process by an exception. If that is delayed, or a finalizer swallows it, the alarm ends it."""
    signal.alarm(STOP_WITHIN_S)
    raise SystemExit(STOPPED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
