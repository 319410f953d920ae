"""Trains one round's candidate with mmdet, in the process that trainer.training.process starts."""

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import torch
from mmcv import Config
from mmcv.cnn.bricks import Swish
from mmdet.apis import set_random_seed, train_detector
from mmdet.datasets import build_dataset

from labelloop import precision, tidying
from labelloop.detector import load_detector_config, load_weights
from labelloop.errors import Explained
from labelloop.files import fsync_dir, write_lines
from labelloop.images import ImageError, Pixels, read_or_reason
from labelloop.labels import LabelMap
from labelloop.registry import Card
from labelloop.settings import Settings
from trainer.dataset import junk
from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.rounds.folder import CANDIDATE, LAST_CHECKPOINT, TRAIN_IMAGES
from trainer.training import bundle, together, trainset
from trainer.training import loading as _loading  # noqa: F401 - registers the loader with mmdet
from trainer.training import parts as _parts  # noqa: F401 - registers a GPU's runner and its hook
from trainer.training import pasting as _pasting  # noqa: F401 - registers its step with mmdet
from trainer.training.crew import ALONE, Member
from trainer.training.fit import blend, carry_over, head_in_words, knows_every_label, new_model
from trainer.training.head import class_rows
from trainer.training.hooks import Diverged
from trainer.training.job import Job
from trainer.training.pace import KEEP, SLOWEST
from trainer.training.recipe import (
    fit_crew,
    fit_data,
    fit_gpu,
    fit_look,
    fit_model,
    fit_run,
    has_own_steps,
    looks_at_mirror_images,
)
from trainer.training.small_objects import look_of
from trainer.training.working_size import take_look

GRAPH_IMAGES = 32


class OtherConfig(Explained):
    """Machines that train a round together have different configurations of its detector."""


class NoReadableImage(Explained):
    """Every image to train on is gone or damaged."""


def learn(folder: Path, settings: Settings, member: Member = ALONE) -> None:
    """Trains the job in a round's folder, from its last checkpoint if there is one, and writes candidate/.

    member: this process's place among those that train the round together. All of them call this, with the
    crew joined (trainer.training.together); the first one writes.

    Raises:
        hooks.Stopped: training was told to stop. hooks.Diverged: the loss is NaN or infinite.
            OtherConfig: another machine has another one of the detector.
            NoReadableImage, trainset.TooSmall: there is nothing to train on. fit.FitError: the weights are
            from another detector. DetectorError: the job's detector no longer has a config, or that look.
    """
    if (folder / CANDIDATE).is_dir():
        return
    started = time.monotonic()
    job, snapshot = Job.load(folder), Snapshot.load(folder)
    _require_a_readable_image(snapshot, settings)
    cv2.setNumThreads(1)
    threads = member.threads or job.threads
    torch.set_num_threads(threads)
    device = "cuda" if job.accelerator == "cuda" and torch.cuda.is_available() else "cpu"

    if member.leads:
        for leftover in folder.glob(f".{LAST_CHECKPOINT}.*"):  # from a process that was killed
            leftover.unlink()
    set_random_seed(job.seed)
    config = load_detector_config(job.detector, settings)
    take_look(config, job.look)
    fit_model(config, snapshot.classes)
    fit_look(config)
    served = bundle.config_text(config)
    _require_one_config(served, job.detector)
    model = new_model(config)
    start = _start(config, model, job, snapshot, settings.labelloop_home)
    print(f"The head starts with {start.head}", flush=True)
    print(f"Learns at {start.pace:.0%} of the detector's rate", flush=True)
    model.load_state_dict(start.state)
    quicken(model)
    mixed = take_precision(job, config, model, device)
    print(f"Trains in {mixed}", flush=True)
    model.CLASSES = tuple(snapshot.classes)

    annotations = folder / TRAIN_IMAGES
    if member.leads:
        write_lines(annotations, trainset.lines(snapshot.train))
    together.wait()
    fit_data(config, annotations, settings.labelloop_home, snapshot.classes)
    fit_run(config, folder, job, device, member)
    if not member.alone:
        print(f"Trains in {fit_crew(config, member)}", flush=True)
        if device == "cpu":
            together.allow_cpus()
    if device == "cuda":
        fit_gpu(config, device, mixed)
    config.optimizer.lr *= start.pace
    set_random_seed(job.seed + member.rank)
    try:
        train_detector(model, build_dataset(config.data.train), config, distributed=not member.alone, meta={})
    except (RuntimeError, ValueError) as error:
        if not all(torch.isfinite(value).all() for value in model.parameters()):
            raise Diverged(
                f"training diverged ({error}); lower optimizer.lr in the detector's config"
            ) from error
        raise

    if not member.leads:
        return
    boxes_by_class = _boxes_by_class(snapshot)
    card = Card(
        parent=job.parent,
        detector=job.detector,
        classes=snapshot.classes,
        start_weights=job.start,
        head=start.head,
        dataset_fingerprint=snapshot.fingerprint,
        images=len(snapshot.train),
        boxes=sum(boxes_by_class.values()),
        boxes_by_class=boxes_by_class,
        overlaps=tidying.learned(
            ((image.xyxy, image.labels) for image in map(junk.without, snapshot.train)), snapshot.classes
        ),
        look=look_of(config),
        mirrored=looks_at_mirror_images(config),
        seconds=round(time.monotonic() - started, 1),
        device=_device_in_words(device, threads, member.size),
        libraries=bundle.libraries(),
    )
    state: Mapping[str, torch.Tensor] = {
        key: value.detach().cpu() for key, value in model.state_dict().items()
    }
    if start.knows_every_label:
        state = blend(state, start.state, KEEP)
    _write_candidate(folder, served, state, card, HeldOut(snapshot, settings), device)


