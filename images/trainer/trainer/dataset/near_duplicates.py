"""Groups of near-duplicates among a project's labelled images: neighbouring frames, copies saved anew.

In volumes/models/<project id>/, looks.txt keeps the look of every image that was ever labelled, so that each
is read once, and near-duplicates.json the groups of the last snapshot, which the Data page shows.
"""

import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from labelloop.files import write_lines, write_text
from labelloop.images import ImageError, upright
from labelloop.looks import LOOKS_FILE, NEAR, WORDS, Looks, groups_of, look_of, looks_lines, read_looks
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.split import Side
from trainer.system.scratch import Scratch
from trainer.words import plural

log = logging.getLogger(__name__)

NEAR_DUPLICATES_FILE = "near-duplicates.json"
_SCHEMA = "CREATE TABLE looks (sha256 TEXT PRIMARY KEY, look BLOB, labelled INTEGER) WITHOUT ROWID;"
LONG_SIDE = 512
SMALL = 5
"""A group of so few images is never too large, however few are labelled."""
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class NearDuplicates:
    """Groups of at least two images each, by SHA-256, in ascending order, and how many images were looked at.

    split_up: images that would be of one group with too many others, as all frames of a camera that stands
    still; only those that are closer to each other are together.
    """

    groups: tuple[tuple[str, ...], ...] = ()
    images: int = 0
    split_up: int = 0

    @property
    def group_of(self) -> Mapping[str, str]:
        """The first image of the group of each image that has one."""
        return {digest: group[0] for group in self.groups for digest in group}

    def straddling(self, sides: Mapping[str, Side]) -> list[tuple[str, ...]]:
        """The groups with images on both sides, as earlier releases dealt them. They stay so."""
        return [group for group in self.groups if len({sides.get(digest) for digest in group} - {None}) > 1]

    def warnings(self, sides: Mapping[str, Side]) -> list[str]:
        """What a person should know before trusting the scores."""
        told = []
        straddling = self.straddling(sides)
        if straddling:
            held = sum(sides.get(digest) is Side.HOLDOUT for group in straddling for digest in group)
            told.append(
                f"{plural(len(straddling), 'group')} of near-duplicates on both sides since earlier rounds, "
                f"with {plural(held, 'image')} of the hold-out: scores look better than they are. Sides "
                "never change; new images of these groups are trained on"
            )
        if self.split_up:
            told.append(
                f"{plural(self.split_up, 'image')} look so much alike that more than half of all labelled "
                "images would be one group; they are on both sides, and scores look better than they are. "
                "Label images that differ more"
            )
        return told

    def write(self, folder: Path) -> None:
        content = {"images": self.images, "split_up": self.split_up, "groups": self.groups}
        write_text(folder / NEAR_DUPLICATES_FILE, json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The groups of a project's last snapshot; none before there is one, or when they cannot be read."""
        try:
            content = json.loads((folder / NEAR_DUPLICATES_FILE).read_bytes())
            groups = tuple(tuple(map(str, group)) for group in content["groups"])
            return cls(groups, int(content["images"]), int(content["split_up"]))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be read: %s", folder / NEAR_DUPLICATES_FILE, error)
            return cls()


def find(images: Collection[SnapshotImage], folder: Path, home: Path, progress: Progress) -> NearDuplicates:
    """The groups among a project's labelled images, and those that were labelled before.

    folder: the project's, of models. home: the files' names are relative to it. Each image is read only once.
    """
    looks = Scratch(_SCHEMA)
    looks.run_many("INSERT OR REPLACE INTO looks VALUES (?, ?, 0)", read_looks(folder / LOOKS_FILE))
    made = 0
    for number, image in enumerate(images, start=1):
        if looks.row("SELECT 1 FROM looks WHERE sha256 = ?", (image.sha256,)) is None:
            look = _look(home / image.file)
            looks.run("INSERT INTO looks VALUES (?, ?, 0)", (image.sha256, look))
            progress(number / len(images), f"looking for near-duplicates: image {number} of {len(images)}")
            made += 1
        looks.run("UPDATE looks SET labelled = 1 WHERE sha256 = ?", (image.sha256,))
    if made:
        every = looks.rows("SELECT sha256, look FROM looks ORDER BY sha256")
        write_lines(folder / LOOKS_FILE, looks_lines(every))
    found = _grouped(looks)
    found.write(folder)
    return found


def _look(file: Path) -> bytes | None:
    try:
        with upright(file) as page:
            factor = max(page.size) // LONG_SIDE
            small = page.reduce(factor) if factor > 1 else page
            look = look_of(np.asarray(small)[:, :, ::-1])
    except (ImageError, OSError) as error:
        log.warning("no look for near-duplicates: %s", error)
        return None
    return None if look is None else look.tobytes()


def _grouped(looks: Scratch) -> NearDuplicates:
    seen = "FROM looks WHERE look IS NOT NULL ORDER BY sha256"
    every = np.frombuffer(b"".join(row[0] for row in looks.rows(f"SELECT look {seen}")), np.uint64)
    counts = np.array([row[0] for row in looks.rows(f"SELECT labelled {seen}")], dtype=bool)
    labelled = looks.number("SELECT count(*) FROM looks WHERE labelled")
    most = max(labelled // 2, SMALL)
    group = np.arange(len(counts))
    split_up = 0
    for members, whole in _not_too_large(every.reshape(-1, WORDS), counts, most):
        group[members] = members[0]
        split_up += 0 if whole else int(counts[members].sum())
    sizes = np.bincount(group, minlength=1)
    groups: dict[int, list[str]] = {}
    for number, row in zip(group.tolist(), looks.rows(f"SELECT sha256 {seen}"), strict=True):
        if sizes[number] > 1:
            groups.setdefault(number, []).append(row[0])
    return NearDuplicates(tuple(sorted(map(tuple, groups.values()))), labelled, split_up)


def _not_too_large(
    looks: Looks, counts: NDArray[np.bool_], most: int, limit: int = NEAR
) -> Iterable[tuple[NDArray[np.int64], bool]]:
    """Each group's indices, and whether it is a whole group.

    A group of which more than `most` images count is taken apart, into those that are half as far apart, and
    in the end into single images.
    """
    label = groups_of(looks, limit) if limit else np.arange(len(looks))
    order = np.argsort(label, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(label[order])) + 1) if len(order) else ():
        if limit and counts[members].sum() > most:
            for inner, _ in _not_too_large(looks[members], counts[members], most, limit // 2):
                yield members[inner], False
        else:
            yield members, True
