"""The model registry: immutable versions of a project's model, and the pointer to the champion.

    <models>/<project id>/champion          one line, the name of the version in service; .champion is a copy
    <models>/<project id>/v0007/            config.py, weights.pth, card.json, graph.xml, graph.bin
    <models>/<project id>/removed/v0003.json    the card of a version that was taken away
    <models>/<project id>/instant/              what was learnt at once since; labelloop.instant

A version is written under a temporary name, fsynced and renamed, and the pointer is replaced atomically. So a
reader sees all of a version or none of it. If the pointer or its version is damaged nevertheless, `mend` puts
the version that the copy names into service, or else the newest version that is whole.

What makes boxes is the champion, or the instant version that serves in its place (`serving`). Every move of
the pointer puts the champion itself into service.

The pointer moves under a lock. A caller of `succeed` names the version that it expects in service. If another
one is in service by then, it gets ChampionMoved, so that a version that a person put into service stays.
"""

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from labelloop import version_files
from labelloop.card import Card as Card
from labelloop.errors import Explained
from labelloop.files import Stamp, stamp_of, write_text
from labelloop.instant import FOLDER as INSTANT
from labelloop.instant import InstantError, InstantVersions, champion_of, is_instant
from labelloop.locks import FOREVER, take
from labelloop.version_files import CARD

log = logging.getLogger(__name__)

STARTING_VERSION = "v0000"
_VERSION = re.compile(r"v\d{4,}")
_ID = re.compile(r"0|[1-9][0-9]{0,17}")


class RegistryError(Explained):
    """A version or a pointer cannot be used; the message names the file and the way out."""


class ChampionMoved(RegistryError):
    """The version in service is not the one that was to be replaced. champion: the version in service."""

    def __init__(self, message: str, champion: str | None) -> None:
        super().__init__(message)
        self.champion = champion


def _oldest_first(versions: Iterable[str]) -> list[str]:
    return sorted(versions, key=lambda version: int(version[1:]))


@dataclass(frozen=True)
class ProjectModels:
    """The versions of one project."""

    path: Path

    @property
    def _pointer(self) -> Path:
        return self.path / "champion"

    @property
    def _copy(self) -> Path:
        return self.path / ".champion"

    @property
    def instant(self) -> InstantVersions:
        """What was learnt at once, upon the versions."""
        return InstantVersions(self.path / INSTANT)

    def folder(self, version: str) -> Path:
        """Where a version's files are, an instant one's too."""
        return self.instant.folder(version) if is_instant(version) else self.path / version

    def serving(self) -> str | None:
        """The version that makes boxes: the champion, or an instant one in its place. None before the first.

        Raises:
            RegistryError: as `champion`.
        """
        champion = self.champion()
        return self.instant.serving(champion) or champion

    def versions(self) -> list[str]:
        """Complete versions, oldest first."""
        if not self.path.is_dir():
            return []
        return _oldest_first(entry.name for entry in self.path.iterdir() if _VERSION.fullmatch(entry.name))

    def champion(self) -> str | None:
        """The version in service; None before the first.

        Raises:
            RegistryError: the pointer names no version.
        """
        try:
            name = self._pointer.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as error:
            raise RegistryError(f"{self._pointer} is not text. {self._way_out()}") from error
        if not _VERSION.fullmatch(name) or not self.folder(name).is_dir():
            raise RegistryError(
                f"{self._pointer} names {name[:40]!r}, which is no version here. {self._way_out()}"
            )
        return name

    def _way_out(self) -> str:
        return f"Choose one of {', '.join(self.versions()) or 'none'} with `make rollback VERSION=…`."

    def removed(self) -> list[str]:
        """Versions that were removed, oldest first. `card` still reads their cards."""
        kept = (self.path / "removed").glob("v*.json")
        names = {path.stem for path in kept if _VERSION.fullmatch(path.stem)}
        return _oldest_first(names - set(self.versions()))

    def ever(self) -> list[str]:
        """Every version that has a card, present or removed, oldest first."""
        return _oldest_first([*self.removed(), *self.versions()])

    def _kept_card(self, version: str) -> Path:
        return self.path / "removed" / f"{version}.json"

    def _gone(self, version: str) -> str:
        """Says why a version is missing."""
        if version in self.removed():
            why = f"{version} of project {self.path.name} was removed by retention (KEEP_VERSIONS)"
            return f"{why}; only its card is left, {self._kept_card(version)}. {self._way_out()}"
        return f"{version} is no version of project {self.path.name}. {self._way_out()}"

    def card(self, version: str) -> Card:
        """The card of a version that is present or was removed, or of an instant one.

        Raises:
            RegistryError: the name is no version's, or its card is missing or cannot be read.
        """
        if is_instant(version):
            try:
                return self.instant.card(version)
            except InstantError as error:
                raise RegistryError(f"{error}. {self._way_out()}") from error
        if not _VERSION.fullmatch(version):
            raise RegistryError(f"{version[:40]!r} is no version's name. {self._way_out()}")
        path = self.folder(version) / CARD
        if not self.folder(version).is_dir() and self._kept_card(version).is_file():
            path = self._kept_card(version)
        try:
            return Card.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise RegistryError(f"{path} cannot be read: {error}. {self._way_out()}") from error

    def replace_card(self, version: str, card: Card) -> None:
        """Gives a version, present or removed, another card. What serves it reads the card once it moves."""
        present = self.folder(version) / CARD
        path = present if present.is_file() else self._kept_card(version)
        write_text(path, card.model_dump_json(indent=2) + "\n")

    def of_round(self, round_id: int, requested_at: str, weights_sha256: str) -> str | None:
        """The version that a round wrote from these weights; None when it wrote none."""
        wanted = (round_id, requested_at, weights_sha256)
        for card in self.cards():
            if (card.round, card.round_requested_at, card.weights_sha256) == wanted:
                return card.version if self.folder(card.version).is_dir() else None
        return None

    def cards(self) -> Iterator[Card]:
        """The cards that can be read of all versions, present or removed, with their `version` set."""
        for version in self.ever():
            with suppress(RegistryError):
                yield self.card(version).model_copy(update={"version": version})

    def check(self, version: str) -> Card:
        """Checks that a version can serve; returns its card. A damaged graph is allowed: the network serves.

        Raises:
            RegistryError: config, weights or card are missing, or have changed since the version was written;
                of an instant one, also those of the version upon which it was learnt.
        """
        if is_instant(version):
            self.check(champion_of(version))
            try:
                return self.instant.check(version)
            except InstantError as error:
                raise RegistryError(f"{error}. The next image that is submitted mends it.") from error
        card, folder = self.card(version), self.folder(version)
        if not folder.is_dir():
            raise RegistryError(self._gone(version))
        complaint = version_files.complaint(folder, card)
        if complaint:
            raise RegistryError(f"{complaint}. {self._way_out()}")
        return card

    def mend(self) -> str | None:
        """The version in service. If it cannot serve, another version is put into service first.

        That is the version that the pointer's copy names, or else the newest that can serve: every version
        here was promoted once. None when no version can serve.
        """
        seen = self.champion_stamp()
        try:
            champion = self.champion()
            if champion is not None:
                self.check(champion)
                return champion
            reason = f"{self._pointer} is missing"
        except RegistryError as error:
            reason = str(error)
        copied, newest_first = self._copied(), self.versions()[::-1]
        for version in sorted(newest_first, key=lambda version: version != copied):
            try:
                self.check(version)
            except RegistryError:
                continue
            with self._alone():
                moved = self.champion_stamp() != seen or not self.folder(version).is_dir()
                if not moved:
                    log.error("%s %s takes its place.", reason, version)
                    self._move(version)
            return self.mend() if moved else version
        return None

    def mend_instant(self) -> None:
        """Has the champion serve itself if the instant version in its place cannot."""
        version = self.serving()
        if version is not None and is_instant(version):
            try:
                self.check(version)
            except RegistryError as error:
                log.error("%s %s serves again.", error, champion_of(version))
                self.instant.serve(None)

    def _copied(self) -> str:
        """The name in the pointer's copy, whether that version exists or not; empty without a copy."""
        try:
            return self._copy.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    def write(self, card: Card, config_text: str, weights: Path) -> str:
        """Adds a version and returns its name; the champion stays as it is. weights: see `version_files`."""
        name = self._next_name()
        version_files.write(self.path, name, card, config_text, weights)
        return name

    def _next_name(self) -> str:
        existing = self.versions()
        return f"v{int(existing[-1][1:]) + 1:04d}" if existing else STARTING_VERSION

    def promote(self, version: str) -> str | None:
        """Puts a version into service, whichever is there now; returns the one before it, None if unknown.

        Raises:
            RegistryError: there is no such version.
        """
        if version not in self.versions():
            raise RegistryError(self._gone(version))
        with self._alone():
            if not self.folder(version).is_dir():
                raise RegistryError(self._gone(version))
            before = self.in_service()
            self._move(version)
        return before

    def succeed(self, expected: str | None, card: Card, config_text: str, weights: Path) -> str:
        """Adds a version as `write` does, and puts it into service in place of `expected`; returns its name.

        expected: the version in service; None when the pointer names none.

        Raises:
            ChampionMoved: another version is in service; nothing was written.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self._alone():
            champion = self.in_service()
            if champion != expected:
                raise ChampionMoved(
                    f"{champion or 'nothing'} is in service for project {self.path.name}, not {expected}",
                    champion,
                )
            write_text(self._copy, self._next_name() + "\n")
            try:
                version = self.write(card, config_text, weights)
            except OSError:
                with suppress(OSError):
                    write_text(self._copy, f"{champion or ''}\n")
                raise
            self._move(version)
        return version

    def complete(self, version: str) -> bool:
        """Finishes a `succeed` that was killed after it wrote its version; returns whether it is in service.

        It is not if another version was put into service after it was written, because that one stays.
        """
        with self._alone():
            if self.in_service() != version and self._copied() == version:
                self._move(version)
            return self.in_service() == version

    def exchange(self, expected: str, version: str, unless: Callable[[], bool] = lambda: False) -> bool:
        """Puts a version into service if `expected` is in service now; returns whether it did.

        unless: is asked while the pointer cannot move; True keeps it where it is.
        """
        with self._alone():
            if self.in_service() != expected or not self.folder(version).is_dir() or unless():
                return False
            self._move(version)
        return True

    def in_service(self) -> str | None:
        """The version that the pointer names, whether it can serve or not; None when it names none."""
        try:
            return self.champion()
        except RegistryError:
            return None

    def _move(self, version: str) -> None:
        """Moves the copy first. While copy and pointer name different versions, a move is under way. What was
        learnt at once gives way before that.
        """
        self.instant.serve(None)
        for file in (self._copy, self._pointer):
            write_text(file, version + "\n")

    def remove(self, version: str) -> None:
        """Removes a version for good, except its card. A kill leaves the whole version or none of it.

        Raises:
            RegistryError: the version is in service, is the starting model, or does not exist.
        """
        self.clear_removed()
        if version not in self.versions():
            raise RegistryError(self._gone(version))
        with self._alone():
            if version in (self.champion(), STARTING_VERSION):
                raise RegistryError(
                    f"{version} of project {self.path.name} is in service, or every round's start"
                )
            card = self.folder(version) / CARD
            if card.is_file():
                write_text(self._kept_card(version), card.read_text(encoding="utf-8", errors="replace"))
            version_files.leave(self.folder(version))
        self.clear_removed()

    def clear_removed(self) -> None:
        """Deletes the files of versions whose removal was interrupted by a kill."""
        version_files.clear(self.path)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps other callers from moving the pointer and from removing versions. It cannot be nested."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            take(folder, FOREVER)
            yield
        finally:
            os.close(folder)

    def stamp(self) -> tuple[object, ...]:
        """A value that changes when a pointer or a file that `check` reads changes; a few stat calls."""
        folder = self.folder(self.in_service() or "none")
        return (*self.serving_stamp(), *version_files.stamps(folder))

    def serving_stamp(self) -> tuple[Stamp, Stamp]:
        """A value that changes when what serves does; two stat calls and no read."""
        return self.champion_stamp(), self.instant.stamp()

    def champion_stamp(self) -> Stamp:
        """A value that changes when the pointer moves; one stat call and no read."""
        return stamp_of(self._pointer)


@dataclass(frozen=True)
class Registry:
    """The models of all projects, below one folder."""

    root: Path

    def project(self, project_id: int) -> ProjectModels:
        return ProjectModels(self.root / str(project_id))

    def newest_round(self) -> int:
        """The highest round number that a card names, deleted projects included; 0 when none does."""
        folders = self.root.iterdir() if self.root.is_dir() else ()
        return max((card.round or 0 for at in folders for card in ProjectModels(at).cards()), default=0)

    def projects(self) -> list[int]:
        """Ids of the projects that have a folder here."""
        entries = self.root.iterdir() if self.root.is_dir() else ()
        return sorted(int(entry.name) for entry in entries if _ID.fullmatch(entry.name) and entry.is_dir())