def take_precision(job: Job, config: Config, model: torch.nn.Module, device: str) -> str:
    """Has a GPU train in 16 bits where it can. Returns: the precision that it trains in."""
    may = job.precision == "auto" and precision.can_mix(model) and not has_own_steps(config)
    found = precision.choices(device) if may else ()
    if not found:
        return precision.FULL
    precision.mix(model, found[0], device)
    return found[0]


@dataclass(frozen=True)
class HeldOut:
    """The first GRAPH_IMAGES readable images of the hold-out, read anew each time."""

    snapshot: Snapshot
    settings: Settings

    def __iter__(self) -> Iterator[Pixels]:
        read = _read(self.snapshot.holdout, self.settings)
        return islice((image for image in read if not isinstance(image, ImageError)), GRAPH_IMAGES)


@dataclass(frozen=True)
class _Start:
    """The weights from which a model is trained.

    head: where the labels' rows in the head come from, in words. knows_every_label: whether no label's rows
    are random, so that there is something to keep. pace: the share of the detector's learning rate.
    """

    state: Mapping[str, torch.Tensor]
    head: str
    knows_every_label: bool
    pace: float


def _start(config: Config, model: torch.nn.Module, job: Job, snapshot: Snapshot, home: Path) -> _Start:
    """The job's start. model: built from `config` and freshly initialised."""
    trained = job.parent is not None
    to_label = LabelMap.build(job.start_classes, snapshot.label_config, trained=trained).to_label
    weights, labels = load_weights(home / job.start_weights), len(snapshot.classes)
    carried = carry_over(model.state_dict(), weights, class_rows(config, labels), to_label, labels)
    known = knows_every_label(to_label, labels) and not carried.lost
    pace = (job.pace or SLOWEST) if known else 1.0
    return _Start(carried.state, head_in_words(to_label, snapshot.classes, carried.lost), known, pace)


def quicken(model: torch.nn.Module) -> None:
    """Makes a CPU do the same computation in three fifths of the time. A GPU gains by it, too.

    The memory format becomes channels last, which is faster for convolutions, unless the model has operators
    of mmcv. PyTorch's SiLU, with one pass over memory, replaces mmcv's Swish, which takes three.
    """
    if not precision.has_operators(model):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, Swish):
                setattr(module, name, torch.nn.SiLU(inplace=True))


def _device_in_words(device: str, threads: int, processes: int) -> str:
    name = torch.cuda.get_device_name() if device == "cuda" else f"cpu, {threads} threads"
    return name if processes == 1 else f"{processes} processes, each: {name}"


def _boxes_by_class(snapshot: Snapshot) -> dict[str, int]:
    counts = Counter(label for image in map(junk.without, snapshot.train) for label in image.labels)
    return {name: counts[index] for index, name in enumerate(snapshot.classes)}


def _require_one_config(text: str, detector: str) -> None:
    """Raises OtherConfig: the processes that train together do not all have this text."""
    digests = together.everyones(hashlib.sha256(text.encode()).hexdigest()[:12])
    if len(set(digests)) > 1:
        told = ", ".join(f"process {number} has {digest}" for number, digest in enumerate(digests, start=1))
        raise OtherConfig(
            f"the machines that train this round have different configurations of the detector {detector} "
            f"({told}): share the head's configs/ with every machine (docs/how-to/several-machines.md)"
        )


def _require_a_readable_image(snapshot: Snapshot, settings: Settings) -> None:
    """Raises NoReadableImage if no image can be read, because mmdet would then draw images for ever."""
    reason = "the snapshot has none"
    for image in _read(snapshot.train, settings):
        if not isinstance(image, ImageError):
            return
        reason = str(image)
    raise NoReadableImage(f"none of the {len(snapshot.train)} training images can be read: {reason}")


def _read(images: Iterable[SnapshotImage], settings: Settings) -> Iterator[Pixels | ImageError]:
    """One after the other, each image, or the reason why it cannot be read."""
    return (read_or_reason(settings.labelloop_home / image.file) for image in images)


def _write_candidate(
    folder: Path,
    config: str,
    state: Mapping[str, torch.Tensor],
    card: Card,
    images: Iterable[Pixels],
    device: str,
) -> None:
    """Writes the candidate's folder, completely or not at all. images: what serves is checked on them."""
    temporary = folder / f".{CANDIDATE}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    bundle.write(temporary, config, state, card, images, device)
    temporary.rename(folder / CANDIDATE)
    fsync_dir(folder)
