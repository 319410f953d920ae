"""Scores models on today's hold-out, in a process of low priority:
`python -m trainer.judging.scoring <project> [<key> …]`.

A score is written when it is complete, so a process that is killed loses at most the model that it was at.
What the project's rounds have scored on the same images already is taken over from them.

Exit status 0: all is scored, or noted as impossible; 69: the disk cannot be read or written, or an earlier
process has not ended yet; any other: the process died.
"""

import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from labelloop.errors import Explained
from labelloop.files import stamp_of
from labelloop.locks import Busy, holding
from labelloop.log_lines import SHORT_LINE, TIMES
from labelloop.registry import ProjectModels, Registry, RegistryError
from labelloop.settings import Settings
from trainer.dataset import coco
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side
from trainer.env import get_settings
from trainer.judging import scores
from trainer.judging.evaluate import Evaluation, evaluate
from trainer.judging.judgement import Judgement
from trainer.judging.scores import Score
from trainer.judging.standing import Stand, standing
from trainer.rounds.folder import SNAPSHOT
from trainer.rounds.table import Round, RoundError, Rounds
from trainer.system.children import RETRY, die_with_parent

log = logging.getLogger(__name__)

NICENESS = 19
LEFT_OVER_S = 20.0
MOST_PARENTS = 1000

Judge = Callable[[Path, Snapshot], Evaluation]
"""A function that scores a version's folder on a snapshot's hold-out."""


def lock_path(rounds_dir: Path) -> Path:
    """The lock of the process that scores."""
    return rounds_dir / "scoring.lock"


def digest_of(snapshot: Snapshot) -> str:
    """SHA-256 over what a score depends on: the labels, and the hold-out's images with their boxes."""
    rows = []
    for image in snapshot.holdout:
        fields = [image.sha256, sorted(image.boxes), sorted(image.ignored)]
        rows.append(hashlib.sha256(json.dumps(fields).encode()).digest())
    return hashlib.sha256(json.dumps(snapshot.classes).encode() + b"".join(sorted(rows))).hexdigest()


class Today:
    """Today's hold-out, to score models of the project on. round_: the one whose snapshot it is of."""

    def __init__(self, models: ProjectModels, rounds: Rounds, round_: Round) -> None:
        """Raises OSError, ValueError, KeyError, TypeError: its snapshot cannot be read."""
        self._models, self._rounds, self._round = models, rounds, round_
        self._stamp = stamp_of(rounds.folder(round_.id) / SNAPSHOT)
        self.snapshot = Snapshot.load(rounds.folder(round_.id))

    @cached_property
    def digest(self) -> str:
        return digest_of(self.snapshot)

    @cached_property
    def _images(self) -> frozenset[str]:
        return frozenset(image.sha256 for image in self.snapshot.holdout)

    @cached_property
    def _judged(self) -> Judgement | None:
        try:
            return Judgement.load(self._rounds.folder(self._round.id))
        except (OSError, ValueError):
            return None

    def take_over(self, stand: Stand) -> bool:
        """Keeps the score that the round, or an earlier look at the same images, gave this model. Returns:
        whether there is one.
        """
        evaluation = self._evaluation(stand)
        if evaluation is not None and evaluation.as_today:
            self._keep(stand, self._of(stand, evaluation))
            return True
        former = scores.load(self._models, stand.key, stand.of).on_same(self.digest)
        if former is not None:
            self._keep(stand, former.model_copy(update=self._where(stand)))
        return former is not None

    def score(self, stand: Stand, judge: Judge) -> Score:
        """Scores a model, unless it cannot be, and keeps the result.

        Raises:
            OSError: the disk cannot be read or written.
        """
        stamp = stamp_of(stand.folder / "card.json") if stand.folder else None
        made = self._made(stand, judge)
        # Labels that are renamed meanwhile are renamed in the snapshot and the card, before the scores.
        renamed = stamp_of(self._rounds.folder(self._round.id) / SNAPSHOT) != self._stamp
        if not renamed and stand.folder and stamp_of(stand.folder / "card.json") == stamp:
            self._keep(stand, made)
        return made

    def _made(self, stand: Stand, judge: Judge) -> Score:
        where = Score.model_validate(self._where(stand))
        if not self._images:
            return where.model_copy(update={"why_not": "the hold-out has no image yet"})
        present = {label for image in self.snapshot.holdout for label in image.labels}
        names = [self.snapshot.classes[label] for label in sorted(present)]
        if names and not set(names) & set(scores.known_labels(stand.card, self.snapshot.label_config)):
            return where.model_copy(update={"why_not": scores.knows_none(names), "unknown": names})
        assert stand.folder is not None, f"{stand.name} is scored by its weights"
        try:
            evaluation = judge(stand.folder, self.snapshot)
        except RegistryError as error:
            return where.model_copy(update={"failed": str(error)})
        if not evaluation.images:
            return where.model_copy(update={"failed": f"no image can be read: {evaluation.missing[0]}"})
        return self._of(stand, evaluation)

    def _of(self, stand: Stand, evaluation: Evaluation) -> Score:
        known = scores.known_labels(stand.card, self.snapshot.label_config)
        return scores.scored(evaluation, known, Score.model_validate(self._where(stand)))

    def _where(self, stand: Stand) -> dict[str, object]:
        """What a score says of the hold-out, and of what the model has seen of it."""
        return {
            "round": self._round.id,
            "requested_at": self._round.requested_at,
            "digest": self.digest,
            "seen": self._seen(stand),
            "at": datetime.now(UTC),
        }

    def _evaluation(self, stand: Stand) -> Evaluation | None:
        """What today's round itself found of the model; None when it was not in it."""
        if self._judged is None:
            return None
        if stand.made_by(self._round):
            return self._judged.candidate
        champion = self._judged.champion
        # A restored backup may give a version's name to another one, which is younger than the round.
        over = datetime.fromisoformat(self._round.finished_at or self._round.requested_at)
        same = champion is not None and champion.version == stand.version and stand.card.created_at <= over
        return champion if same else None

    def _seen(self, stand: Stand) -> int | None:
        """On how many of these images the model was trained, or one from which its training went on."""
        seen: set[str] = set()
        for made_by, requested_at in self._lineage(stand):
            trained_on = self._trained_on(made_by, requested_at) if made_by else None
            if trained_on is None:
                return None
            seen |= trained_on
        return len(seen)

    def _lineage(self, stand: Stand) -> Iterator[tuple[int, str | None]]:
        """The rounds that trained it: its own, and those of the versions from which training went on. One of
        which no round is known any more is 0.
        """
        card, made_by = stand.card, stand.round
        for _ in range(MOST_PARENTS):
            if made_by is None:
                return
            yield made_by, card.round_requested_at
            if card.parent is None or card.start_weights != card.parent:
                return
            try:
                card = self._models.card(card.parent)
            except RegistryError:
                break
            made_by = card.round
        yield 0, None

    def _trained_on(self, made_by: int, requested_at: str | None) -> set[str] | None:
        """Which of today's images a round trained on; None when its snapshot is gone."""
        try:
            if requested_at is not None and self._rounds.get(made_by).requested_at != requested_at:
                return None
            if made_by == self._round.id:
                return {image.sha256 for image in self.snapshot.train} & self._images
            images = coco.read_images(self._rounds.folder(made_by) / SNAPSHOT)
            return {i.sha256 for i in images if i.side is Side.TRAIN and i.sha256 in self._images}
        except (OSError, ValueError, KeyError, TypeError, RoundError):
            return None

    def _keep(self, stand: Stand, score: Score) -> None:
        scores.keep(self._models, stand.key, stand.of, score)


