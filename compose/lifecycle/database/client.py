"""Label Studio's database on PostgreSQL, asked, dumped and loaded by PostgreSQL's own client programs."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Optional

from labelloop import database_place
from labelloop.database_place import USERS, DatabaseAccess, DatabasePlace
from lifecycle.console import Failure
from lifecycle.database import programs
from lifecycle.home import Home

ASK_SECONDS = 60.0
WAIT_SECONDS = 60.0
_PSQL = ("--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1")
_RESTORED = re.compile(r"_\d{8}t\d{6}z(_\d+)?$")
_CAN_T = "Is it running, and are DATABASE_URL and DATABASE_PASSWORD in .env right? `make doctor` looks."


class Database:
    """The one that is in service. Its password goes by a file that this user alone reads."""

    def __init__(self, access: DatabaseAccess, base: str = "") -> None:
        """base: the name in DATABASE_URL, where a restore has made the one in service beside it."""
        self.access = access
        self._base = base or access.place.name

    @classmethod
    def of(cls, home: Home, environment: Mapping[str, str]) -> Optional[Database]:
        """As DATABASE_URL and its like say; None where the database is SQLite's.

        Raises:
            Failure: DATABASE_URL can't be read.
        """
        try:
            access = DatabaseAccess.of(environment, home.root)
        except ValueError as error:
            raise Failure("DATABASE_URL", needed=str(error)) from None
        if access is None:
            return None
        return cls(access, DatabasePlace.parse(environment["DATABASE_URL"]).name)

    def ask(self, sql: str) -> list[list[str]]:
        """The rows that a statement answers, as texts.

        Raises:
            Failure: the server can't be asked, or refuses the statement.
        """
        said = self._run("psql", *_PSQL, "--field-separator=\t", "--command", sql, seconds=ASK_SECONDS)
        return [row.split("\t") for row in said.splitlines()]

    def wait(self, seconds: float = WAIT_SECONDS, still: Callable[[], bool] = lambda: True) -> None:
        """Returns once it lets us in.

        Raises:
            Failure: it does not within `seconds`, or before `still` is false.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.ask("SELECT 1")
                return
            except Failure:
                if time.monotonic() > deadline or not still():
                    raise
                time.sleep(0.3)

    def size(self) -> int:
        """In bytes, with its indexes, which a dump leaves out."""
        [[size]] = self.ask("SELECT pg_database_size(current_database())")
        return int(size)

    @contextmanager
    def moment(self) -> Iterator[str]:
        """Holds what the database is at this moment, for `dump` and `ask_then`, while others write.

        Raises:
            Failure: the server can't be asked.
        """
        with self._environment() as environment, tempfile.TemporaryFile("w+") as complaints:
            holder = subprocess.Popen(
                [programs.client("psql"), *_PSQL],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
            )
            assert holder.stdin is not None and holder.stdout is not None
            try:
                holder.stdin.write(
                    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\nSELECT pg_export_snapshot();\n"
                )
                holder.stdin.flush()
                snapshot = holder.stdout.readline().strip()
                if not snapshot:
                    complaints.seek(0)
                    raise self._failure(complaints.read())
                yield snapshot
            finally:
                _end(holder, holder.stdin)

    def ask_then(self, snapshot: str, sql: str) -> list[list[str]]:
        """As `ask`, of a moment."""
        begin = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{snapshot}'"
        return self.ask(f"{begin}; {sql}")

    def dump(self, snapshot: str, target: Path) -> None:
        """Writes the database as it was at a moment, in pg_dump's own format.

        Raises:
            Failure: it could not be.
        """
        words = ["--format=custom", "--compress=0", "--no-owner", "--no-privileges"]
        self._run("pg_dump", *words, f"--snapshot={snapshot}", f"--file={target}")

    def load(self, dump: Path, name: str) -> None:
        """Makes a database of that name beside the one in service, from a dump. What a killed load left goes.

        Raises:
            Failure: it could not be; there is no such database then.
        """
        self._make(name)
        try:
            words = ["--no-owner", "--no-privileges", "--no-comments", "--exit-on-error"]
            beside = Database(self.access.named(name))
            beside._run("pg_restore", *words, f"--dbname={name}", str(dump))
            beside.ask("ANALYZE")
        except BaseException:
            self.drop(name)
            raise

    def _make(self, name: str) -> None:
        self.drop(name)
        try:
            self.ask(f'CREATE DATABASE "{name}" TEMPLATE template0')
        except Failure as error:
            # Not by its words, which may be in the server's own language.
            may = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
            if self.ask(may) != [["f"]]:
                raise
            user = self.access.place.user
            raise Failure(
                f"a database {name} beside {self.access.place.name}",
                found="no right to make one",
                needed="that right, since the one in service stays until the new one is whole",
                do=f'Have the server\'s administrator say: ALTER ROLE "{user}" CREATEDB;',
            ) from error

    def drop(self, name: str) -> None:
        """Drops a database that a restore has made; any other name is refused."""
        assert is_restored(name), name
        self.ask(f'DROP DATABASE IF EXISTS "{name}"')

    def is_of_a_restore(self, name: str) -> bool:
        """Whether another database of the server has a name that a restore of this one gives."""
        return is_restored(name) and _RESTORED.sub("", name) == self._base[:40]

    def empty(self) -> None:
        """Empties the database that DATABASE_URL names; one in service beside it, from a restore, goes.

        Raises:
            Failure: it has tables, and none of Label Studio's; or its user may not. All is there still.
        """
        name = self.access.place.name
        if is_restored(name):
            base = Database(self.access.named(self._base))
            base.empty()
            base.drop(name)
            return
        self._check_may_be_emptied()
        self.ask("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    def _check_may_be_emptied(self) -> None:
        place = self.access.place
        tables = {name for [name] in self.ask(database_place.TABLES)}
        if tables and USERS not in tables:
            raise Failure(
                f"the database {place}",
                found=f"{len(tables)} tables, {min(tables)} first, and no {USERS} among them",
                needed="Label Studio's tables, or none",
                do="Look what is in it. If these tables are somebody's, name another database in "
                "DATABASE_URL; if they are of a first start that was killed, `make up` finishes it.",
            )
        owns = (
            "SELECT pg_has_role(current_user, nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'public'"
        )
        if self.ask(owns) == [["f"]]:
            raise Failure(
                f"the schema public of {place}",
                found=f"an owner other than {place.user}",
                needed=f"{place.user}, who is to make it anew",
                do="Have the server's administrator say, in this database: "
                f'ALTER SCHEMA public OWNER TO "{place.user}";',
            )

    def restored_name(self, moment: float) -> str:
        """The name of a database that is made beside the one in service, by when."""
        stamp = time.strftime("%Y%m%dt%H%M%Sz", time.gmtime(moment))
        return f"{self._base[:40]}_{stamp}"

    def _run(self, program: str, *arguments: str, seconds: Optional[float] = None) -> str:
        """What one of PostgreSQL's programs prints."""
        command: Sequence[str] = [programs.client(program), *arguments]
        with self._environment() as environment:
            try:
                done = subprocess.run(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    encoding="utf-8",
                    errors="replace",
                    timeout=seconds,
                )
            except subprocess.TimeoutExpired:
                raise self._failure(f"{program} did not end within {seconds:.0f} s") from None
        if done.returncode != 0:
            raise self._failure(done.stderr or f"{program} ended with {done.returncode}")
        return done.stdout

    def _failure(self, said: str) -> Failure:
        told = " ".join(said.split()) or "it said nothing"
        return Failure(f"PostgreSQL at {self.access.place}", found=told[-600:], do=_CAN_T)

    @contextmanager
    def _environment(self) -> Iterator[dict[str, str]]:
        """libpq's variables, of which one names the file with the password."""
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
        names |= {"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT"}
        names["connect_timeout"] = "PGCONNECT_TIMEOUT"
        said = {names[name]: value for name, value in self.access.parameters.items()}
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LD_PRELOAD") if name in os.environ}
        with tempfile.NamedTemporaryFile("w", prefix="labelloop-pg-") as file:  # mode 600
            password = self.access.password.replace("\\", "\\\\").replace(":", "\\:")
            file.write(f"*:*:*:*:{password}\n")
            file.flush()
            yield {**kept, **said, "PGPASSFILE": file.name, "PGAPPNAME": "labelloop", "LC_ALL": "C"}


def is_restored(name: str) -> bool:
    """Whether a database has the name of one that a restore has made.

    >>> is_restored("labelloop_20260314t092653z"), is_restored("labelloop")
    (True, False)
    """
    return _RESTORED.search(name) is not None


def _end(process: subprocess.Popen[str], stdin: IO[str]) -> None:
    try:
        stdin.close()
        process.wait(10)
    except (OSError, subprocess.TimeoutExpired):
        process.kill()
        process.wait()
