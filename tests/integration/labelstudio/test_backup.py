"""A backup while people submit, from a real Label Studio's database, and that database serving again."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from integration.support.labelstudio import REPO, LabelStudio

from lifecycle.backup.unpack import unpack, verify
from lifecycle.home import Home

WRITERS, TASKS, BACKUPS = 3, 200, 8


def write_archive(home: Path) -> None:
    """As the backup service does, in a process of its own."""
    environment = {**os.environ, "LABELLOOP_HOME": str(home), "PYTHONPATH": str(REPO / "compose")}
    command = [sys.executable, "-m", "lifecycle.backup_service", "once"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_was_submitted_before_a_backup_is_in_it_and_serves_again(
    fresh: Callable[[], LabelStudio], tmp_path: Path
) -> None:
    label_studio = fresh().start()
    assert label_studio.provision().returncode == 0
    tasks = [{"image": f"/data/local-files/?d=images/{number}.jpg"} for number in range(TASKS)]
    label_studio.studio.request("POST", "/api/projects/1/import", json=tasks)
    ids = [task["id"] for task in label_studio.studio.iter_tasks(1)]
    submitted: list[int] = []
    enough, stopping = Event(), Event()

    def submit(writer: int) -> None:
        studio = label_studio.studio
        for task in ids[writer::WRITERS]:
            if stopping.is_set():
                return
            made = studio.request("POST", f"/api/tasks/{task}/annotations", json={"result": []})
            submitted.append(made["id"])
            if len(submitted) >= 10:
                enough.set()

    with ThreadPoolExecutor(WRITERS) as pool:
        writing = [pool.submit(submit, writer) for writer in range(WRITERS)]
        try:
            assert enough.wait(60), "nobody submits"
            for _ in range(BACKUPS):
                before = set(submitted)
                write_archive(label_studio.home)
                during = len(submitted) - len(before)
                if during:
                    break
                time.sleep(1)  # Archives are named by the second.
        finally:
            stopping.set()
        for each in writing:
            each.result(60)
    assert during > 0, "nothing was submitted while the backup was written"
    assert "database is locked" not in label_studio.log

    archive = max(Home(label_studio.home).backups.glob("labelloop-*"))
    manifest = verify(archive)
    unpack(archive, manifest, tmp_path / "out")
    label_studio.stop()
    restored = fresh()
    restored.home.joinpath("volumes/labelstudio").mkdir(parents=True, exist_ok=True)
    shutil.copytree(
        tmp_path / "out/volumes/labelstudio", restored.home / "volumes/labelstudio", dirs_exist_ok=True
    )
    # Another host's secrets: what the archive's database knows of them has to follow.
    restored.environment |= {"API_TOKEN": "f" * 40, "SECRET_KEY": "another"}
    restored.start()
    assert restored.provision().returncode == 0
    kept = {
        row["id"]
        for task in restored.studio.iter_tasks(1, fields="all", page_size=100)
        for row in task["annotations"]
    }
    assert before <= kept
    assert len(kept) == manifest.counts["annotations"]
    assert restored.studio.count_tasks(1) == TASKS
