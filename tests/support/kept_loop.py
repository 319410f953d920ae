"""A loop that labels, trains, promotes and predicts for as long as it may; what holds of any backup of it."""

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from support import kept

from lifecycle.home import Home

_ROUNDS = """
PRAGMA journal_mode = WAL;
CREATE TABLE rounds (id INTEGER PRIMARY KEY AUTOINCREMENT, state TEXT, version TEXT);
"""
_PREDICTIONS = """
DROP TABLE prediction;
CREATE TABLE prediction (id INTEGER PRIMARY KEY, model_version TEXT);
"""


class Loop:
    """Writes what Label Studio and the trainer write, in their order; nothing else runs. finished: rounds."""

    def __init__(self, home: Home) -> None:
        self.finished = 0
        self.stopping = threading.Event()
        self._home = home
        self._table = home.volumes / "rounds/rounds.sqlite3"
        self._models = home.volumes / "models/1"
        with closing(sqlite3.connect(self._table)) as table:
            table.executescript(_ROUNDS)
        with closing(sqlite3.connect(home.database)) as database:
            database.executescript(_PREDICTIONS)

    def run(self) -> None:
        while not self.stopping.is_set():
            self._round()
            self.finished += 1

    def _round(self) -> None:
        number = self._write(self._table, "INSERT INTO rounds (state) VALUES ('requested')")
        folder = self._home.volumes / f"rounds/{number:05d}"
        folder.mkdir()
        newest = self._write(
            self._home.database, "INSERT INTO task_completion (project_id, was_cancelled) VALUES (1, 0)"
        )
        self._place(folder / "snapshot.json", json.dumps({"newest": newest}))
        self._place(folder / "last.pth", "weights")
        version = f"v{number + 1:04d}"
        made = self._models / f".new-{version}"
        made.mkdir()
        (made / "weights.pth").write_text("weights")
        (made / "card.json").write_text(json.dumps({"round": number}))
        made.rename(self._models / version)
        self._place(self._models / "champion", f"{version}\n")
        self._write(self._home.database, f"INSERT INTO prediction (model_version) VALUES ('{version}')")
        self._write(
            self._table, f"UPDATE rounds SET state = 'promoted', version = '{version}' WHERE id = {number}"
        )

    @staticmethod
    def _write(path: Path, statement: str) -> int:
        with closing(sqlite3.connect(path, timeout=30)) as database:
            row = database.execute(statement).lastrowid
            database.commit()
        return row or 0

    @staticmethod
    def _place(path: Path, text: str) -> None:
        temporary = path.with_name(f".{path.name}")
        temporary.write_text(text)
        temporary.replace(path)


def check_one_moment(archive: Path, folder: Path) -> None:
    """Unpacked into `folder`, an archive of a Loop's state names nothing that it lacks.

    Every round's folder and every version's round has its row, every promoted round its version; predictions
    are of versions that are there, and snapshots of annotations that are.
    """
    for name, data in kept.members(archive).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    with closing(sqlite3.connect(folder / "volumes/rounds/rounds.sqlite3")) as table:
        rows = dict(table.execute("SELECT id, version FROM rounds"))
    with closing(sqlite3.connect(folder / "volumes/labelstudio/label_studio.sqlite3")) as database:
        predicted = {version for (version,) in database.execute("SELECT model_version FROM prediction")}
        newest = database.execute("SELECT max(id) FROM task_completion").fetchone()[0]
    models = folder / "volumes/models/1"
    cards = {path.parent.name: json.loads(path.read_text()) for path in models.glob("v*/card.json")}
    snapshots = list((folder / "volumes/rounds").glob("*/snapshot.json"))
    assert {int(path.parent.name) for path in snapshots} <= rows.keys()
    assert {card["round"] for card in cards.values() if card} <= rows.keys()
    assert {version for version in rows.values() if version} <= cards.keys()
    assert (models / "champion").read_text().strip() in cards
    assert predicted <= cards.keys()
    assert max(json.loads(path.read_text())["newest"] for path in snapshots) <= newest
    assert len(rows) > 1, "nothing went on"
