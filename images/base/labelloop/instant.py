"""What a project learns at once, between two rounds: instant versions, their names and what serves.

    <models>/<project id>/instant/i0003.0012/   card.json, head.pth: the 12th that was learnt upon v0003
    <models>/<project id>/instant/serving       one line, the name of the one that serves

An instant version replaces only the last layers of its champion's head. So its folder holds these alone, and
it needs the champion's folder. It never serves for another champion: a champion that is promoted, or rolled
back to, serves itself.

A name does not contain the champion's, since Label Studio's filters find parts of names. Like a version, a
folder never changes after it was renamed to its name, and the pointer is replaced atomically. A superseded
one loses its weights and keeps its card.

>>> name_of("v0003", 12), champion_of("i0003.0012"), is_instant("v0003")
('i0003.0012', 'v0003', False)
"""

import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from labelloop.card import Card
from labelloop.errors import Explained
from labelloop.files import Stamp, fsync_dir, new_folder, sha256_file, stamp_of, write_bytes, write_text

FOLDER = "instant"
HEAD = "head.pth"
NAME = re.compile(r"i(\d{4,})\.(\d{4,})")
_CARD, _SERVING, _TEMPORARY = "card.json", "serving", ".writing-"


class InstantError(Explained):
    """An instant version cannot be used; the message names the file."""


def name_of(champion: str, number: int) -> str:
    return f"i{champion.removeprefix('v')}.{number:04d}"


def is_instant(version: str) -> bool:
    return NAME.fullmatch(version) is not None


def champion_of(version: str) -> str:
    """The version upon which an instant one was learnt."""
    return f"v{_parts(version)[0]}"


def number_of(version: str) -> int:
    """How many were learnt upon the same version up to this one."""
    return int(_parts(version)[1])


def _parts(version: str) -> tuple[str, str]:
    found = NAME.fullmatch(version)
    if found is None:
        raise ValueError(f"{version[:40]!r} is no instant version's name")
    return found[1], found[2]


@dataclass(frozen=True)
class InstantVersions:
    """Those of one project. path: its folder `instant`."""

    path: Path

    @property
    def _pointer(self) -> Path:
        return self.path / _SERVING

    def folder(self, version: str) -> Path:
        return self.path / version

    def ever(self) -> list[str]:
        """All that there were, oldest first by champion and number."""
        if not self.path.is_dir():
            return []
        names = (entry.name for entry in self.path.iterdir() if is_instant(entry.name))
        return sorted(names, key=lambda name: tuple(map(int, _parts(name))))

    def of(self, champion: str) -> list[str]:
        """Those that were learnt upon one version, oldest first."""
        return [version for version in self.ever() if champion_of(version) == champion]

    def serving(self, champion: str | None) -> str | None:
        """The one that serves in place of `champion`; None when the champion serves itself.

        A pointer that is damaged, or names one without weights or one of another champion, names none.
        """
        try:
            name = self._pointer.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return None
        if not is_instant(name) or champion_of(name) != champion:
            return None
        return name if (self.folder(name) / HEAD).is_file() else None

    def stamp(self) -> Stamp:
        """A value that changes when the pointer moves; one stat call."""
        return stamp_of(self._pointer)

    def card(self, version: str) -> Card:
        """Raises InstantError: the card is missing, or cannot be read."""
        path = self.folder(version) / _CARD
        try:
            return Card.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise InstantError(f"{path} cannot be read: {error}") from error

    def check(self, version: str) -> Card:
        """Checks that its own files are whole. Raises InstantError."""
        card, head = self.card(version), self.folder(version) / HEAD
        if not head.is_file():
            raise InstantError(f"{head} is missing")
        if sha256_file(head) != card.weights_sha256:
            raise InstantError(f"{head} is damaged: its sha256 is not the one in card.json")
        return card

    def write(self, champion: str, card: Card, head: bytes) -> str:
        """Adds one and returns its name; what serves stays as it is. head: the bytes of head.pth."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._clear_unfinished()
        before = self.of(champion)
        name = name_of(champion, number_of(before[-1]) + 1 if before else 1)
        with new_folder(self.folder(name), _TEMPORARY) as folder:
            write_bytes(folder / HEAD, head)
            digest = sha256_file(folder / HEAD)
            own = card.model_copy(update={"version": name, "parent": champion, "weights_sha256": digest})
            write_text(folder / _CARD, own.model_dump_json(indent=2) + "\n")
        return name

    def _clear_unfinished(self) -> None:
        for leftover in self.path.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def serve(self, version: str | None) -> None:
        """Has a version serve, as long as its champion is in service; None: the champion serves itself."""
        if version is not None:
            write_text(self._pointer, version + "\n")
            return
        with suppress(FileNotFoundError):
            self._pointer.unlink()
            fsync_dir(self.path)

    def clear(self, keep: int, champion: str) -> int:
        """Removes the weights of all but the newest `keep` that were learnt upon `champion`, and the one that
        the pointer names. The cards stay. Returns: how many.

        champion: the one that is learnt upon now. After a promotion was taken back it is an older one.
        """
        kept = set(self.of(champion)[-keep:])
        with suppress(OSError):
            kept.add(self._pointer.read_text(encoding="utf-8", errors="replace").strip())
        return sum(_forget(self.folder(name) / HEAD) for name in self.ever() if name not in kept)


def _forget(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