def score_all(
    models: ProjectModels,
    rounds: Rounds,
    project_id: int,
    judge: Judge,
    keys: Collection[str] = (),
    say: Callable[[str], None] = lambda words: None,
) -> int:
    """Scores a project's models on today's hold-out, after what its rounds scored there was taken over. The
    champion comes first, then the newest.

    keys: only these; all that are due when empty. Returns: how many were scored anew.

    Raises:
        OSError: the disk cannot be read or written.
    """
    found = standing(models, rounds, project_id)
    due = [stand for stand in found.due() if not keys or stand.key in keys]
    if found.round is None or not due:
        return 0
    try:
        today = Today(models, rounds, found.round)
    except (ValueError, KeyError, TypeError) as error:
        why = f"the snapshot of round {found.round.id} is damaged ({type(error).__name__}: {error})"
        for stand in due:
            scores.keep(models, stand.key, stand.of, Score.failure(found.round, why))
        return 0
    anew = [stand for stand in due if not today.take_over(stand)]
    for stand in anew:
        say(f"{stand.key}: begins")
        score = today.score(stand, judge)
        say(f"{stand.key}: {score.failed or score.why_not or score.mAP}")
    return len(anew)


def take_over(models: ProjectModels, rounds: Rounds, round_: Round) -> None:
    """Keeps what a round that is over has found of its candidate and of the champion.

    Raises:
        OSError, ValueError, KeyError, TypeError: its snapshot cannot be read, or a score not be written.
    """
    found = standing(models, rounds, round_.project)
    if found.round is not None and found.round.id == round_.id:
        today = Today(models, rounds, round_)
        for stand in found.due():
            today.take_over(stand)


def judge_with(settings: Settings) -> Judge:
    """Scores with one thread: two that wait for each other beside other work are slower than one."""
    alone = settings.model_copy(update={"threads": 1, "cluster": "none"})
    return lambda folder, snapshot: evaluate(folder, snapshot, alone, lambda fraction, words: None)


def main(arguments: list[str]) -> int:
    die_with_parent()
    os.nice(NICENESS)
    settings = get_settings()
    logging.basicConfig(level=settings.log_level.upper(), format=SHORT_LINE, datefmt=TIMES)
    project_id, keys = int(arguments[0]), arguments[1:]
    models, rounds = Registry(settings.models_dir).project(project_id), Rounds(settings.rounds_dir)
    try:
        with holding(lock_path(settings.rounds_dir), LEFT_OVER_S):
            score_all(models, rounds, project_id, judge_with(settings), keys, lambda w: print(w, flush=True))
    except (Busy, OSError) as error:
        print(error)
        return RETRY
    except Explained as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
