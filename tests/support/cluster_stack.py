"""A whole stack that is a cluster's head, its rounds, and its machines' detectors."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import requests
from support import shapes, shapes_stack
from support.cluster_machines import PORT
from support.stack import Stack, wait_for

from labelloop.layout import pool_port

PICTURES, UNLABELLED = 30, 4
ITERATIONS = 30
PRE_LABELS_S = 600


@contextmanager
def head_with_labels(made: Stack, address: str, **settings: object) -> Iterator[Stack]:
    """The stack, up as the head at an address, with PICTURES of which all but UNLABELLED are labelled."""
    cluster = {"CLUSTER": "ray", "CLUSTER_BIND": address, "TRAINING_PROCESSES": "auto", **settings}
    try:
        print(shapes_stack.up(made, ITERATIONS=ITERATIONS, THREADS=1, RETRAIN_EVERY=0, **cluster))
        pictures = shapes.save(made.images / "shapes", PICTURES)
        wait_for("tasks", lambda: made.studio().count_tasks(1) == len(pictures), 300)
        label(made, pictures, 0, PICTURES - UNLABELLED)
        yield made
    finally:
        print(made.run("logs", check=False, timeout=60)[-12000:])
        made.run("down", check=False, timeout=300)


def label(stack: Stack, pictures: dict[str, shapes.Picture], first: int, last: int) -> None:
    """As a person would, those from `first` to before `last`."""
    studio = stack.studio()
    tasks = {
        parse_qs(urlsplit(task["data"]["image"]).query)["d"][0].rpartition("/")[2]: task["id"]
        for task in studio.iter_tasks(1, page_size=100)
    }
    for name in list(pictures)[first:last]:
        where = f"/api/tasks/{tasks[name]}/annotations/"
        studio.request("POST", where, json={"result": pictures[name].annotation()})


def rounds_log(stack: Stack, number: int) -> str:
    folder: Path = stack.home / f"volumes/rounds/{number:05}"
    return "\n".join(path.read_text() for path in sorted(folder.glob("log*.txt")))


def detectors() -> dict[str, int]:
    """Machine → at how many images its detectors have looked; in the head's network."""
    with suppress(requests.RequestException):
        health = requests.get(f"http://127.0.0.1:{pool_port(PORT)}/health", timeout=10).json()
        return {name: row["images"] for name, row in health["machines"].items()}
    return {}


def decided(output: str) -> bool:
    return "kept v0000" in output or "promoted v0001" in output


def more_are_pre_labelled(stack: Stack, count: int, first: int) -> None:
    """So many more pictures, numbered from `first`, become tasks and get boxes."""
    added = shapes.save(stack.images / "more", count, first)

    def predicted() -> bool:
        tasks = stack.studio().iter_tasks(1, fields="all", page_size=100)
        new = [task for task in tasks if "more" in task["data"]["image"]]
        return len(new) == len(added) and all(task["predictions"] for task in new)

    wait_for("pre-labels for all", predicted, PRE_LABELS_S)
