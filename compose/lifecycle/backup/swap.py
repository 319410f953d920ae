"""Putting a restored state in the place of the present one, and the way back.

What is replaced moves to volumes/backups/replaced-<time>/, under its name in the checkout. A note of it,
deleted when all is in place, lets the next operation undo a swap that was killed, or end an undoing that was.
"""

from __future__ import annotations

import filecmp
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Optional

from lifecycle import files
from lifecycle.backup import contents
from lifecycle.backup.archive import ENV
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.settings import env_file
from lifecycle.settings.known import ALL_SECRETS

LOCAL = "configs/local.env"
_BY_FILE = (LOCAL, "configs/labels/", "configs/detectors/", f"{contents.IMAGES}/")
_NOTE = ".swapping.json"
_KEPT = ".gitkeep"


@dataclass(frozen=True)
class Swap:
    """aside, staged: folder names in volumes/backups. changed: files that differ; added: those not there yet.

    Folders of the state are replaced whole, so that what came after the backup goes. Of configs/ the
    operator's own files and of volumes/images the images are put back one by one and nothing else goes; the
    rest of configs/ belongs to the checkout's version. Of .env the secrets alone come back: ports and users
    are this host's.
    """

    aside: str
    staged: str
    changed: list[str]
    added: list[str]
    env: Optional[str]
    kept: Optional[str] = None
    """While it is undone: the folder in volumes/backups that what replaced the former state goes to."""

    @classmethod
    def plan(cls, home: Home, staged: Path, aside: Path) -> Swap:
        """What has to be done to get from the present state to the one in `staged`; changes nothing.

        Raises:
            Failure: a folder of the state is a link or a file system of its own, which can't be renamed.
        """
        for name in contents.STATE:
            _check_can_move(home, home.root / name)
        changed, added = [], []
        for name in _files_in(staged):
            if name.startswith(_BY_FILE):
                here = home.root / name
                if not here.exists():
                    added.append(name)
                elif not filecmp.cmp(here, staged / name, shallow=False):
                    changed.append(name)
        if not (staged / LOCAL).exists() and (home.root / LOCAL).exists():
            changed.append(LOCAL)
        env = ("changed" if home.env_file.exists() else "added") if (staged / ENV).exists() else None
        return cls(aside.name, staged.name, changed, added, env)

    def do(self, home: Home) -> None:
        """Puts the staged state in; `undo` is the way back, from wherever this stops."""
        aside, staged = home.backups / self.aside, home.backups / self.staged
        aside.mkdir(mode=0o700)
        files.replace_text(home.backups / _NOTE, json.dumps(asdict(self)), 0o600)
        for name in contents.STATE:
            _move(home.root / name, aside / name)
            (staged / name).mkdir(parents=True, exist_ok=True)
            if (aside / name / _KEPT).exists():
                shutil.copy2(aside / name / _KEPT, staged / name)
            _move(staged / name, home.root / name)
        for name in self.changed:
            _move(home.root / name, aside / name)
        for name in (*self.changed, *self.added):
            if (staged / name).exists():
                _move(staged / name, home.root / name)
        if self.env is not None:
            self._put_secrets(home, aside, staged)
        (home.backups / _NOTE).unlink()
        shutil.rmtree(staged)

    def undo(self, home: Home, keep: Optional[Path] = None) -> None:
        """Puts back what was replaced; killed on the way, the next operation goes on with it.

        keep: a folder that what replaced it moves to, for people may have worked with it. Without one it
        goes: it is in the archive.
        """
        aside = home.backups / self.aside
        noted = replace(self, kept=self.kept if keep is None else keep.name)
        files.replace_text(home.backups / _NOTE, json.dumps(asdict(noted)), 0o600)
        for name in contents.STATE:
            if (aside / name).exists():
                if (home.root / name).exists() and noted.kept is not None:
                    _move(home.root / name, home.backups / noted.kept / name)
                shutil.rmtree(home.root / name, ignore_errors=not (home.root / name).exists())
                _move(aside / name, home.root / name)
        self.undo_settings(home)
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(home.backups / self.staged, ignore_errors=True)
        (home.backups / _NOTE).unlink(missing_ok=True)

    def undo_settings(self, home: Home) -> None:
        """Puts back single files and .env alone, which a stack may run beside."""
        aside = home.backups / self.aside
        for name in self.added:
            (home.root / name).unlink(missing_ok=True)
        for name in self.changed:
            if (aside / name).exists():
                _move(aside / name, home.root / name)
        if self.env == "changed" and (aside / ENV).exists():
            _move(aside / ENV, home.env_file)
        elif self.env == "added":
            home.env_file.unlink(missing_ok=True)

    def _put_secrets(self, home: Home, aside: Path, staged: Path) -> None:
        if self.env == "changed":
            files.replace_text(aside / ENV, home.env_file.read_text(), 0o600)
        kept, have = env_file.read(staged / ENV), env_file.read(home.env_file)
        # Of a server elsewhere, the password that it takes today is this host's own.
        elsewhere = (
            {"DATABASE_PASSWORD"} if have.get("DATABASE_URL") and have.get("DATABASE_PASSWORD") else ()
        )
        names = {*ALL_SECRETS, "ADMIN_EMAIL"}.difference(elsewhere)
        secrets = {name: kept[name] for name in sorted(names) if kept.get(name)}
        env_file.update(home.env_file, secrets, header="# Secrets from a backup.", mode=0o600)


def aside_folder(home: Home) -> Path:
    """volumes/backups/replaced-<now>, or one behind it that is not there yet."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    names = (f"replaced-{now}{f'-{number}' if number else ''}" for number in count())
    return next(home.backups / name for name in names if not (home.backups / name).exists())


def undo_interrupted(home: Home) -> bool:
    """Undoes a swap that was killed before its end; returns whether there was one."""
    note = home.backups / _NOTE
    if not note.exists():
        return False
    Swap(**json.loads(note.read_text())).undo(home)
    return True


def _files_in(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix()


def _check_can_move(home: Home, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_dev != home.backups.stat().st_dev:
        raise Failure(
            f"{folder}",
            found="a link, or another file system than volumes/backups",
            needed="a folder on the same one, which can be moved aside",
            do="Put the whole of volumes/ there instead; nothing is changed.",
        )


def _move(source: Path, target: Path) -> None:
    """A rename where it can be one: volumes/images and configs/ may be on other disks."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError:
        shutil.move(str(source), str(target))
