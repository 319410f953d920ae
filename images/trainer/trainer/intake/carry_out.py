"""Does what a plan says: copies new images and has Label Studio store their labels, batch by batch.

A batch's files are copied before its tasks are made. Killed in between, the images are there, and the next
run finds them by their bytes. So every run goes on where the former one ended.
"""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelloop.batches import weighed_batches
from labelloop.files import READABLE_FILE
from labelloop.locks import holding
from labelloop.studio import Studio, StudioError
from trainer.intake.plan import How, Plan, Step
from trainer.intake.records import IntakeError

BATCH, BATCH_BYTES = 200, 8 << 20
"""A request to Label Studio has at most so many images, and their labels at most so many bytes of JSON."""
LOCK = "import.lock"
"""The lock of trainer.worker.importer: no task is made of a file that is just being copied."""
LOCK_WAIT_S = 600.0
TIMEOUT_S = (3.0, 300.0)
_PAUSES_S = (1.0, 5.0, 20.0)
_PASSING = (0, 502, 503, 504)


@dataclass
class Outcome:
    """What was stored. kept: images for which nothing was, as people have labelled them meanwhile or deleted
    their task.
    """

    tasks: int = 0
    annotations: int = 0
    predictions: int = 0
    kept: int = 0


@dataclass(frozen=True)
class Places:
    """images_dir: volumes/images where it can be written. rounds_dir: of the locks. fetched: the folder of
    downloaded images, each of which is deleted once it is stored.
    """

    images_dir: Path
    rounds_dir: Path
    fetched: Path


def carry_out(
    plan: Plan,
    studio: Studio,
    project_id: int,
    key: str,
    places: Places,
    progress: Callable[[int], None],
) -> Outcome:
    """Carries out a plan. key: the image's key in a task's data. progress: told how many images are done.

    Raises:
        IntakeError: an image cannot be copied. StudioError: Label Studio does not answer, or refuses.
        Busy: another process has been importing for too long.
    """
    outcome, done = Outcome(), 0
    for batch in weighed_batches(plan.steps(), BATCH, lambda step: step.size, BATCH_BYTES):
        with holding(places.rounds_dir / LOCK, LOCK_WAIT_S):
            for step in batch:
                if step.how is How.NEW:
                    _copy(step, places)
            items = [_item(step, key) for step in batch]
            told = _post(studio, f"/labelloop/projects/{project_id}/intake", {"items": items})
        for row in told["items"]:
            outcome.tasks += row["made"]
            outcome.annotations += row["annotations"]
            outcome.predictions += row["predictions"]
            outcome.kept += row["labelled_here"] or row["task"] is None
        _forget_fetched(batch, places)
        done += len(batch)
        progress(done)
    return outcome


def _item(step: Step, key: str) -> dict[str, Any]:
    if step.how is How.NEW:
        return {"path": step.target, "key": key, **step.body}
    labels = {name: step.body[name] for name in ("annotations", "predictions")}
    return {"task": step.task, **labels}


def _copy(step: Step, places: Places) -> None:
    """Copies a new image to its place, unless it is there. A reader sees all of it or none."""
    assert step.source is not None and step.target is not None
    target = places.images_dir / step.target.partition("/")[2]
    if target.exists():  # the plan has compared the bytes
        return
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with step.source.open("rb") as source, part.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
        part.chmod(READABLE_FILE)
        part.replace(target)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise IntakeError(f"{step.source} cannot be copied to {target}: {error.strerror}") from error


def _post(studio: Studio, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Posts to Label Studio, again after a pause while it is away: what was stored is not stored twice."""
    for pause in (*_PAUSES_S, None):
        try:
            return dict(studio.request("POST", path, json=body, timeout=TIMEOUT_S))
        except StudioError as error:
            if pause is None or error.status not in _PASSING:
                raise
        time.sleep(pause)
    raise AssertionError


def _forget_fetched(batch: list[Step], places: Places) -> None:
    for step in batch:
        if step.source is not None and step.source.is_relative_to(places.fetched):
            step.source.unlink(missing_ok=True)
