"""Models that are being taken along for the Downloads page, each in a process of its own."""

import logging
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from labelloop.errors import Explained
from trainer.loop import Loop
from trainer.system.children import describe
from trainer.takeaway.forms import Format

log = logging.getLogger(__name__)

CHILD = ("trainer.takeaway.child",)


class AtWork(Explained):
    """One is being made already; a second would take the memory that labelling needs."""


@dataclass
class Work:
    """What is being made. words: what is done now."""

    project: int
    version: str
    form: Format
    int8: bool
    words: str = "starting"
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def name(self) -> str:
        return f"{self.version} as {self.form}{' in 8 bits' if self.int8 else ''}"


class TakeAways:
    """Makes one at a time. told: by project, what became of the last; problems: why it was not made."""

    def __init__(self, loop: Loop, child: Sequence[str] = CHILD) -> None:
        self._loop, self._child = loop, child
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self.work: Work | None = None
        self.told: dict[int, str] = {}
        self.problems: dict[int, str] = {}

    def begin(self, project: int, version: str, form: Format, int8: bool) -> None:
        """Raises AtWork: one is being made."""
        with self._lock:
            if self.work is not None:
                raise AtWork(f"{self.work.name} is being made; one at a time")
            self.problems.pop(project, None)
            self.told.pop(project, None)
            self.work = Work(project, version, form, int8)
            self._thread = threading.Thread(target=self._run, args=(self.work,), daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends the one that is being made."""
        process = self._process
        if process is not None:
            process.terminate()

    def wait(self, seconds: float) -> bool:
        """Waits until nothing is being made; returns whether that is so."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self.work is None

    def _run(self, work: Work) -> None:
        try:
            words, status = self._made(work)
            if status == 0:
                self.told[work.project] = f"{work.name}: {words}"
            elif status == 1:
                self.problems[work.project] = f"{work.name}: {words}"
            else:
                self.problems[work.project] = f"{work.name}: it was ended by {describe(status)}"
        except OSError as error:
            self.problems[work.project] = f"{work.name}: {error}"
        finally:
            with self._lock:
                self.work = self._process = None

    def _made(self, work: Work) -> tuple[str, int]:
        """The last line that the process printed, and its exit status."""
        arguments = [str(work.project), work.version, work.form.value, "1" if work.int8 else "0"]
        command = [sys.executable, "-m", *self._child, *arguments]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            self._process = process
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip():
                    work.words = line.strip()
        log.info("%s: %s", work.name, work.words)
        return work.words, process.returncode
