"""What people did in one project, task by task, kept so that every sum of it takes milliseconds."""

import threading
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from statistics import median
from typing import Any

from trainer.dashboard.entries import Author, Comparison, Labelled, Origin
from trainer.judging.effort import Work
from trainer.system.scratch import Scratch

PAUSE_TIMES, PAUSE_LEAST_S = 10.0, 300.0
"""An image that was open longer than both PAUSE_TIMES times the project's median and PAUSE_LEAST_S is taken
for one with a pause."""

_WORK = tuple(field.name for field in fields(Work))
_SCHEMA = f"""
    CREATE TABLE entry (task INTEGER, user INTEGER, origin TEXT, counts INTEGER, version TEXT,
        {", ".join(f"{name} INTEGER" for name in _WORK)}, lead REAL,
        changed INTEGER, {", ".join(f"twin_{name} INTEGER" for name in _WORK)});
    CREATE INDEX entry_of ON entry (task);
    CREATE TABLE comparison (task INTEGER, one INTEGER, other INTEGER, same INTEGER, loose INTEGER,
        label INTEGER, only_one INTEGER, only_other INTEGER);
    CREATE INDEX comparison_of ON comparison (task);
"""
_SUMS = ", ".join(f"sum({prefix}{name})" for prefix in ("", "twin_") for name in _WORK)
_SIDES = "sum(same), sum(loose), sum(label), sum(only_one), sum(only_other)"
_DIFFERING = "loose + label + only_one + only_other"


@dataclass(frozen=True)
class Effort:
    """What was done with the boxes of one version, or by one author.

    version: None where there was no prediction to start from, and where it is of all versions. lead_times:
    the seconds per image that Label Studio recorded, without those that are taken for pauses. pauses: how
    many are. changed: how many images somebody else has changed since. from_twins: the work on boxes from
    labelled near-duplicates, which are no merit of the version.
    """

    version: str | None
    images: int = 0
    work: Work = Work()
    lead_times: tuple[float, ...] = ()
    pauses: int = 0
    changed: int = 0
    from_twins: Work = Work()

    def __add__(self, other: "Effort") -> "Effort":
        return Effort(
            self.version,
            self.images + other.images,
            self.work + other.work,
            self.lead_times + other.lead_times,
            self.pauses + other.pauses,
            self.changed + other.changed,
            self.from_twins + other.from_twins,
        )

    @cached_property
    def lead_time(self) -> float | None:
        """The median lead time, in seconds."""
        return median(self.lead_times) if self.lead_times else None


@dataclass(frozen=True)
class Agreed:
    """How far two people agree. images: that both labelled; alike: of them, those without a difference."""

    boxes: Comparison
    images: int
    alike: int


@dataclass(frozen=True)
class Dispute:
    """An image that two people labelled. used: the author of the annotation that a round learns from."""

    task: int
    boxes: Comparison
    used: Author


