"""The trainer's additions to mmcv's bare loop: metrics, checkpoints and ways to stop."""

import math
import time
from pathlib import Path
from typing import Any

import torch
from mmcv.runner.hooks import HOOKS, Hook

from labelloop.errors import Explained
from trainer.rounds.metrics import Metrics, append
from trainer.rounds.pace import Pace
from trainer.training import together
from trainer.training.cores import Cores
from trainer.training.resuming import save


class Stopped(Exception):
    """Training was told to stop."""


class Diverged(Explained):
    """The loss became NaN or infinite."""


@HOOKS.register_module()
class StopHook(Hook):  # type: ignore[misc]  # mmcv is untyped
    """Raises Stopped before the next iteration when `cancel_file` exists."""

    def __init__(self, cancel_file: str) -> None:
        self._cancel_file = Path(cancel_file)

    def before_train_iter(self, runner: Any) -> None:
        if together.agreed(self._cancel_file.exists()):
            raise Stopped(f"cancelled at iteration {runner.iter} of {runner.max_iters}")


@HOOKS.register_module()
class LastCheckpointHook(Hook):  # type: ignore[misc]  # mmcv is untyped
    """Keeps a checkpoint at `path` that is at most `every_s` seconds old. It is replaced atomically.

    This hook has to run after all others of an iteration, above all after the optimizer's step. every_iters:
    the number of iterations per optimizer step.
    """

    def __init__(self, path: str, every_s: float, every_iters: int = 1) -> None:
        self._path = Path(path)
        self._every_s = every_s
        self._every_iters = every_iters
        self._saved_at = time.monotonic()

    def after_train_iter(self, runner: Any) -> None:
        if (runner.iter + 1) % self._every_iters:
            return
        if together.agreed(time.monotonic() - self._saved_at >= self._every_s):
            self._save(runner, runner.iter + 1)

    def after_run(self, runner: Any) -> None:
        self._save(runner, runner.iter)

    def _save(self, runner: Any, done: int) -> None:
        save(runner, self._path, done)
        self._saved_at = time.monotonic()


@HOOKS.register_module()
class ThreadsHook(Hook):  # type: ignore[misc]  # mmcv is untyped
    """Trains on as many threads as there are free cores, at most `limit`.

    Threads wait for each other many times in an iteration. If one of two threads has to wait for a core, both
    together are slower than one alone.
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
    """Appends each iteration's Metrics to `path`.

    Raises:
        Diverged: a loss is NaN or infinite.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._started = self._done = time.monotonic()
        self._waited = 0.0
        self._pace = Pace()

    def before_run(self, runner: Any) -> None:
        self._started = self._done = time.monotonic()
        self._pace = Pace()
        self._pace.step(self._started)

    def before_train_iter(self, runner: Any) -> None:
        self._waited += time.monotonic() - self._done

    def after_train_iter(self, runner: Any) -> None:
        losses = {name: float(value) for name, value in runner.outputs["log_vars"].items()}
        done = runner.iter + 1
        if not all(math.isfinite(value) for value in losses.values()):
            raise Diverged(
                f"training diverged at iteration {done}; lower optimizer.lr in the detector's config"
            )
        now = time.monotonic()
        self._pace.step(now)
        metrics = Metrics(
            iteration=done,
            iterations=runner.max_iters,
            losses=losses,
            seconds=now - self._started,
            eta=self._pace.left(runner.max_iters - done),
            lr=runner.current_lr()[0],
            waited=self._waited,
            threads=torch.get_num_threads(),
            parts=getattr(runner, "parts", 1),
            processes=together.size(),
        )
        if together.leads():
            append(self._path, metrics)
        self._done = time.monotonic()

    def after_run(self, runner: Any) -> None:
        took = self._done - self._started
        if took > 0 and together.leads():
            share = f"{self._waited:.1f} s, {self._waited / took:.0%},"
            print(f"Of {took:.0f} s of iterations the model waited {share} for images and hooks", flush=True)
