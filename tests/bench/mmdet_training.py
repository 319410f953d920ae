"""mmdet's own training of a round's images, without labelloop's loader, hooks and process.

    python -m bench.mmdet_training bare  ROUND_FOLDER OUT     the round's recipe and iterations
    python -m bench.mmdet_training stock ROUND_FOLDER OUT S   YOLOX-nano's stock schedule, for S seconds

OUT becomes a version's folder without a graph. Prints one JSON object: seconds from start to weights.
"""

import json
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

STARTED = time.monotonic()
STOCK = "yolox/yolox_nano_8x8_300e_coco.py"
STOCK_BATCH = 64


def main(kind: str, folder: Path, out: Path, seconds: float) -> None:
    warnings.simplefilter("ignore")
    import cv2
    import torch
    from mmcv import Config
    from mmdet.apis import set_random_seed, train_detector
    from mmdet.datasets import build_dataset
    from mmdet.models import build_detector

    from labelloop.detector import load_detector_config, load_weights, mmdet_config
    from labelloop.files import write_lines
    from labelloop.registry import Card
    from labelloop.settings import get_settings
    from trainer.dataset.snapshot import Snapshot
    from trainer.training.bundle import config_text
    from trainer.training.job import Job
    from trainer.training.recipe import fit_look, fit_model

    logging.disable(logging.INFO)
    settings, job, snapshot = get_settings(), Job.load(folder), Snapshot.load(folder)
    cv2.setNumThreads(1)
    torch.set_num_threads(job.threads)
    set_random_seed(job.seed)
    config: Any = (
        load_detector_config(job.detector, settings)
        if kind == "bare"
        else Config.fromfile(mmdet_config(STOCK))
    )
    fit_model(config, snapshot.classes)
    fit_look(config)
    served = config_text(config)
    model = build_detector(config.model)
    model.init_weights()
    own = model.state_dict()
    start = load_weights(settings.labelloop_home / job.start_weights)
    model.load_state_dict(own | {key: value for key, value in start.items() if value.shape == own[key].shape})
    model.CLASSES = tuple(snapshot.classes)

    annotations = out.with_suffix(".json")
    write_lines(annotations, snapshot.coco_lines(snapshot.train))
    config.data.train.dataset.update(
        ann_file=str(annotations), img_prefix=str(settings.labelloop_home), classes=tuple(snapshot.classes)
    )
    (_for_iterations if kind == "bare" else _for_seconds)(config, job.iterations, seconds)
    config.checkpoint_config, config.workflow = None, [("train", 1)]
    config.log_config = dict(interval=50, hooks=[])
    config.data.workers_per_gpu, config.data.persistent_workers = 0, False
    config.device, config.gpu_ids, config.seed = "cpu", [0], job.seed
    config.log_level, config.work_dir = "WARNING", str(out.parent)
    train_detector(model, build_dataset(config.data.train), config)

    out.mkdir()
    trained = {key: value for key, value in model.state_dict().items() if not key.startswith("ema_")}
    torch.save(trained, out / "weights.pth")
    (out / "config.py").write_text(served)
    (out / "card.json").write_text(
        Card(
            detector=job.detector, classes=snapshot.classes, dataset_fingerprint=snapshot.fingerprint
        ).model_dump_json()
    )
    print(json.dumps({"seconds": time.monotonic() - STARTED}))


def _for_iterations(config: Any, iterations: int, seconds: float) -> None:
    from trainer.training.recipe import learning_rate_course

    size = config.loop.train_size
    for step in config.data.train.pipeline:
        if "img_scale" in step:
            step["img_scale"] = (size, size)
        if step["type"] == "RandomAffine":
            step["border"] = (-size // 2, -size // 2)
    config.custom_hooks = []
    config.runner = dict(type="IterBasedRunner", max_iters=iterations)
    config.lr_config = learning_rate_course(iterations)


def _for_seconds(config: Any, iterations: int, seconds: float) -> None:
    """The learning rate for our batch, as mmdet's documentation scales it; what EMA has gathered is kept."""
    from mmcv.runner import HOOKS, Hook

    @HOOKS.register_module()
    class EndAtTime(Hook):  # type: ignore[misc]
        """Behind the last complete epoch within the time, when the EMA hook has its weights in the model."""

        def after_train_epoch(self, runner: Any) -> None:
            if time.monotonic() - STARTED > seconds:
                runner._max_epochs = runner.epoch + 1

    config.optimizer.lr *= config.data.samples_per_gpu / STOCK_BATCH
    config.custom_hooks = [*config.custom_hooks, dict(type="EndAtTime", priority="LOWEST")]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]) if len(sys.argv) > 4 else 0.0)
