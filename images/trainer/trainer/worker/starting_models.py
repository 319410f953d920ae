"""Has starting models written one at a time, each by a separate process."""

import logging
from pathlib import Path

from trainer.system.children import Child, Spawn, describe

log = logging.getLogger(__name__)


class StartingModels:
    """Starts the processes and watches them. rounds_dir: the folder for their log, starting.log."""

    def __init__(self, rounds_dir: Path, spawn: Spawn) -> None:
        self._log_path = rounds_dir / "starting.log"
        self._spawn = spawn
        self._running: tuple[int, Child] | None = None

    def begin(self, project_id: int) -> None:
        """Begins to write a project's starting model, unless another is being written."""
        if self._running is None:
            log.info("project %d: writing the starting model", project_id)
            child = self._spawn(["trainer.training.starting", str(project_id)], self._log_path)
            self._running = project_id, child

    def tend(self) -> None:
        """Checks whether the model that is being written is done.

        Raises:
            OSError: the model could not be written; the message has the last line of the process's log.
        """
        if self._running is None:
            return
        project_id, child = self._running
        status = child.status()
        if status is None:
            return
        self._running = None
        if status != 0:
            raise OSError(
                f"project {project_id}: the starting model could not be written: "
                f"{child.last_words() or describe(status)} (see {child.log_path})"
            )
        log.info("project %d: %s", project_id, child.last_words())

    def stop(self) -> None:
        if self._running is not None:
            self._running[1].stop()
