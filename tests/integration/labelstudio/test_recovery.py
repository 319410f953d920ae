"""kill -9 at any point, then again: one of everything, whole."""

import json
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

import pytest
from integration.support.labelstudio import LabelStudio

ONE_OF_EACH = {
    "project": 1,
    "io_storages_localfilesimportstorage": 1,
    "ml_mlbackend": 1,
    "webhook": 0,
    "htx_user": 1,
    "organization": 1,
    "authtoken_token": 1,
}


def counts(label_studio: LabelStudio) -> dict[str, int]:
    with closing(sqlite3.connect(label_studio.data / "label_studio.sqlite3")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {t: database.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ONE_OF_EACH}


def test_a_provisioner_killed_again_and_again_leaves_one_of_everything(
    fresh: Callable[[], LabelStudio],
) -> None:
    label_studio = fresh().start()
    moments = random.Random(7)
    for _ in range(12):
        provisioner = label_studio.launch_provisioner()
        time.sleep(moments.uniform(0.4, 1.6))
        os.killpg(provisioner.pid, signal.SIGKILL)
        provisioner.wait(10)
    done = label_studio.provision()
    assert done.returncode == 0, done.stderr
    assert counts(label_studio) == ONE_OF_EACH
    assert json.loads((label_studio.data / "provisioned.json").read_text())["done"]


@pytest.mark.parametrize("seed", [1, 2])
def test_label_studio_killed_while_it_boots_and_is_provisioned_carries_on(
    fresh: Callable[[], LabelStudio], seed: int
) -> None:
    label_studio = fresh()
    moments = random.Random(seed)
    provisioner = label_studio.launch_provisioner()
    try:
        for longest in (0.5, 4.0, 7.0):
            label_studio.launch()
            time.sleep(moments.uniform(0.05, longest))
            label_studio.stop(hard=True)
        label_studio.start()
        assert provisioner.wait(300) == 0
    finally:
        provisioner.kill()
    assert counts(label_studio) == ONE_OF_EACH
    assert label_studio.provision().returncode == 0
    assert counts(label_studio) == ONE_OF_EACH


def test_an_older_database_is_migrated_and_kept_beside(fresh: Callable[[], LabelStudio]) -> None:
    label_studio = fresh().start()
    assert label_studio.provision().returncode == 0
    label_studio.stop()
    database = label_studio.data / "label_studio.sqlite3"
    with closing(sqlite3.connect(database)) as older:
        older.execute("DROP TABLE session_policy_sessiontimeoutpolicy")
        older.execute("DELETE FROM django_migrations WHERE app = 'session_policy'")
        older.commit()
    behind = label_studio.run("provisioner.health")
    assert behind.returncode == 1
    label_studio.start()
    assert "migrated; the former database is" in label_studio.log
    assert counts(label_studio) == ONE_OF_EACH
    assert label_studio.run("provisioner.health").returncode == 0
    (kept,) = label_studio.data.glob("label_studio.sqlite3.before-*")
    with closing(sqlite3.connect(kept)) as former:
        assert former.execute("SELECT count(*) FROM project").fetchone() == (1,)
        assert not former.execute("SELECT 1 FROM django_migrations WHERE app = 'session_policy'").fetchone()
    assert not list(label_studio.data.glob("*.migrating*"))
