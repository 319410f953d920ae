"""How large Label Studio's database is for each task, and how quickly stored predictions are deleted.

    python -m bench.row_bytes postgres 50000      or sqlite; beside a Label Studio of its own

Rows are generated as by `make bench ONLY=growth GENERATED=1`: a task, its file's name, a prediction of one or
more boxes, and an annotation for a fiftieth of them.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from bench.appliance import Appliance, databases
from bench.growth_operations import PROJECT

TABLES = (
    *("task", "prediction", "task_completion"),
    *("io_storages_localfilesimportstoragelink", "labelloop_imported"),
)
DELETED = 200
_SIZE = """
import json
from provisioner import django_app
django_app.setup()
from django.db import connection
with connection.cursor() as cursor:
    if connection.vendor == "postgresql":
        cursor.execute("VACUUM FULL")
        cursor.execute("SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r'")
        print(json.dumps(dict(cursor.fetchall())))
    else:
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        print(json.dumps({}))
"""


def main(kind: str, size: int) -> None:
    """Prints a line for each figure."""
    with databases(kind) as new, tempfile.TemporaryDirectory(prefix="labelloop-rows-") as home:
        appliance = Appliance(Path(home), size, new("rows"))
        appliance.backend.start()
        with appliance.champion.serve() as appliance.champion.url:
            try:
                appliance.start()
                before = bytes_of(appliance)
                appliance.generate()
                for name, count in bytes_of(appliance).items():
                    rows = max(size // 50, 2) if name == "task_completion" else size
                    print(f"{kind}, {name}: {(count - before[name]) / rows:.0f} bytes a row of {rows}")
                print(f"{kind}: {deleted_a_second(appliance):.0f} predictions deleted a second, one by one")
            finally:
                appliance.stop()


def bytes_of(appliance: Appliance) -> dict[str, int]:
    """Of each table with its indexes; on SQLite of the file as a whole."""
    told = appliance.labelstudio.run_program(_SIZE, timeout=3600).strip().splitlines()[-1]
    found = {name: size for name, size in json.loads(told).items() if name in TABLES}
    file = appliance.labelstudio.data / "label_studio.sqlite3"
    return found or {"the file": file.stat().st_size}


def deleted_a_second(appliance: Appliance) -> float:
    studio = appliance.labelstudio.studio
    tasks = studio.first_tasks(PROJECT, DELETED, "id")
    going = [row["id"] for task in tasks for row in studio.task(task["id"])["predictions"]]
    began = time.monotonic()
    for prediction in going:
        studio.delete_prediction(prediction)
    return len(going) / (time.monotonic() - began)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
