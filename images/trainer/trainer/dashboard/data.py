"""Data: which labelled images are used, which are not and why, with the way out.

The page is made of sections. A section is a function that gives groups of entries; SECTIONS lists them in the
page's order.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from trainer.dashboard import stored
from trainer.dashboard.csv_file import csv_file
from trainer.dashboard.pages import Asked, View
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.left_out import ABOUT, LeftOut, by_kind
from trainer.dataset.near_duplicates import NearDuplicates
from trainer.dataset.split import Side
from trainer.dataset.survey import Survey

router = APIRouter()

SHOWN = 50
NAMED = 10
COLUMNS = ("task", "image", "what", "reason", "way out")


@dataclass(frozen=True)
class Entry:
    """One line of a group. task: the one it leads to, None for none. name: the image."""

    task: int | None
    name: str
    text: str


@dataclass(frozen=True)
class Group:
    """Entries with one cause. id: unique on the page. way_out: what a person can do. fault: False where a
    person wanted it so.
    """

    id: str
    title: str
    explanation: str
    way_out: str
    entries: tuple[Entry, ...]
    fault: bool = True

    @property
    def shown(self) -> tuple[Entry, ...]:
        return self.entries[:SHOWN]


@dataclass(frozen=True)
class Section:
    """A part of the page. nothing: what it says without a group."""

    id: str
    title: str
    nothing: str
    groups: tuple[Group, ...]


def survey_of(page: View) -> Survey | None:
    return None if page.project is None else Survey.load(page.loop.settings.rounds_dir, page.project)


def images(page: View) -> Section:
    survey = survey_of(page)
    groups = _by_kind(survey.images if survey else ())
    return Section("images", "Images that are not used", "None: every labelled image is used.", groups)


def boxes(page: View) -> Section:
    survey = survey_of(page)
    groups = _by_kind(survey.beside if survey else ())
    return Section("boxes", "Boxes that are not learned", "None.", groups)


def files(page: View) -> Section:
    """Files in volumes/images that nobody can label, and images that the backend could not read."""
    entries = tuple(Entry(None, file.path, file.reason) for file in page.loop.status().unreadable)
    group = Group(
        "files",
        "Files that cannot be used",
        "Files below volumes/images, of all projects, and images that the model could not read.",
        "Save the file anew under the same name, or delete it; `make import` looks again at once.",
        entries,
    )
    return Section("unread", "Files", "None: every file can be read.", (group,) if entries else ())


def near_duplicates(page: View) -> Section:
    """Groups of near-duplicates in the last snapshot, those on both sides of the hold-out first."""
    snapshot = None if page.project is None else stored.newest_snapshot(page.loop, page.project)
    found = NearDuplicates.load(page.models.path) if page.models and snapshot else NearDuplicates()
    group_of, members = found.group_of, defaultdict[str, list[SnapshotImage]](list)
    for image in snapshot.images if snapshot and group_of else ():
        if image.sha256 in group_of:
            members[group_of[image.sha256]].append(image)
    several = [group for group in members.values() if len(group) > 1]
    apart = [group for group in several if len({image.side for image in group}) > 1]
    together = [group for group in several if len({image.side for image in group}) == 1]
    groups = (
        Group(
            "near-duplicates-apart",
            "Groups that are trained on and held out",
            "They were labelled before an image's near-duplicates were looked for, or look too much like "
            "all others. A side never changes. Scores look better than they are.",
            "Label images that differ more; they fill up the hold-out.",
            tuple(map(_together, apart)),
        ),
        Group(
            "near-duplicates",
            "Groups on one side",
            "Neighbouring frames of a film, and copies that were saved anew.",
            "Nothing to do. Unlabelled near-duplicates of labelled images are asked for last.",
            tuple(map(_together, together)),
            fault=False,
        ),
    )
    return Section("near-duplicates", "Near-duplicates", "None.", tuple(g for g in groups if g.entries))


def _together(group: list[SnapshotImage]) -> Entry:
    sides = {Side.TRAIN: "trained on", Side.HOLDOUT: "held out"}
    rest = ", ".join(f"{image.task} ({sides[image.side]})" for image in group[1:NAMED])
    more = f" and {len(group) - NAMED} more" if len(group) > NAMED else ""
    return Entry(group[0].task, group[0].file, f"{sides[group[0].side]}; like it: tasks {rest}{more}")


def small_objects(page: View) -> Section:
    """What the newest round said of objects that are too small for its network."""
    status = page.loop.project_status(page.project) if page.project is not None else None
    said = status.small_objects if status else None
    return Section("small", "Small objects", f"{said}." if said else "None that the last round told of.", ())


SECTIONS: tuple[Callable[[View], Section], ...] = (images, boxes, near_duplicates, small_objects, files)


def _by_kind(rows: Iterable[LeftOut]) -> tuple[Group, ...]:
    return tuple(
        Group(
            kind.replace(" ", "-"),
            ABOUT[kind].title,
            ABOUT[kind].explanation,
            ABOUT[kind].way_out,
            tuple(
                Entry(row.task, row.url or "", row.reason.removeprefix(f"{row.url}: "))
                for row in sorted(of_kind, key=lambda row: row.task)
            ),
            ABOUT[kind].fault,
        )
        for kind, of_kind in by_kind(rows).items()
    )


def contents(page: View) -> dict[str, Any]:
    """The page's contents. used: how many labelled images the next round uses, None where that is unknown."""
    survey = survey_of(page)
    status = page.loop.project_status(page.project) if page.project is not None else None
    labelled = status.labelled if status else None
    left_out = len(survey.images) if survey else 0
    return {
        "survey": survey,
        "labelled": labelled,
        "left_out": left_out,
        "used": None if labelled is None else max(labelled - left_out, 0),
        "sections": [section(page) for section in SECTIONS],
    }


@router.get("/data", response_class=HTMLResponse)
def show(page: Asked) -> HTMLResponse:
    return page.show("data.html", **contents(page))


@router.get("/data.csv")
def table(page: Asked) -> Response:
    """Every entry of the page."""
    rows = (
        (entry.task, entry.name, group.title, entry.text, group.way_out)
        for section in SECTIONS
        for group in section(page).groups
        for entry in group.entries
    )
    return csv_file(f"labelloop-{page.project}-data.csv", COLUMNS, rows)
