"""Starts the processes that train a round on this machine, and tells how they ended."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trainer.rounds.folder import LOG, RENDEZVOUS, member_log
from trainer.system.children import STOPPED
from trainer.training.crew import ALONE, Member, on_one_machine
from trainer.training.job import Job

EXPLAINED = 65
LOST = 74
"""The exit status of a member that has lost the others."""
SETTLE_S = 10.0
"""How long the others may take to end after the first has failed."""
# How often a waiting thread looks for work before it sleeps. If it sleeps at once, two threads are no faster
# than one. If it looks for long, it keeps other programs from the core.
SPIN_COUNT = 10_000


@dataclass(frozen=True)
class Ending:
    """How training ended. status: 0, the exit status of the member that failed first, or minus its signal;
    None for one that hung until it was killed. who: that member. words: the last line that it printed.
    """

    status: int | None
    who: str
    words: str


class Members(Protocol):
    """The processes that train a round."""

    def ending(self) -> Ending | None:
        """How they ended; None while they train."""

    def end(self) -> None:
        """Kills those that are left."""


Begin = Callable[[Path, Job, Mapping[str, str]], Members]
"""A function that starts them, for a round's folder and its job, with variables besides this process's."""


def on_this_machine(size: int) -> Begin:
    """Starts so many processes here, each with its part of the job's threads."""

    def begin(round_dir: Path, job: Job, environment: Mapping[str, str]) -> Members:
        members = [ALONE]
        if size > 1:
            rendezvous = round_dir / RENDEZVOUS
            rendezvous.unlink(missing_ok=True)  # the former crew's
            members = on_one_machine(size, rendezvous.as_uri(), job.threads)
        return _Crew(round_dir, job, members, environment)

    return begin


class Process:
    """`python -m <module> <round's folder>`, whose output is appended to a file in that folder."""

    def __init__(self, module: str, round_dir: Path, log: str, environment: Mapping[str, str]) -> None:
        self._log = round_dir / log
        with self._log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(round_dir)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
            )

    def status(self) -> int | None:
        return self._process.poll()

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        with self._log.open("rb") as file:
            file.seek(self._log_start)
            lines = [
                line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()
            ]
        return lines[-1] if lines else f"it left no word; see {self._log.name}"


class _Crew:
    """The members on this machine. The first one's output goes to the round's log, each other's to its
    own.
    """

    def __init__(
        self, round_dir: Path, job: Job, members: list[Member], environment: Mapping[str, str]
    ) -> None:
        self._members = members
        self._processes: list[Process] = []
        self._failed_at: float | None = None
        try:
            for member in members:
                self._processes.append(_start(round_dir, job, member, environment))
        except OSError:
            self.end()
            raise

    def ending(self) -> Ending | None:
        found = [process.status() for process in self._processes]
        if not any(found):
            return Ending(0, "training", "") if None not in found else None
        self._failed_at = self._failed_at or time.monotonic()
        if None in found and time.monotonic() - self._failed_at < SETTLE_S:
            return None
        culprit = min(range(len(found)), key=lambda index: _guilt(found[index]))
        who = "training" if len(found) == 1 else f"{self._members[culprit]} of the training"
        return Ending(found[culprit], who, self._processes[culprit].last_words())

    def end(self) -> None:
        for process in self._processes:
            process.kill()


def _start(round_dir: Path, job: Job, member: Member, environment: Mapping[str, str]) -> Process:
    log = LOG if member.leads else member_log(member.rank + 1)
    variables = training_environment(member.threads or job.threads, job.accelerator)
    if not member.alone:
        # All that members tell each other stays on this machine.
        variables |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo", **member.environment()}
    if not member.leads:
        (round_dir / log).unlink(missing_ok=True)
    return Process("trainer.training.process", round_dir, log, {**variables, **environment})


def _guilt(status: int | None) -> int:
    """The rank of a status among those of members that failed: which one has brought the others down."""
    if status is None:
        return 3
    if status < 0:
        return 0
    return {STOPPED: 2, LOST: 4, 0: 5}.get(status, 1)


def training_environment(threads: int, accelerator: str) -> dict[str, str]:
    """The variables of a process that trains, with so many threads."""
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "GOMP_SPINCOUNT": str(SPIN_COUNT),
        "PYTHONUNBUFFERED": "1",
    }
    if accelerator == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment
