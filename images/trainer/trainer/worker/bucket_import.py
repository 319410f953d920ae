"""Has Label Studio make tasks of new images in the bucket that IMAGES names, and keeps what came of it.

A bucket is gone through slice by slice, from its first key to its last, and then anew: so a new key is found
within a pass, wherever it is. volumes/rounds/bucket.json says how the last pass went, for `make status` and
`make doctor`.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labelloop.files import write_text
from labelloop.settings import Settings
from labelloop.studio import Studio
from trainer.words import plural

log = logging.getLogger(__name__)

FILE = "bucket.json"
SLICE_TASKS = 1000
SLICE_S = 600.0
"""A slice lists keys for some seconds, but the tasks that it makes may take long."""


@dataclass(frozen=True)
class BucketState:
    """How the last pass over a bucket went. problem: what is wrong with it, None where it is well; fix: the
    way out. left_out: how many images have a name that Label Studio cannot show. seconds: of the pass.
    """

    url: str
    problem: str | None = None
    fix: str = ""
    left_out: int = 0
    seconds: float = 0.0

    def write(self, rounds_dir: Path) -> None:
        write_text(rounds_dir / FILE, json.dumps(asdict(self)) + "\n")


def read_state(settings: Settings) -> BucketState | None:
    """What is known of the bucket that IMAGES names; None where it names none, or before the first pass."""
    try:
        state = BucketState(**json.loads((settings.rounds_dir / FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return state if settings.bucket is not None and settings.bucket.url == state.url else None


class BucketImport:
    """Goes through the bucket for the projects that have a storage on it."""

    def __init__(self, studio: Studio, settings: Settings) -> None:
        self._studio = studio
        self._settings = settings
        self._said: str | None = None

    def run(self, project_ids: Iterable[int], should_stop: Callable[[], bool] = lambda: False) -> int:
        """One pass for each project. Returns: how many tasks were made.

        Raises:
            StudioError: Label Studio does not answer or refuses.
        """
        bucket = self._settings.bucket
        if bucket is None:
            return 0
        began, made, left_out, problem, fix = time.monotonic(), 0, 0, None, ""
        storages = [
            (project, row)
            for project in project_ids
            for row in self._studio.buckets(project)
            if row["title"] == bucket.url
        ]
        if not storages:
            problem, fix = f"{bucket.url}: Label Studio has no storage for it yet", "`make up`"
        for project, storage in storages:
            before = made
            for answer in self._slices(int(storage["id"]), should_stop):
                made += int(answer["made"])
                left_out += int(answer.get("left_out") or 0)
                if answer["problem"]:
                    problem, fix = str(answer["problem"]), str(answer["fix"])
            if made > before:
                log.info("project %d: %s from %s", project, plural(made - before, "new task"), bucket.url)
        if problem != self._said:
            log.log(logging.WARNING if problem else logging.INFO, "%s", problem or f"{bucket.url} is well")
            self._said = problem
        seconds = round(time.monotonic() - began, 1)
        BucketState(bucket.url, problem, fix, left_out, seconds).write(self._settings.rounds_dir)
        return made

    def _slices(self, storage_id: int, should_stop: Callable[[], bool]) -> Iterable[dict[str, Any]]:
        after: str | None = ""
        while after is not None and not should_stop():
            answer = self._studio.sync_bucket(storage_id, after, SLICE_TASKS, SLICE_S)
            yield answer
            after = answer["following"]
