"""The stack's own PostgreSQL: makes its folder where there is none, sets the password, becomes the server.

    python -m lifecycle.postgres_service            serve; DATABASE_PORT, DATABASE_LISTEN, SECRETS_DIR
    python -m lifecycle.postgres_service health     whether it lets Label Studio in

In its container, and under supervisord on the host. PostgreSQL refuses to run as root: there it runs as the
owner of the checkout, or as Debian's user postgres, who then owns volumes/postgres.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, Optional

from labelloop import layout
from labelloop.database_place import NAME, PORT, DatabaseAccess
from lifecycle.console import Failure
from lifecycle.database import programs
from lifecycle.database.client import Database
from lifecycle.home import Home

DEBIANS_USER = "postgres"
SUPERUSER = "postgres"
_MAKING = ".making"
_NSS_WRAPPER = Path("/usr/lib/x86_64-linux-gnu/libnss_wrapper.so")
# For a machine that it shares with a model: an eighth of a small one's memory, and a disk that seeks quickly.
TUNING = {
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "128MB",
    "max_connections": "100",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    "random_page_cost": "1.1",
    "jit": "off",
    "log_checkpoints": "off",
    "password_encryption": "scram-sha-256",
}
# Nobody but Label Studio's user, and nobody without the password. There is no socket in the file system.
_WHO = f"host all {NAME} all scram-sha-256\n"


def data_folder(home: Home) -> Path:
    return home.volumes / layout.POSTGRES / "data"


def serve(home: Home, environment: Mapping[str, str]) -> NoReturn:
    """Becomes the server.

    Raises:
        Failure: it can't be, and what is in the way.
    """
    access = DatabaseAccess.of(environment, home.root)
    if access is None or not access.password:
        raise Failure("the database's server", found="no password for it", do="`make up` starts it.")
    folder = data_folder(home)
    user = become_unprivileged(home)
    release = folder / "PG_VERSION"
    bins = programs.server_folder(int(release.read_text()) if release.is_file() else None)
    there = _with_a_user_name(user)
    if not release.is_file():
        _make(bins, folder, there)
    _alone(bins, folder, there, f"ALTER ROLE {NAME} PASSWORD '{_quoted(access.password)}';")
    (folder / "pg_hba.conf").write_text(_WHO)
    options = {
        **TUNING,
        "listen_addresses": environment.get("DATABASE_LISTEN", "127.0.0.1"),
        "port": environment.get("DATABASE_PORT") or str(PORT),
        "unix_socket_directories": "",
    }
    words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    program = str(bins / "postgres")
    # By its path, since it looks for its own files beside itself.
    os.execve(program, [program, "-D", str(folder), *words], there)


def become_unprivileged(home: Home) -> int:
    """Makes volumes/postgres, gives it to the server's user, and becomes that one. Returns: its id.

    Raises:
        Failure: there is no such user, or it can't get at the folder.
    """
    top = home.volumes / layout.POSTGRES
    top.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        top.chmod(0o700)
        return os.geteuid()
    uid, gid = servers_user(home)
    for path in (top, *top.rglob("*")):
        if path.lstat().st_uid != uid:
            os.chown(path, uid, gid, follow_symlinks=False)
    top.chmod(0o700)
    check_reach(top, uid, gid)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    return uid


def servers_user(home: Home) -> tuple[int, int]:
    """Whom the server runs as where we are root: the checkout's owner, or Debian's user for it.

    Raises:
        Failure: the owner is root, and there is no such user.
    """
    owner = home.root.stat()
    if owner.st_uid != 0:
        return owner.st_uid, owner.st_gid
    try:
        found = pwd.getpwnam(DEBIANS_USER)
    except KeyError:
        raise Failure(
            "the database's user",
            found=f"no user {DEBIANS_USER}, and a checkout of root's",
            needed="another user than root, as whom PostgreSQL refuses to run",
            do=programs.SERVER,
        ) from None
    return found.pw_uid, found.pw_gid


def check_reach(folder: Path, uid: int, gid: int) -> None:
    """Raises Failure: a folder above is closed to that user."""
    closed = next((path for path in reversed(folder.parents) if not _may_enter(path, uid, gid)), None)
    if closed is not None:
        raise Failure(
            f"{folder}",
            found=f"{closed} closed to user {uid}, as whom PostgreSQL runs",
            needed="a folder that this user reaches",
            do="Move the checkout out of there, give it to a user of its own, or use RUNTIME=docker.",
        )


def _may_enter(folder: Path, uid: int, gid: int) -> bool:
    status = folder.stat()
    shift = 6 if status.st_uid == uid else 3 if status.st_gid == gid else 0
    return bool(status.st_mode >> shift & 1)


def check(home: Home) -> Path:
    """What the server needs of this host. Returns: the folder of its programs. Changes nothing.

    Raises:
        Failure: what is missing.
    """
    release = data_folder(home) / "PG_VERSION"
    may_read = os.access(release, os.R_OK)
    found = programs.server_folder(int(release.read_text()) if may_read else None)
    programs.client("pg_dump")
    if os.geteuid() == 0:
        check_reach(home.volumes / layout.POSTGRES, *servers_user(home))
    return found


def _with_a_user_name(uid: int) -> dict[str, str]:
    """The environment of PostgreSQL's programs, which insist on a name for their user, whom none may have."""
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_PASSWORD"}
    try:
        pwd.getpwuid(uid)
        return environment
    except KeyError:
        pass
    for name, line in (
        ("passwd", f"{NAME}:x:{uid}:{os.getegid()}::/tmp:/bin/false\n"),
        ("group", f"{NAME}:x:{os.getegid()}:\n"),
    ):
        path = Path("/tmp", f"labelloop-{name}")
        path.write_text(line)
        environment[f"NSS_WRAPPER_{name.upper()}"] = str(path)
    return {**environment, "LD_PRELOAD": str(_NSS_WRAPPER)}


