"""Turns a detector's config (configs/detectors/) into the config of one round's training.

A detector's config is mmdet's own with a `loop` added:
    loop = dict(train_size=320, test_size=352, iterations=220, paste=0.5)
train_size: the side of an image in training, in pixels. test_size: the side of an image for a model that was
trained so. Both are mmdet's by default. iterations: at 40 labelled images. paste: the share of the training
images that get copies of other images' objects (trainer.training.pasting), none by default. This module sets
everything about data, classes, length and side effects, so that any of mmdet's detectors can be used.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmcv import Config

from trainer.rounds.folder import CANCEL, LAST_CHECKPOINT, METRICS
from trainer.training.crew import ALONE, Member, share
from trainer.training.job import Job

# Processes that load images for a GPU: one a core, so that it waits for none.
LEAST_WORKERS, MOST_WORKERS = 2, 8

DEFAULT_LONG_SIDE = 1333
# Registered with mmdet by trainer.training.trainset, trainer.training.loading and trainer.training.pasting.
DATASET = "TrainingImages"
LOADER = "LoadSnapshotImage"
PASTE = "PasteObjects"
# The memory for decoded images and for pieces of them that are copied into others, in bytes.
CACHE_BYTES = 512 << 20
PIECES_BYTES = 64 << 20
WARMUP_PART = 0.1
FINAL_LR_RATIO = 0.02


def _dicts(node: Any) -> Iterator[dict[str, Any]]:
    """Every dict in a config's node, including the node itself."""
    if isinstance(node, dict):
        yield node
        for value in list(node.values()):
            yield from _dicts(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _dicts(value)


def fit_model(config: Config, classes: Sequence[str]) -> None:
    """Sets the number of classes, and removes weights that mmdet would download: ours are loaded later."""
    for part in _dicts(config.model):
        if "num_classes" in part:
            part["num_classes"] = len(classes)
        initial = part.get("init_cfg")
        if isinstance(initial, dict) and initial.get("type") == "Pretrained":
            part["init_cfg"] = None
        part.pop("pretrained", None)


def fit_look(config: Config) -> None:
    """Sets the image size for a model that was trained here. A published model keeps its makers' size."""
    size = config.get("loop", {}).get("test_size")
    for part in _dicts(config.data.test.pipeline):
        if size is not None and "img_scale" in part:
            part["img_scale"] = (size, size)


def fit_data(config: Config, annotations: Path, images: Path, classes: Sequence[str]) -> None:
    """Replaces mmdet's dataset and loader with ours, at the training size.

    annotations: a file written from trainset.lines. It names files relative to the folder `images`.
    """
    size = config.get("loop", {}).get("train_size")
    parts = list(_dicts(config.data.train))
    for part in parts:
        if "ann_file" in part:
            pipeline = part["pipeline"]
            part.clear()
            part.update(
                type=DATASET,
                ann_file=str(annotations),
                img_prefix=str(images),
                classes=tuple(classes),
                pipeline=pipeline,
            )
        if size is not None and "img_scale" in part:
            part["img_scale"] = (size, size)
        if size is not None and part.get("type") == "RandomAffine":
            part["border"] = (-size // 2, -size // 2)
    sizes = (side for part in parts if "img_scale" in part for side in _sides(part["img_scale"]))
    long_side = max(sizes, default=DEFAULT_LONG_SIDE)
    for part in parts:
        if part.get("type") == "LoadImageFromFile":
            part.clear()
            part.update(type=LOADER, long_side=long_side)
    chance = config.get("loop", {}).get("paste", 0)
    if chance:
        step = dict(
            type=PASTE,
            ann_file=str(annotations),
            img_prefix=str(images),
            long_side=long_side,
            chance=chance,
        )
        for part in parts:
            _put_in(step, part.get("pipeline", []))


def _put_in(step: dict[str, Any], pipeline: list[dict[str, Any]]) -> None:
    """Puts a step before a pipeline flips or resizes the image; not at all into one that does neither."""
    at = (n for n, part in enumerate(pipeline) if part.get("type") in ("RandomFlip", "Resize"))
    first = next(at, None)
    if first is not None:
        pipeline.insert(first, step)


def _sides(img_scale: Any) -> Iterator[int]:
    """The sides in mmdet's (width, height), or in a list of these to draw from."""
    for part in img_scale:
        yield from [part] if isinstance(part, int) else _sides(part)


def looks_at_mirror_images(config: Config) -> bool:
    """Whether versions of a detector look at each image's mirror image too (labelloop.mirrored).

    They do if it is taught by such images: if its training mirrors them left to right, and does not leave
    that out by mmdet's `skip_type_keys`. `mirror=False` in a config's `loop` saves the second look's time.
    """
    parts = list(_dicts(config.data.train))
    left_out = any("RandomFlip" in (part.get("skip_type_keys") or ()) for part in parts)
    taught = any(part.get("type") == "RandomFlip" and _mirrors(part) for part in parts)
    return taught and not left_out and bool(config.get("loop", {}).get("mirror", True))


def _mirrors(flip: Any) -> bool:
    """Whether mmdet's RandomFlip ever mirrors left to right."""
    directions, ratios = flip.get("direction", "horizontal"), flip.get("flip_ratio") or 0
    directions = [directions] if isinstance(directions, str) else directions
    ratios = ratios if isinstance(ratios, list | tuple) else [ratios] * len(directions)
    return any(way == "horizontal" and ratio for way, ratio in zip(directions, ratios, strict=True))


def learning_rate_course(iterations: int) -> dict[str, Any]:
    """mmcv's lr_config: a linear warm-up, then half a cosine."""
    return dict(
        policy="CosineAnnealing",
        min_lr_ratio=FINAL_LR_RATIO,
        by_epoch=False,
        warmup="linear",
        warmup_iters=max(1, round(iterations * WARMUP_PART)),
        warmup_ratio=0.1,
    )


def fit_crew(config: Config, member: Member) -> str:
    """Divides batches over the processes that train together. Returns: what that came to, in words."""
    batch = int(config.data.samples_per_gpu)
    own = share(batch, member.size)
    config.data.samples_per_gpu = own.images
    if not (config.get("auto_scale_lr") or {}).get("enable"):  # else mmdet scales it
        config.optimizer.lr *= own.rate
    # Parts of a detector may have no share in a batch, as a head for labels that none of its images shows.
    config.find_unused_parameters = True
    each = f"{member.size} processes, with {own.images} images of a batch each"
    if own.rate == 1:
        return each
    return (
        f"{each}: batches are of {own.images * member.size} images, as {batch} cannot be divided, at "
        f"{own.rate:.3f} of the learning rate"
    )


def fit_run(config: Config, folder: Path, job: Job, device: str, member: Member = ALONE) -> None:
    """Sets the length, the learning rate schedule and the device, and replaces mmdet's hooks with ours."""
    last, threads = str(folder / LAST_CHECKPOINT), member.threads or job.threads
    config.runner = dict(type="ResumingRunner", max_iters=job.iterations, last=last)
    # mmdet chooses its sampler by the name of mmcv's runner, which ours replaces.
    config.data.setdefault("train_dataloader", {})["runner_type"] = "IterBasedRunner"
    config.lr_config = learning_rate_course(job.iterations)
    config.custom_hooks = [
        dict(
            type="LastCheckpointHook",
            path=last,
            every_s=job.checkpoint_every_s,
            every_iters=(config.get("optimizer_config") or {}).get("cumulative_iters", 1),
            priority="LOWEST",
        ),
        dict(type="MetricsHook", path=str(folder / METRICS)),
        dict(type="StopHook", cancel_file=str(folder / CANCEL)),
    ]
    if device == "cpu":
        config.custom_hooks.append(dict(type="ThreadsHook", limit=threads))
    config.checkpoint_config = None
    config.log_config = dict(interval=1, hooks=[])
    config.workflow = [("train", 1)]
    workers = job.loader_workers
    if workers is None:
        workers = min(max(threads, LEAST_WORKERS), MOST_WORKERS) if device == "cuda" else 0
    config.data.workers_per_gpu, config.data.persistent_workers = workers, workers > 0
    for part in _dicts(config.data.train):
        whole = {LOADER: CACHE_BYTES, PASTE: PIECES_BYTES}.get(part.get("type", ""))
        if whole is not None:  # each process that loads images has separate caches
            part["cache_bytes"] = whole // (max(workers, 1) * member.size)
    config.device = device
    config.gpu_ids = [0]
    config.seed = job.seed
    config.log_level = "INFO"
    config.work_dir = str(folder)
    config.load_from = config.resume_from = None


def has_own_steps(config: Config) -> bool:
    """Whether a detector's config brings an optimizer's hook of its own, which wouldn't scale gradients."""
    hook = (config.get("optimizer_config") or {}).get("type", "OptimizerHook")
    return hook not in ("OptimizerHook", "GradientCumulativeOptimizerHook")


def fit_gpu(config: Config, device: str, precision: str) -> None:
    """Has a GPU train in parts of batches that its memory holds (trainer.training.parts), which come in
    page-locked memory.

    precision: of labelloop.precision. A detector whose config brings an optimizer's hook of its own keeps it.
    """
    config.fp16 = None
    config.runner.pins = device.startswith("cuda")
    if has_own_steps(config):
        return
    options = config.get("optimizer_config") or {}
    config.runner.update(type="PartsRunner", precision=precision, device=device)
    known = {name: options[name] for name in ("grad_clip", "cumulative_iters") if name in options}
    config.optimizer_config = dict(type="StepHook", **known)