class Book:
    """The labelled tasks of a project. Any thread may use it."""

    def __init__(self) -> None:
        self._scratch = Scratch(_SCHEMA)
        self._lock = threading.Lock()
        self._sums: dict[str, Any] = {}

    def put(self, task: int, labelled: Labelled | None) -> None:
        """Replaces what is known of a task; `labelled` is None where nothing counts any more."""
        entries = labelled.entries if labelled else ()
        comparisons = labelled.comparisons if labelled else ()
        with self._lock:
            self._sums = {}
            self._scratch.run("DELETE FROM entry WHERE task = ?", (task,))
            self._scratch.run("DELETE FROM comparison WHERE task = ?", (task,))
            self._scratch.run_many(
                f"INSERT INTO entry VALUES ({', '.join('?' * (7 + 2 * len(_WORK)))})",
                (
                    (task, e.author.user, e.author.origin, e.counts, e.version, *astuple(e.work))
                    + (e.lead_time, e.changed, *astuple(e.from_twins))
                    for e in entries
                ),
            )
            self._scratch.run_many(
                "INSERT INTO comparison VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                ((task, *c.people, c.same, c.loose, c.label, *c.only) for c in comparisons),
            )

    @property
    def tasks(self) -> int:
        with self._lock:
            return self._scratch.number("SELECT count(DISTINCT task) FROM entry")

    @property
    def users(self) -> list[int]:
        """The ids of all users who have an annotation here."""
        with self._lock:
            return [user for (user,) in self._scratch.rows("SELECT DISTINCT user FROM entry ORDER BY 1")]

    @property
    def pause_s(self) -> float:
        """So many seconds, and more, an image is taken to have been open during a pause."""
        with self._lock:
            return self._pause_s()

    @property
    def efforts(self) -> list[Effort]:
        """By version, in the versions' order: of each task the annotation that counts, unless it was
        imported. Imported labels are no work with our boxes. The seconds are those of the editor alone.
        """
        where = f"counts AND origin != '{Origin.IMPORT}'"
        found = self._efforts(("coalesce(version, '')",), where)
        return [Effort(version or None, *rest) for (version,), *rest in found]

    def timed(self, most: int) -> list[tuple[Work, float]]:
        """The work and the seconds of images at which one person alone worked, without those that are taken
        for pauses; those with the newest tasks, and at most so many. The work on boxes from near-duplicates
        is part of it.
        """
        sums = ", ".join(f"{name} + twin_{name}" for name in _WORK)
        query = f"""
            SELECT lead, {sums} FROM entry
            WHERE counts AND NOT changed AND origin = ? AND lead <= ? ORDER BY task DESC LIMIT ?
        """
        with self._lock:
            rows = self._scratch.rows(query, (Origin.PERSON, self._pause_s(), most))
            return [(Work(*work), lead) for lead, *work in rows]

    @property
    def verified(self) -> Effort:
        """What was done on the page Verify, of the annotations that count."""
        where = f"counts AND origin = '{Origin.VERIFIED}'"
        return sum((Effort(None, *rest) for _, *rest in self._efforts(("origin",), where)), Effort(None))

    @property
    def authors(self) -> dict[Author, Effort]:
        """By author: each one's newest annotation of each task."""
        found = self._efforts(("user", "origin"), "true")
        return {Author(user, Origin(origin)): Effort(None, *rest) for (user, origin), *rest in found}

    @property
    def agreed(self) -> list[Agreed]:
        """Each two people who labelled the same images."""
        images = f"count(*), sum({_DIFFERING} = 0)"
        query = f"SELECT one, other, {_SIDES}, {images} FROM comparison GROUP BY one, other"
        with self._lock:
            if "agreed" not in self._sums:
                rows = self._scratch.rows(query)
                self._sums["agreed"] = [Agreed(_comparison(row[:7]), *row[7:]) for row in rows]
            return list(self._sums["agreed"])

    def disputes(self, of: int | None = None, most: int = -1) -> Iterator[Dispute]:
        """Images that two people labelled, of each two, those with the most differing boxes first.

        of: only those that this user labelled. most: so many at most; -1 for all.
        """
        whose = "" if of is None else "AND ? IN (one, other)"
        query = f"""
            SELECT c.task, one, other, same, loose, label, only_one, only_other, user, origin
            FROM comparison c JOIN entry e ON e.task = c.task AND e.counts
            WHERE {_DIFFERING} > 0 {whose}
            ORDER BY {_DIFFERING} DESC, same, c.task, one, other LIMIT ?
        """
        values = (most,) if of is None else (of, most)
        with self._lock:
            for task, *sides, user, origin in self._scratch.rows(query, values):
                yield Dispute(task, _comparison(sides), Author(user, Origin(origin)))

    def _efforts(self, keys: tuple[str, ...], where: str) -> list[tuple[Any, ...]]:
        """The values of `keys`, and then those of Effort but for the version, in the keys' order."""
        with self._lock:
            name = f"{keys} {where}"
            if name not in self._sums:
                self._sums[name] = list(self._grouped(keys, where))
            return list(self._sums[name])

    def _grouped(self, keys: tuple[str, ...], where: str) -> Iterator[tuple[Any, ...]]:
        key, limit = ", ".join(keys), self._pause_s()
        leads: dict[tuple[Any, ...], list[float]] = {}
        seconds = where if "origin" in keys else f"{where} AND origin != '{Origin.VERIFIED}'"
        query = f"SELECT {key}, lead FROM entry WHERE {seconds} AND lead <= ?"
        for *group, lead in self._scratch.rows(query, (limit,)):
            leads.setdefault(tuple(group), []).append(lead)
        query = (
            f"SELECT {key}, count(*), total(lead > ?), sum(changed), {_SUMS} FROM entry WHERE {where} "
            f"GROUP BY {key} ORDER BY {key}"
        )
        for row in list(self._scratch.rows(query, (limit,))):
            values, (images, pauses, changed, *work) = row[: len(keys)], row[len(keys) :]
            own, twins = Work(*work[: len(_WORK)]), Work(*work[len(_WORK) :])
            yield values, images, own, tuple(leads.get(values, ())), int(pauses), changed, twins

    def _pause_s(self) -> float:
        if "pause" not in self._sums:
            query = "SELECT lead FROM entry WHERE lead IS NOT NULL AND origin = ?"
            leads = [lead for (lead,) in self._scratch.rows(query, (Origin.PERSON,))]
            self._sums["pause"] = max(PAUSE_TIMES * median(leads) if leads else 0.0, PAUSE_LEAST_S)
        return float(self._sums["pause"])


def _comparison(row: Any) -> Comparison:
    one, other, same, loose, label, only_one, only_other = row
    return Comparison((one, other), same, loose, label, (only_one, only_other))
