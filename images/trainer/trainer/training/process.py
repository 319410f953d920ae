"""A round's training. `run` starts a process for it: `python -m trainer.training.process FOLDER`.

The folder holds job.json and snapshot.json. Training adds train.jsonl, metrics.jsonl, log.txt, last.pth and,
as its last step, candidate/ (config.py, weights.pth, card.json). Exit status 0: candidate/ is complete; 75:
training was stopped; 65: it failed, and the last line on stderr tells a person why; 74: another process that
trains with it was lost; any other: a fault that nobody foresaw, of which the last line says something.

Several processes may train a round together (trainer.training.crew). Then the first one writes the files.
"""

import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

from labelloop.errors import Explained, in_one_line
from labelloop.locks import holding
from labelloop.settings import get_settings
from trainer.rounds.folder import CANCEL, CANDIDATE, METRICS, TRAIN_LOCK
from trainer.rounds.metrics import Metrics, newest
from trainer.system.children import RETRY, STOPPED, describe, die_with_parent
from trainer.system.failures import Unforeseen, without_traceback
from trainer.training.crew import Member
from trainer.training.job import Job
from trainer.training.members import EXPLAINED, LOST, Begin, Ending, Members, on_this_machine

LOCK_WAIT_S = 120.0
POLL_S = 0.5
STOP_GRACE_S = 90.0


class TrainingFailed(Explained):
    """Training ended without a candidate. The message is one line; the round's log.txt has the rest."""


class TrainingKilled(TrainingFailed):
    """A signal ended a training process, e.g. the kernel's for lack of memory, or one hung, or was lost to
    the others; the checkpoint stays.
    """


class TrainingWaits(Explained):
    """What is to train the round does not answer, or has no room for it now; the checkpoint stays."""


class TrainingCancelled(Exception):
    """Training stopped because it was asked to."""


def candidate_folder(round_dir: Path) -> Path:
    return round_dir / CANDIDATE


def run(
    round_dir: Path,
    on_progress: Callable[[Metrics], None],
    should_cancel: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    begin: Begin | None = None,
) -> None:
    """Trains the job in `round_dir`. Returns when its candidate is complete, at once if it is already.

    environment: variables that the process gets besides this one's. begin: starts the processes; by default
    one on this machine.

    Raises:
        TrainingCancelled: should_cancel() was true. TrainingKilled: when run again, training goes on from its
        checkpoint. TrainingWaits: so it does when the cluster answers. TrainingFailed: the message says why.
        Unforeseen: it ended by a fault.
    """
    if candidate_folder(round_dir).is_dir():
        return
    members = (begin or on_this_machine(1))(round_dir, Job.load(round_dir), environment or {})
    try:
        ending = _follow(members, round_dir, on_progress, should_cancel)
    finally:
        members.end()
    if ending.status != 0:
        raise _failure(ending, round_dir)
    if not candidate_folder(round_dir).is_dir():
        raise Unforeseen(describe(0))


def _failure(ending: Ending, round_dir: Path) -> Exception:
    status, words = ending.status, ending.words
    if status == STOPPED:
        return TrainingCancelled(words)
    if status is None:
        return TrainingKilled(f"{ending.who} hung: the others had no answer from it any more")
    if status < 0:
        return TrainingKilled(f"{ending.who} was ended by {describe(status)}")
    if status == RETRY:
        return TrainingWaits(words)
    if status == LOST:
        return TrainingKilled(without_traceback(words))
    if status == EXPLAINED:
        return TrainingFailed(words)
    return Unforeseen(without_traceback(words) or describe(status))


def _follow(
    members: Members,
    round_dir: Path,
    on_progress: Callable[[Metrics], None],
    should_cancel: Callable[[], bool],
) -> Ending:
    """Reports metrics until training ends; returns how it did."""
    metrics = round_dir / METRICS
    position = metrics.stat().st_size if metrics.exists() else 0
    stop_by: float | None = None
    while True:
        ending = members.ending()
        latest, position = newest(metrics, position)
        if latest is not None:
            on_progress(latest)
        if ending is not None:
            return ending
        if stop_by is None and should_cancel():
            (round_dir / CANCEL).touch()
            stop_by = time.monotonic() + STOP_GRACE_S
        if stop_by is not None and time.monotonic() > stop_by:
            return Ending(STOPPED, "training", f"it did not stop within {STOP_GRACE_S:.0f} s, and was killed")
        time.sleep(POLL_S)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m trainer.training.process ROUND_FOLDER", file=sys.stderr)
        return 2
    die_with_parent()
    folder, member = Path(arguments[0]), Member.of()
    # A process that a killed trainer left behind must end first.
    lock = holding(folder / TRAIN_LOCK, LOCK_WAIT_S) if member.leads else nullcontext()
    try:
        with lock:
            return _learn(folder, member)
    except Explained as error:
        print(in_one_line(error), file=sys.stderr)
        return EXPLAINED
    except Exception as error:
        traceback.print_exc()
        print(in_one_line(error), file=sys.stderr)
        return 1


def _learn(folder: Path, member: Member) -> int:
    # Only the child imports torch and mmdet, not the processes that start it or read its metrics.
    from trainer.training.hooks import Stopped
    from trainer.training.learn import learn
    from trainer.training.together import PeersLost, joined

    try:
        with joined(member, "cpu" if member.alone else Job.load(folder).accelerator):
            learn(folder, get_settings(), member)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return STOPPED
    except PeersLost as lost:
        print(in_one_line(lost), file=sys.stderr)
        return LOST
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
