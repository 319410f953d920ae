"""A few training steps with a detector on made images, as trainer.training.learn takes them, to time them."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv import Config
from mmcv.runner.hooks import HOOKS, Hook
from mmdet.apis import set_random_seed, train_detector
from mmdet.datasets import build_dataset

from labelloop.detector import load_detector_config, look_of
from labelloop.settings import Settings
from trainer.training import loading as _loading  # noqa: F401 - registers the loader with mmdet
from trainer.training import pasting as _pasting  # noqa: F401 - registers its step with mmdet
from trainer.training import trainset as _trainset  # noqa: F401 - registers the dataset with mmdet
from trainer.training.cores import Usage, usage
from trainer.training.fit import new_model
from trainer.training.job import SEED, Job
from trainer.training.learn import quicken, take_precision
from trainer.training.length import DEFAULT_ITERATIONS
from trainer.training.recipe import fit_data, fit_gpu, fit_look, fit_model, fit_run
from trainer.training.speed import (
    BOXES,
    CLASSES,
    CPU_BATCH,
    HOPELESS,
    IMAGES,
    SIZE,
    STEPS,
    WARM_UP,
    Measured,
    alone_s,
    areas,
)

ANNOTATIONS = "images.jsonl"
STATES = 3
"""Per parameter: its gradient, and two moments of the optimizer."""


class Timed(Exception):
    """Enough iterations were timed. usages: before the first, and after each. rough: the first was so slow
    that no other was waited for, although the first takes longer than others.
    """

    def __init__(self, usages: Sequence[Usage], rough: bool) -> None:
        super().__init__(f"{len(usages) - 1} iterations were timed")
        self.usages, self.rough = usages, rough


@HOOKS.register_module()
class TimesHook(Hook):  # type: ignore[misc]  # mmcv is untyped
    """Raises Timed as soon as enough iterations were timed. hopeless_s: see Timed.rough; in seconds."""

    def __init__(self, hopeless_s: float, threads: int, cores: int) -> None:
        self._hopeless_s, self._threads, self._cores = hopeless_s, threads, cores
        self._usages: list[Usage] = []

    def before_run(self, runner: Any) -> None:
        self._usages = [usage()]

    def after_train_iter(self, runner: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._usages.append(usage())
        taken_s, _ = alone_s(self._usages[-2], self._usages[-1], self._threads, self._cores)
        taken = len(self._usages) - 1
        rough = taken == 1 and taken_s > self._hopeless_s
        if rough or taken == WARM_UP + STEPS:
            raise Timed(self._usages, rough)


def make_images(folder: Path) -> None:
    """Writes the images, and the file that TrainingImages reads."""
    random, (width, height) = np.random.default_rng(0), SIZE
    rows = []
    for number in range(IMAGES):
        pixels = np.full((height, width, 3), random.integers(80, 176, 3), dtype=np.uint8)
        corners = []
        for _ in range(BOXES):
            side = random.integers(30, height // 3)
            left, top = random.integers(0, width - side), random.integers(0, height - side)
            pixels[top : top + side, left : left + side] = random.integers(0, 255, 3)
            corners.append([int(left), int(top), int(left + side), int(top + side)])
        cv2.imwrite(str(folder / f"{number}.jpg"), pixels)
        labels = [index % len(CLASSES) for index in range(BOXES)]
        rows.append(
            {"file": f"{number}.jpg", "width": width, "height": height, "boxes": corners, "labels": labels}
        )
    (folder / ANNOTATIONS).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def measure(detector: str, settings: Settings, folder: Path, ready_s: float) -> Measured:
    """Measures one detector on the images of make_images.

    Raises:
        DetectorError: it has no config.
    """
    cores = len(os.sched_getaffinity(0))
    device = "cuda" if settings.accelerator == "cuda" and torch.cuda.is_available() else "cpu"
    cv2.setNumThreads(1)
    torch.set_num_threads(settings.threads)
    set_random_seed(SEED)
    config = load_detector_config(detector, settings)
    fit_model(config, CLASSES)
    fit_look(config)
    iterations = int(config.get("loop", {}).get("iterations", DEFAULT_ITERATIONS))
    look, (mean_area, largest_area) = look_of(config), areas(config)
    model = new_model(config)
    quicken(model)
    model.CLASSES = CLASSES
    batch = _fit(config, model, _job(detector, settings), folder, device)
    whole = batch / config.data.samples_per_gpu * mean_area
    hopeless_s = HOPELESS * settings.round_minutes * 60 / (iterations * whole)
    _time(config, hopeless_s, settings.threads, cores)

    memory = _Memory(device)
    fixed = memory.now() + sum(p.numel() for p in model.parameters()) * 4 * STATES
    timed = _run(config, model)
    grown = max(memory.peak() - fixed, 0.0) * batch / config.data.samples_per_gpu * largest_area
    first = 0 if timed.rough else WARM_UP
    seconds, share = alone_s(timed.usages[first], timed.usages[-1], settings.threads, cores)
    return Measured(
        iterations=iterations,
        iteration_s=round(seconds / (len(timed.usages) - 1 - first) * whole, 4),
        look_s=round(_look_s(model, look, device, settings.threads, cores), 4),
        ready_s=round(ready_s, 2),
        memory_gb=round((fixed + grown) / 1e9, 2),
        gpu_gb=round(torch.cuda.get_device_properties(0).total_memory / 1e9, 2) if device == "cuda" else None,
        share=round(share, 2),
        rough=timed.rough,
    )


def _job(detector: str, settings: Settings) -> Job:
    return Job(
        project_id=0,
        detector=detector,
        why="its speed is measured",
        parent=None,
        start="at random",
        start_weights="",
        start_classes=list(CLASSES),
        iterations=WARM_UP + STEPS + 1,
        threads=settings.threads,
        accelerator=settings.accelerator,
    )


def _fit(config: Config, model: Any, job: Job, folder: Path, device: str) -> int:
    """Fits the config to a short run on the made images; returns the batch that a round would have."""
    fit_data(config, folder / ANNOTATIONS, folder, CLASSES)
    fit_run(config, folder, job, device)
    if device == "cuda":
        fit_gpu(config, device, take_precision(job, config, model, device))
    batch = int(config.data.samples_per_gpu)
    if device == "cpu":
        config.data.samples_per_gpu = min(batch, CPU_BATCH)
    return batch


def _time(config: Config, hopeless_s: float, threads: int, cores: int) -> None:
    """Has the iterations timed, and neither checkpoints nor metrics written."""
    kept = [hook for hook in config.custom_hooks if hook["type"] == "ThreadsHook"]
    times = dict(type="TimesHook", hopeless_s=hopeless_s, threads=threads, cores=cores, priority="LOWEST")
    config.custom_hooks = [*kept, times]


def _run(config: Config, model: Any) -> Timed:
    try:
        train_detector(model, build_dataset(config.data.train), config, meta={})
    except Timed as timed:
        return timed
    raise RuntimeError("training ended before its iterations were timed")


def _look_s(model: Any, side: int, device: str, threads: int, cores: int) -> float:
    """The seconds to look at one image of this side, which is asked for twice."""
    image = torch.zeros(1, 3, side, side, device=device)
    model.to(device).eval()
    seconds = 0.0
    with torch.no_grad():
        for _ in range(2):
            before = usage()
            model.forward_dummy(image)
            if device == "cuda":
                torch.cuda.synchronize()
            seconds, _share = alone_s(before, usage(), threads, cores)
    return seconds


class _Memory:
    """This process's memory, or its part of the GPU's, in bytes. The peak is counted from here on."""

    def __init__(self, device: str) -> None:
        self._cuda = device == "cuda"
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")  # begins the peak anew

    def now(self) -> float:
        return float(torch.cuda.memory_allocated()) if self._cuda else _status("VmRSS")

    def peak(self) -> float:
        return float(torch.cuda.max_memory_reserved()) if self._cuda else _status("VmHWM")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    row = next(line for line in lines if line.startswith(f"{name}:"))
    return float(row.split()[1]) * 1024
