"""A checkout with a small state worth keeping, a stack that pretends, archives that were tampered with."""

import hashlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from lifecycle.home import Home

REPO = Path(__file__).parents[2]

_LABEL_STUDIO = """
PRAGMA journal_mode = WAL;
CREATE TABLE project (id INTEGER PRIMARY KEY, title TEXT);
CREATE TABLE task (id INTEGER PRIMARY KEY, project_id INTEGER);
CREATE TABLE task_completion (id INTEGER PRIMARY KEY, project_id INTEGER, was_cancelled INTEGER);
CREATE TABLE prediction (id INTEGER PRIMARY KEY);
INSERT INTO project VALUES (1, 'cells');
"""


def fill(home: Home, annotations: int = 3) -> None:
    """Databases, an upload, two versions of a model, a round, configs."""
    texts = {
        "volumes/labelstudio/media/upload/1/a.jpg": "pixels",
        "volumes/labelstudio/provisioned.json": "{}",
        "volumes/models/1/v0000/card.json": "{}",
        "volumes/models/1/v0000/weights.pth": "w0",
        "volumes/models/1/v0001/card.json": "{}",
        "volumes/models/1/v0001/weights.pth": "w1",
        "volumes/models/1/split.json": "{}",
        "volumes/models/1/champion": "v0001\n",
        "volumes/rounds/00001/log.txt": "trained\n",
        "volumes/rounds/worker.lock": "1",
        "volumes/images/a.jpg": "mine",
        "configs/local.env": "RETRAIN_EVERY=9\n",
        ".env": "PORT=8080\nAPI_TOKEN=first\n",
    }
    for name, text in texts.items():
        (home.root / name).parent.mkdir(parents=True, exist_ok=True)
        (home.root / name).write_text(text)
    home.backups.mkdir(exist_ok=True)
    with closing(sqlite3.connect(home.database)) as database:
        database.executescript(_LABEL_STUDIO)
    with closing(sqlite3.connect(home.volumes / "rounds" / "rounds.sqlite3")) as database:
        database.execute("CREATE TABLE rounds (id INTEGER PRIMARY KEY)")
        database.execute("INSERT INTO rounds VALUES (1)")
        database.commit()
    annotate(home, annotations)


def annotate(home: Home, count: int = 1) -> None:
    with closing(sqlite3.connect(home.database)) as database:
        for _ in range(count):
            database.execute("INSERT INTO task_completion (project_id, was_cancelled) VALUES (1, 0)")
        database.commit()


def annotations(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(*) FROM task_completion").fetchone()[0])


def state(home: Home) -> dict[str, bytes]:
    """Every file but backups and databases; of Label Studio's, the number of annotations."""
    found = {
        str(path.relative_to(home.root)): path.read_bytes()
        for path in home.root.rglob("*")
        if path.is_file()
        and not path.is_relative_to(home.backups)
        and not path.name.endswith((".sqlite3", "-wal", "-shm"))
    }
    if home.database.exists():
        found["annotations"] = str(annotations(home.database)).encode()
    return found


class PretendedStack:
    """Notes what is asked of it, and who labels while it runs. Its backup service is real.

    wrong: what its next starts fail with. labelled_in: how many annotations people submit during a call
    (build, start) while the stack runs.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        self.calls: list[str] = []
        self.wrong: list[Exception] = []
        self.labelled_in: dict[str, int] = {}
        self.running = True

    def is_there(self) -> bool:
        return self.running

    def stop(self) -> None:
        self.calls.append("stop")
        self.running = False

    def start(self) -> None:
        """One that fails has been answering for a while."""
        self.calls.append("start")
        self.running = True
        self._people("start")
        if self.wrong:
            raise self.wrong.pop(0)

    def up(self, home: Home, given: Mapping[str, str]) -> None:
        self.start()

    def build_ahead(self, home: Home) -> bool:
        self.calls.append("build")
        self._people("build")
        return True

    def _people(self, call: str) -> None:
        if self.running and call in self.labelled_in:
            annotate(self.home, self.labelled_in[call])

    def backup_service(self, arguments: Sequence[str], stdin: bytes = b"") -> str:
        self.calls.append(arguments[0])
        self._people(arguments[0])
        environment = {
            **os.environ,
            "LABELLOOP_HOME": str(self.home.root),
            "PYTHONPATH": str(REPO / "compose"),
        }
        command = [sys.executable, "-m", "lifecycle.backup_service", *arguments]
        done = subprocess.run(
            command, input=stdin, env=environment, stdout=subprocess.PIPE, check=False, timeout=60
        )
        return done.stdout.decode()


def members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def rewrite(
    archive: Path,
    target: Path,
    changes: Mapping[str, bytes | None],
    *,
    facts: Mapping[str, Any] | None = None,
    sums: bool = True,
) -> Path:
    """The archive with other contents (None: without that member).

    sums: whether its manifest fits them. facts: what else its manifest says.
    """
    content = members(archive)
    manifest = json.loads(content.pop("manifest.json"))
    manifest.update(facts or {})
    for name, data in changes.items():
        if data is None:
            content.pop(name)
        else:
            content[name] = data
    if sums:
        manifest["files"] = {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in content.items()
        }
    content["manifest.json"] = json.dumps(manifest).encode()
    with tarfile.open(target, "w:gz", compresslevel=1) as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return target


def without_state(home: Home) -> None:
    """As a fresh checkout on another machine."""
    shutil.rmtree(home.volumes)
    home.env_file.unlink()
    home.local_settings.unlink()
