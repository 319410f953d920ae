"""PostgreSQL's programs on this machine, as Debian's packages lay them out, or on the PATH."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Optional

from lifecycle.console import Failure
from lifecycle.shell import answer

DEBIAN = Path("/usr/lib/postgresql")
OLDEST = 13
SERVER = "`sudo apt-get install postgresql`, or your distribution's package of that name."
CLIENT = "`sudo apt-get install postgresql-client`, or your distribution's package of that name."


def server_folder(major: Optional[int] = None, where: Path = DEBIAN) -> Path:
    """The folder with initdb and postgres: of release `major`, else of the newest one.

    Raises:
        Failure: there is none, or it is older than OLDEST.
    """
    folders = _folders("postgres", where)
    wanted = f"PostgreSQL {major}" if major else f"PostgreSQL {OLDEST} or newer"
    if major is not None:
        folders = {found: folder for found, folder in folders.items() if found == major}
    newest = max(folders, default=0)
    if newest < (major or OLDEST):
        found = f"release {newest}" if newest else "none on this host"
        raise Failure("the database's server", found=found, needed=wanted, do=SERVER)
    return folders[newest]


def client(name: str, where: Path = DEBIAN) -> str:
    """The path of psql, pg_dump or pg_restore, of the newest release: it reads older servers.

    Raises:
        Failure: there is none.
    """
    folders = _folders(name, where)
    if not folders:
        raise Failure(name, found="none on this host", needed="PostgreSQL's client programs", do=CLIENT)
    return str(folders[max(folders)] / name)


def _folders(program: str, where: Path) -> dict[int, Path]:
    """Major release → the folder that holds the program."""
    found = {
        int(path.parents[1].name): path.parent
        for path in where.glob(f"*/bin/{program}")
        if path.parents[1].name.isdigit()
    }
    on_path = shutil.which(program)
    if not found and on_path:
        told = re.search(r"(\d+)", answer([on_path, "--version"]) or "")
        found = {int(told[1]): Path(on_path).parent} if told else {}
    return found
