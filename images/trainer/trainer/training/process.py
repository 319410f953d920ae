"""A round's training. `run` starts a process for it: `python -m trainer.training.process FOLDER`.

The folder holds job.json and snapshot.json. Training adds train.jsonl, metrics.jsonl, log.txt, last.pth and,
as its last step, candidate/ (config.py, weights.pth, card.json). Exit status 0: candidate/ is complete; 75:
training was stopped; 65: it failed, and the last line on stderr tells a person why; any other: a fault that
nobody foresaw, of which the last line says something.
"""

import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from labelloop.errors import Explained, in_one_line
from labelloop.locks import holding
from labelloop.settings import get_settings
from trainer.rounds.folder import CANCEL, CANDIDATE, LOG, METRICS, TRAIN_LOCK
from trainer.rounds.metrics import Metrics, newest
from trainer.system.children import STOPPED, describe, die_with_parent
from trainer.system.failures import Unforeseen, without_traceback
from trainer.training.job import Job

LOCK_WAIT_S = 120.0
POLL_S = 0.5
STOP_GRACE_S = 90.0
EXPLAINED = 65
# How often a waiting thread looks for work before it sleeps. If it sleeps at once, two threads are no faster
# than one. If it looks for long, it keeps other programs from the core.
SPIN_COUNT = 10_000


class TrainingFailed(Explained):
    """Training ended without a candidate. The message is one line; the round's log.txt has the rest."""


class TrainingKilled(TrainingFailed):
    """A signal ended the training process, e.g. the kernel's for lack of memory; its checkpoint stays."""


class TrainingCancelled(Exception):
    """Training stopped because it was asked to."""


def candidate_folder(round_dir: Path) -> Path:
    return round_dir / CANDIDATE


def run(
    round_dir: Path,
    on_progress: Callable[[Metrics], None],
    should_cancel: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Trains the job in `round_dir`. Returns when its candidate is complete, at once if it is already.

    environment: variables that the process gets besides this one's.

    Raises:
        TrainingCancelled: should_cancel() was true. TrainingKilled: when run again, training goes on from its
        checkpoint. TrainingFailed: the message says why. Unforeseen: it ended by a fault.
    """
    if candidate_folder(round_dir).is_dir():
        return
    job = Job.load(round_dir)
    log = round_dir / LOG
    log_start = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "trainer.training.process", str(round_dir)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**training_environment(job.threads, job.accelerator), **(environment or {})},
        )
    try:
        status = _follow(process, round_dir, on_progress, should_cancel)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if status == STOPPED:
        raise TrainingCancelled(_last_line(log, log_start))
    if status < 0:
        raise TrainingKilled(f"training was ended by {describe(status)}")
    if status == EXPLAINED:
        raise TrainingFailed(_last_line(log, log_start))
    if status != 0 or not candidate_folder(round_dir).is_dir():
        raise Unforeseen(without_traceback(_last_line(log, log_start)) or describe(status))


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


def _follow(
    process: "subprocess.Popen[bytes]",
    round_dir: Path,
    on_progress: Callable[[Metrics], None],
    should_cancel: Callable[[], bool],
) -> int:
    """Reports metrics until the process ends; returns its exit status."""
    metrics = round_dir / METRICS
    position = metrics.stat().st_size if metrics.exists() else 0
    stop_by: float | None = None
    while True:
        ended = process.poll() is not None
        latest, position = newest(metrics, position)
        if latest is not None:
            on_progress(latest)
        if ended:
            return process.returncode
        if stop_by is None and should_cancel():
            (round_dir / CANCEL).touch()
            stop_by = time.monotonic() + STOP_GRACE_S
        if stop_by is not None and time.monotonic() > stop_by:
            process.kill()
            process.wait()
            return STOPPED
        time.sleep(POLL_S)


def _last_line(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(start)
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it left no word; see log.txt"


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m trainer.training.process ROUND_FOLDER", file=sys.stderr)
        return 2
    die_with_parent()
    folder = Path(arguments[0])
    try:
        # A process that a killed trainer left behind must end first.
        with holding(folder / TRAIN_LOCK, LOCK_WAIT_S):
            return _learn(folder)
    except Explained as error:
        print(in_one_line(error), file=sys.stderr)
        return EXPLAINED
    except Exception as error:
        traceback.print_exc()
        print(in_one_line(error), file=sys.stderr)
        return 1


def _learn(folder: Path) -> int:
    # Only the child imports torch and mmdet, not the processes that start it or read its metrics.
    from trainer.training.hooks import Stopped
    from trainer.training.learn import learn

    try:
        learn(folder, get_settings())
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return STOPPED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
