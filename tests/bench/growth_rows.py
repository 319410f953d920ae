"""Rows for a great many tasks, made in the database itself, as copies of those that one real task has.

Each task has a file's name, a link, a prediction with a score of its own, and the first ones an annotation.
"""

SOURCE = """
import json
from provisioner import django_app

django_app.setup()
from django.db import connection, transaction
from projects.models import Project
from provisioner.counts import add_to_summary
from tasks.models import Annotation, Task

TABLES = "task", "io_storages_localfilesimportstoragelink", "prediction", "task_completion"
on_postgres = connection.vendor == "postgresql"
task = Task.objects.get()
name = "000/000000.jpg"


def of_number(number):
    form = "lpad(({})::text, {}, '0')" if on_postgres else "printf('%0{1}d', {0})"
    return f"{form.format(number + ' / 1000', 3)} || '/' || {form.format(number, 6)} || '.jpg'"


def renamed(column, kind):
    text = f"replace(CAST({column} AS text), '{name}', {of_number('n')})"
    return f"CAST({text} AS {kind})" if on_postgres else text


def columns_of(cursor, table):
    cursor.execute(f"SELECT * FROM {table} LIMIT 1")
    kinds = {114: "json", 3802: "jsonb"}
    return {column[0]: kinds.get(column[1], "text") for column in cursor.description}


def copied(cursor, table, count, **changed):
    columns = columns_of(cursor, table)
    values = [changed.get(column, column) for column in columns]
    values = [renamed(*value, columns[value[0]]) if isinstance(value, tuple) else value for value in values]
    rows = "generate_series(1, %s) AS numbers(n)" if on_postgres else "numbers"
    numbers = "" if on_postgres else (
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s) "
    )
    where = "" if table == "labelloop_imported" else " WHERE id = (SELECT min(id) FROM %s)" % table
    cursor.execute(
        f"{numbers}INSERT INTO {table} ({', '.join(columns)}) "
        f"SELECT {', '.join(map(str, values))} FROM (SELECT * FROM {table}{where}) AS first, {rows}",
        [count],
    )


labelled = f"CASE WHEN n < {LABELLED} THEN 1 ELSE 0 END"
unique = "gen_random_uuid()" if on_postgres else "lower(hex(randomblob(16)))"
with transaction.atomic(), connection.cursor() as cursor:
    copied(
        cursor, "task", SIZE - 1, id="id + n", inner_id="inner_id + n", data=("data",),
        total_annotations=labelled, is_labeled=f"n < {LABELLED}",
    )
    copied(cursor, TABLES[1], SIZE - 1, id="id + n", task_id="task_id + n", key=("key",))
    copied(
        cursor, "prediction", SIZE - 1, id="id + n", task_id="task_id + n",
        score="(n * CAST(7919 AS bigint) %% 100003) / 100003.0",
    )
    copied(
        cursor, "task_completion", LABELLED - 1, id="id + n", task_id="task_id + n", unique_id=unique
    )
    copied(cursor, "labelloop_imported", SIZE - 1, path=("path",))
    project = Project.objects.get(pk=task.project_id)
    project.summary.update_data_columns(Task.objects.exclude(pk=task.pk).only("data")[:1])
    for table in TABLES if on_postgres else ():
        last = f"(SELECT max(id) FROM {table})"
        cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {last})")
if on_postgres:
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")  # as the server does by itself some time after so many rows
"""


def program(size: int, labelled: int) -> str:
    """For Label Studio's environment: copies of its only task's rows, so that there are `size` tasks, of
    which `labelled` have an annotation.
    """
    return f"SIZE, LABELLED = {size}, {labelled}\n{SOURCE}"
