"""What the trainer adds to mmcv's bare loop: resuming, metrics, checkpoints and the ways to stop."""

import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from mmcv.parallel import is_module_wrapper
from mmcv.runner.hooks import HOOKS, Hook

from labelloop.errors import Explained
from labelloop.files import replacing
from trainer.training.cores import Cores


class Stopped(Exception):
    """Training was told to stop."""


class Diverged(Explained):
    """The loss is no number any more."""


@HOOKS.register_module()
class StopHook(Hook):  # type: ignore[misc]  # mmcv is untyped
    """Raises Stopped before the next iteration when `cancel_file` exists."""

    def __init__(self, cancel_file: str) -> None:
        self._cancel_file = Path(cancel_file)

    def before_train_iter(self, runner: Any) -> None:
        if self._cancel_file.exists():
            raise Stopped(f"cancelled at iteration {runner.iter} of {runner.max_iters}")


@HOOKS.register_module()
class LastCheckpointHook(Hook):  # type: ignore[misc]  # mmcv is untyped
    """Keeps `path` a checkpoint of the newest state, at most `every_s` seconds old, and resumes from it.

    The file is replaced atomically; one that cannot be read is dropped and training starts anew.
    """

    def __init__(self, path: str, every_s: float) -> None:
        self._path = Path(path)
        self._every_s = every_s
        self._saved_at = time.monotonic()

    def before_run(self, runner: Any) -> None:
        if not self._path.exists():
            return
        try:
            runner.resume(str(self._path), map_location="cpu")
        except Exception as error:  # whatever is wrong with the file, the round can do without it
            runner.logger.warning("%s cannot be resumed from, starting anew: %s", self._path, error)
            self._path.unlink()
        self._saved_at = time.monotonic()

    def after_train_iter(self, runner: Any) -> None:
        if time.monotonic() - self._saved_at >= self._every_s:
            self._save(runner)

    def after_run(self, runner: Any) -> None:
        self._save(runner, done=runner.iter)

    def _save(self, runner: Any, done: int | None = None) -> None:
        model = runner.model.module if is_module_wrapper(runner.model) else runner.model
        content = {
            "meta": {"epoch": 0, "iter": runner.iter + 1 if done is None else done},
            "state_dict": model.state_dict(),
            "optimizer": runner.optimizer.state_dict(),
        }
        with replacing(self._path) as temporary:
            torch.save(content, temporary)
        self._saved_at = time.monotonic()


@HOOKS.register_module()
class ThreadsHook(Hook):  # type: ignore[misc]  # mmcv is untyped
    """Trains on as many threads as there are cores for, at most `limit`.

    Threads wait for each other many times in an iteration. When one of two has to wait for a core, both are
    slower than one alone.
    """

    def __init__(self, limit: int, every_s: float = 1.0) -> None:
        self._limit = limit
        self._every_s = every_s

    def before_run(self, runner: Any) -> None:
        self._cores = Cores()
        self._next = time.monotonic() + self._every_s

    def before_train_iter(self, runner: Any) -> None:
        if time.monotonic() >= self._next:
            torch.set_num_threads(self._cores.threads(self._limit))
            self._next = time.monotonic() + self._every_s


@HOOKS.register_module()
class MetricsHook(Hook):  # type: ignore[misc]  # mmcv is untyped
    """Appends a line of JSON an iteration to `path`: iter (1-based), iterations, losses, lr, seconds, waited,
    threads, eta.

    seconds count this process's training, waited those of them in which the model waited for images; eta is
    in seconds.

    Raises:
        Diverged: a loss is NaN or infinite.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._started = self._done = time.monotonic()
        self._waited = 0.0
        self._first = 0

    def before_run(self, runner: Any) -> None:
        self._started = self._done = time.monotonic()
        self._first = runner.iter

    def before_train_iter(self, runner: Any) -> None:
        self._waited += time.monotonic() - self._done

    def after_train_iter(self, runner: Any) -> None:
        losses = {name: float(value) for name, value in runner.outputs["log_vars"].items()}
        done = runner.iter + 1
        if not all(math.isfinite(value) for value in losses.values()):
            raise Diverged(
                f"training diverged at iteration {done}; lower optimizer.lr in the detector's config"
            )
        seconds = time.monotonic() - self._started
        eta = seconds / (done - self._first) * (runner.max_iters - done)
        line = {
            "iter": done,
            "iterations": runner.max_iters,
            **{name: round(value, 5) for name, value in losses.items()},
            "lr": runner.current_lr()[0],
            "seconds": round(seconds, 2),
            "waited": round(self._waited, 2),
            "threads": torch.get_num_threads(),
            "eta": round(eta, 1),
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._done = time.monotonic()
