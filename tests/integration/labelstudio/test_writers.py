"""SQLite with several writers at once: a person submits while the trainer stores predictions."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from integration.support.labelstudio import LabelStudio

WRITERS, TASKS = 6, 60


def test_writers_wait_for_each_other_and_lose_nothing(fresh: Callable[[], LabelStudio]) -> None:
    label_studio = fresh().start()
    assert label_studio.provision().returncode == 0
    studio = label_studio.studio
    tasks = [{"image": f"/data/local-files/?d=images/{number}.jpg"} for number in range(TASKS)]
    studio.request("POST", "/api/projects/1/import", json=tasks)
    ids = [task["id"] for task in studio.iter_tasks(1)]

    def write(writer: int) -> None:
        mine = label_studio.studio
        for task in ids[writer::WRITERS]:
            if writer % 2:
                mine.request("POST", f"/api/tasks/{task}/annotations", json={"result": []})
            else:
                row = {"task": task, "result": [], "score": 0.5, "model_version": "v0001"}
                assert mine.import_predictions(1, [row]) == 1

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS), timeout=120))
    with closing(sqlite3.connect(label_studio.data / "label_studio.sqlite3")) as database:
        stored = [
            database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("task_completion", "prediction")
        ]
    assert stored == [TASKS // 2, TASKS // 2]
    assert "database is locked" not in label_studio.log
