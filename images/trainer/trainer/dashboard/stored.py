"""Reads the files in rounds' folders, and caches them until they change."""

import heapq
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import ParamSpec, TypeVar

from labelloop.files import Stamp, stamp_of
from labelloop.registry import RegistryError
from trainer.dataset.labelled import Corners
from trainer.dataset.snapshot import Snapshot
from trainer.judging.evaluate import Evaluation
from trainer.judging.judgement import Judgement
from trainer.loop import Loop
from trainer.rounds.folder import EVALUATION, SNAPSHOT
from trainer.rounds.table import Round

log = logging.getLogger(__name__)

HISTORY = 100
JUDGEMENTS_KEPT = 64
NUMBERS_KEPT = 1024  # enough for the contents and differences of all rounds in the histories of all projects

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Boxes = tuple[str, int, list[tuple[int, Corners]]]


@dataclass(frozen=True)
class Contents:
    """The size and classes of a snapshot. left_out: how many labelled tasks it does not use."""

    images: int
    boxes: int
    holdout: int
    labels: tuple[str, ...]
    left_out: int = 0


@dataclass(frozen=True)
class Difference:
    """How many images of a snapshot an earlier one lacks (new), how many it lacks of that one (gone), and
    how many have other boxes in it (relabelled).
    """

    new: int
    gone: int
    relabelled: int


@dataclass(frozen=True)
class Scored:
    """An evaluation of a version, and the round in which it was made."""

    round: Round
    evaluation: Evaluation


def judgement(folder: Path) -> Judgement | None:
    """A round's judgement; None before there is one, or when it cannot be read."""
    stamp = stamp_of(folder / EVALUATION)
    return None if stamp is None else _judgement(folder, stamp)


def snapshot(folder: Path) -> Snapshot | None:
    """A round's snapshot; None before there is one, or when it cannot be read."""
    stamp = stamp_of(folder / SNAPSHOT)
    return None if stamp is None else _unless_unreadable(_snapshot, folder, stamp)


def newest_snapshot(loop: Loop, project_id: int) -> Snapshot | None:
    """The snapshot of the newest round that has one."""
    found = (snapshot(loop.rounds.folder(round_.id)) for round_ in loop.rounds.history(project_id, HISTORY))
    return next((each for each in found if each is not None), None)


def contents(folder: Path) -> Contents | None:
    """The contents of a round's snapshot; None when it cannot be read."""
    stamp = stamp_of(folder / SNAPSHOT)
    return None if stamp is None else _unless_unreadable(_contents, folder, stamp)


def difference(before: Path, now: Path) -> Difference | None:
    """The difference between two rounds' snapshots; None when one cannot be read."""
    stamps = stamp_of(before / SNAPSHOT), stamp_of(now / SNAPSHOT)
    return None if None in stamps else _unless_unreadable(_difference, before, now, stamps)


def evaluations(loop: Loop, project_id: int, version: str) -> Iterator[Scored]:
    """A version's evaluations, as candidate or as champion, newest round first."""
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


def newest_evaluation(loop: Loop, project_id: int, version: str) -> Scored | None:
    return next(evaluations(loop, project_id, version), None)


def comparable_evaluations(
    loop: Loop, project_id: int, versions: tuple[str, str]
) -> tuple[Scored | None, Scored | None]:
    """Both versions' evaluations from the newest round that scored both on its hold-out. Without such a
    round, the newest of each.
    """
    left, right = (list(evaluations(loop, project_id, version)) for version in versions)
    by_round = {scored.round.id: scored for scored in right}
    for scored in left:
        if scored.round.id in by_round:
            return scored, by_round[scored.round.id]
    return next(iter(left), None), next(iter(right), None)


def _unless_unreadable(read: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R | None:
    """The result of `read`; None, which is not cached, when the disk cannot be read."""
    try:
        return read(*args, **kwargs)
    except OSError as error:
        log.warning("a snapshot cannot be read: %s", error)
        return None


@lru_cache(JUDGEMENTS_KEPT)
def _judgement(folder: Path, stamp: Stamp) -> Judgement | None:
    try:
        return Judgement.load(folder)
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read: %s", folder / EVALUATION, error)
        return None


@lru_cache(2)
def _snapshot(folder: Path, stamp: Stamp) -> Snapshot | None:
    """The snapshot, None when it is damaged. Raises OSError, so that such a failure is not cached."""
    try:
        return Snapshot.load(folder)
    except (ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read: %s", folder / SNAPSHOT, error)
        return None


@lru_cache(NUMBERS_KEPT)
def _contents(folder: Path, stamp: Stamp) -> Contents | None:
    found = _snapshot(folder, stamp)
    if found is None:
        return None
    labels, left_out = tuple(found.classes), len(found.skipped)
    return Contents(found.labelled, found.boxes, len(found.holdout), labels, left_out)


@lru_cache(NUMBERS_KEPT)
def _difference(before: Path, now: Path, stamps: tuple[Stamp, Stamp]) -> Difference | None:
    one, other = _snapshot(before, stamps[0]), _snapshot(now, stamps[1])
    if one is None or other is None:
        return None
    counts = Counter(
        _what(list(rows))
        for _, rows in groupby(heapq.merge(_by_sha256(one, 0), _by_sha256(other, 1)), key=itemgetter(0))
    )
    return Difference(counts["new"], counts["gone"], counts["relabelled"])


def _by_sha256(found: Snapshot, which: int) -> Iterator[_Boxes]:
    return ((image.sha256, which, sorted(image.boxes)) for image in found.images.by_sha256())


def _what(rows: list[_Boxes]) -> str:
    """How one image changed, from its boxes before (0), now (1) or both."""
    if len(rows) == 1:
        return "new" if rows[0][1] else "gone"
    return "same" if rows[0][2] == rows[1][2] else "relabelled"
