"""A real PostgreSQL for tests: the stack's own server program, on a free port of 127.0.0.1.

Where root runs the tests, the server runs as Debian's user postgres, who can't reach pytest's folders.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from integration.support.labelstudio import REPO, LabelStudio
from support.ports import free_port

from lifecycle.database import programs
from lifecycle.database.client import Database
from lifecycle.database.server import data_folder
from lifecycle.home import Home

PASSWORD = "a pass:word\\with odd' characters"
MIGRATE_S = 1800.0
MIGRATE = """
from labelloop.settings import get_settings
from provisioner import django_app, postgres

django_app.setup()
with postgres.alone(get_settings().postgres):
    postgres.migrate(get_settings().postgres)
"""
"""Makes Label Studio's tables, where its environment says."""


class Postgres:
    """`environment`: what programs that use its database get; `named` of another one beside it."""

    def __init__(self) -> None:
        self.home = Home(Path(tempfile.mkdtemp(prefix="labelloop-postgres-")))
        self.home.root.chmod(0o755)
        self.home.volumes.mkdir()
        port = free_port()
        self.environment = {
            "DATABASE_URL": f"postgresql://labelloop@127.0.0.1:{port}/labelloop?sslmode=disable",
            "DATABASE_PASSWORD": PASSWORD,
            "DATABASE_PORT": str(port),
        }
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.home.root, ignore_errors=True)

    @property
    def pid(self) -> int:
        assert self._server is not None, "is not running"
        return self._server.pid

    @property
    def database(self) -> Database:
        found = Database.of(self.home, self.environment)
        assert found is not None
        return found

    def named(self, name: str) -> dict[str, str]:
        return {
            **self.environment,
            "DATABASE_URL": self.environment["DATABASE_URL"].replace("/labelloop?", f"/{name}?"),
        }

    def migrate(self) -> None:
        """Makes Label Studio's tables in the first database: a minute of two cores, so once for a checkout,
        whose build/ keeps the server's folder.
        """
        with tempfile.TemporaryDirectory(prefix="labelloop-migrating-") as folder:
            first = LabelStudio(Path(folder))
            first.environment |= self.environment
            kept = REPO / "build" / f"postgres-{_migrations()}"
            if not kept.is_dir():
                first.run_program(MIGRATE, timeout=MIGRATE_S)
                self.stop()
                part = kept.with_name(f".{kept.name}-{os.getpid()}")
                shutil.copytree(data_folder(self.home), part)
                with suppress(OSError):  # another process was first
                    part.rename(kept)
                shutil.rmtree(part, ignore_errors=True)
            else:
                self.stop()
                shutil.rmtree(data_folder(self.home))
                shutil.copytree(kept, data_folder(self.home))
            self.start()

    def copy_of_the_first(self, name: str) -> dict[str, str]:
        """Another database, as the first one is now. Nobody may be connected to that."""
        Database(self.database.access.named("template1")).ask(f"CREATE DATABASE {name} TEMPLATE labelloop")
        return self.named(name)

    def start(self) -> None:
        self._server = server = self.process()
        self.database.wait(90, still=lambda: server.poll() is None)

    def process(self) -> subprocess.Popen[bytes]:
        """A server's first process, which is the caller's to end."""
        paths = f"{REPO / 'compose'}{os.pathsep}{REPO / 'images' / 'base'}"
        with (self.home.root / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "lifecycle.postgres_service"],
                env={
                    "PATH": path_without_a_server(),
                    "LANG": "C.UTF-8",
                    "PYTHONPATH": paths,
                    "LABELLOOP_HOME": str(self.home.root),
                    **self.environment,
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def serve_tls(self, certificates: Path) -> None:
        """Starts it anew, with the certificate and the key of a folder, server.crt and server.key."""
        self.stop()
        data = data_folder(self.home)
        owner = data.stat()
        for name in ("server.crt", "server.key"):
            placed = Path(shutil.copy(certificates / name, data))
            os.chown(placed, owner.st_uid, owner.st_gid)
            placed.chmod(0o600)
        with (data / "postgresql.conf").open("a") as settings:
            settings.write("ssl = on\n")
        self.start()

    def as_superuser(self, database: str, *statements: str) -> None:
        """Has the server's superuser, whom nobody can log in as, carry out statements, between two starts."""
        self.stop()
        data = data_folder(self.home)
        owner = data.stat()
        done = subprocess.run(
            [str(programs.server_folder() / "postgres"), "--single", "-j", "-D", str(data), database],
            input="".join(f"{statement};\n\n" for statement in statements),
            user=owner.st_uid,
            group=owner.st_gid,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0 and "ERROR:" not in done.stderr, done.stderr
        self.start()

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        if self._server is not None:
            self._server.send_signal(number)
            self._server.wait(60)
            self._server = None


def _migrations() -> str:
    """What the tables depend on: Label Studio's and the server's release, and our own code beside it."""
    ours = sorted((REPO / "images" / "labelstudio" / "provisioner").glob("*.py"))
    locked = REPO / "images" / "labelstudio" / "requirements.lock"
    read = [path.read_bytes() for path in (locked, *ours)]
    return hashlib.sha256(b"".join([str(programs.server_folder()).encode(), *read])).hexdigest()[:16]


def path_without_a_server() -> str:
    """The PATH as in the server's container, where no folder on it holds PostgreSQL's server."""
    folders = os.environ["PATH"].split(os.pathsep)
    if not programs.DEBIAN.is_dir():
        return os.pathsep.join(folders)
    return os.pathsep.join(folder for folder in folders if not Path(folder, "postgres").exists())
