"""What rounds have left in their folders, read once as long as it stays the same."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from labelloop.registry import RegistryError
from trainer.dashboard.loop import WatchedLoop
from trainer.evaluate import Evaluation
from trainer.rounds import Round
from trainer.snapshot import SNAPSHOT, Snapshot
from trainer.stages import EVALUATION, Judgement

log = logging.getLogger(__name__)

KEPT_IN_MEMORY = 64
HISTORY = 100


@dataclass(frozen=True)
class Contents:
    """What a snapshot holds: each image's boxes as a digest, by the SHA-256 of its bytes."""

    boxes: int
    holdout: int
    labels: tuple[str, ...]
    images: dict[str, str]


@dataclass(frozen=True)
class Scored:
    """A version's newest evaluation, and the round that it was made in."""

    round: Round
    evaluation: Evaluation


def removed_words(round_id: int) -> str:
    """Of a round whose data retention has taken."""
    return f"the snapshot of round {round_id} was removed by retention (KEEP_ROUNDS)"


def judgement(folder: Path) -> Judgement | None:
    """A round's; None before there is one, or when it cannot be read."""
    stamp = _stamp(folder / EVALUATION)
    return None if stamp is None else _judgement(folder, stamp)


def snapshot(folder: Path) -> Snapshot | None:
    """A round's; None before there is one, or when it cannot be read."""
    stamp = _stamp(folder / SNAPSHOT)
    return None if stamp is None else _snapshot(folder, stamp)


def contents(folder: Path) -> Contents | None:
    """Of a round's snapshot."""
    stamp = _stamp(folder / SNAPSHOT)
    return None if stamp is None else _contents(folder, stamp)


def evaluations(loop: WatchedLoop, project_id: int, version: str) -> Iterator[Scored]:
    """A version's, as candidate or as champion, newest round first."""
    try:
        made_by = loop.models(project_id).card(version).round
    except RegistryError:
        made_by = None
    for round_ in loop.rounds.history(project_id, HISTORY):
        found = judgement(loop.rounds.folder(round_.id))
        if found is not None and found.champion is not None and found.champion.version == version:
            yield Scored(round_, found.champion)
        elif found is not None and round_.id == made_by:
            yield Scored(round_, found.candidate)


def newest_evaluation(loop: WatchedLoop, project_id: int, version: str) -> Scored | None:
    return next(evaluations(loop, project_id, version), None)


def comparable_evaluations(
    loop: WatchedLoop, project_id: int, versions: tuple[str, str]
) -> tuple[Scored | None, Scored | None]:
    """Of the newest round that scored both on its hold-out; without one, the newest of each."""
    left, right = (list(evaluations(loop, project_id, version)) for version in versions)
    by_round = {scored.round.id: scored for scored in right}
    for scored in left:
        if scored.round.id in by_round:
            return scored, by_round[scored.round.id]
    return next(iter(left), None), next(iter(right), None)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns


@lru_cache(KEPT_IN_MEMORY)
def _judgement(folder: Path, stamp: tuple[int, int]) -> Judgement | None:
    try:
        return Judgement.model_validate_json((folder / EVALUATION).read_bytes())
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read: %s", folder / EVALUATION, error)
        return None


@lru_cache(2)
def _snapshot(folder: Path, stamp: tuple[int, int]) -> Snapshot | None:
    try:
        return Snapshot.load(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read: %s", folder / SNAPSHOT, error)
        return None


@lru_cache(KEPT_IN_MEMORY)
def _contents(folder: Path, stamp: tuple[int, int]) -> Contents | None:
    found = _snapshot(folder, stamp)
    if found is None:
        return None
    digests = {
        image.sha256: hashlib.sha256(repr(sorted(image.boxes)).encode()).hexdigest() for image in found.images
    }
    return Contents(found.boxes, len(found.holdout), tuple(found.classes), digests)