def _make(bins: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """An empty cluster with Label Studio's user and database; it has its name once it is whole."""
    making = folder.with_name(_MAKING)
    shutil.rmtree(making, ignore_errors=True)
    # Names are sorted by their code points, as SQLite sorts them.
    words = ["--encoding=UTF8", "--locale=C.UTF-8", "--auth=reject", f"--username={SUPERUSER}"]
    _run([str(bins / "initdb"), "--pgdata", str(making), *words], environment, "making the database's folder")
    made = (f"CREATE ROLE {NAME} LOGIN CREATEDB;", f"CREATE DATABASE {NAME} OWNER {NAME};")
    _alone(bins, making, environment, *made)
    making.rename(folder)


def _alone(bins: Path, folder: Path, environment: Mapping[str, str], *statements: str) -> None:
    """Has a server without a port carry out statements, one a line; it recovers first from a kill."""
    command = [str(bins / "postgres"), "--single", "-j", "-D", str(folder), SUPERUSER]
    # -j: a statement ends with an empty line.
    text = "".join(f"{statement}\n\n" for statement in statements)
    _run(command, environment, "setting the database up", text)


def _run(command: list[str], environment: Mapping[str, str], what: str, text: str = "") -> None:
    done = subprocess.run(command, env=dict(environment), input=text, capture_output=True, text=True)
    said = (done.stderr or done.stdout).strip()
    wrong = [row for row in said.splitlines() if "ERROR:" in row or "FATAL:" in row]
    if done.returncode != 0 or wrong:
        raise Failure(f"{what} failed: {(wrong or said.splitlines()[-1:] or ['it said nothing'])[0]}")


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def main(arguments: list[str], home: Optional[Home] = None) -> int:
    home = home or Home(Path(os.environ.get("LABELLOOP_HOME", "/labelloop")))
    try:
        if arguments == ["health"]:
            database = Database.of(home, os.environ)
            if database is None:
                raise Failure("the database", found="no DATABASE_URL")
            database.ask("SELECT 1")
            print("healthy")
            return 0
        if not arguments:
            serve(home, os.environ)
    except Failure as error:
        print(f"unhealthy: {error}" if arguments else f"FAIL  {error}", file=sys.stderr)
        return 1
    print(__doc__, file=sys.stderr)
    return 2
