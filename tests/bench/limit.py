"""How far the answer to one task is from its limit: decoding the image, and the network's graph, alone.

In one process, so that every part can be timed, by the backend's own app: request, image, preparation, graph,
boxes, JSON. Times are the process's on all cores (`time.process_time`), which a busy machine changes less
than the clock. With THREADS=1 they add up; with more, threads that wait for each other count too.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from threading import Event
from typing import Any

from bench.options import REPO, Options
from bench.report import Figure, figure
from bench.serving import is_image

from labelloop.connection import USER
from labelloop.detector import Detector
from labelloop.images import Pixels, read_image
from labelloop.registry import Registry
from labelloop.settings import Settings
from labelloop.yolox import Yolox

SECTION = "limit"
IMAGES = 60
WARM_UP = 10
TARGET = 1.3
PASSWORD = "of this run alone"
PROJECT = 1


def run(options: Options) -> Iterator[Figure]:
    """The whole answer against the limit, and each part of it.

    Raises:
        ValueError: COCO has no images, or the starting weights cannot be had or are of no YOLOX.
    """
    import torch

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="labelloop-bench-") as scratch:
        home = Path(scratch)
        settings, files = _home(home, options)
        folder = Registry(settings.models_dir).project(PROJECT).folder("v0000")
        detector = Detector.load(folder, "cpu")
        quick = Yolox.of(detector.model)
        if quick is None:
            raise ValueError(f"{detector.card and detector.card.detector}: parts are timed of a YOLOX alone")
        whole = _answers(settings, files, options)
        looks = 2 if detector.card is not None and detector.card.mirrored else 1
        parts = _parts(quick, files, looks)
        mmdets = [looks * _ms(partial(_as_mmdet, detector, read_image(file)))[0] for file in files]
    least = [sum(row) for row in zip(parts["decode"], parts["graph"], strict=True)]
    command = f"POST /predict in one process, processor time, {len(files)} images, THREADS={options.threads}"
    yield figure(
        SECTION,
        "one task, against decoding and the graph alone",
        median(whole),
        "ms",
        command,
        baseline=median(least),
        at_most=TARGET,
    )
    for name, took in parts.items():
        yield figure(SECTION, f"of it: {name}", median(took), "ms", command)
    rest = median(whole) - sum(median(took) for took in parts.values())
    yield figure(SECTION, "of it: request, image's place, labels, JSON", rest, "ms", command)
    ours = sum(median(parts[name]) for name in ("prepare", "graph", "boxes"))
    name = "prepare, graph and boxes, against mmdet's around the same graph"
    yield figure(SECTION, name, ours, "ms", command, baseline=median(mmdets))


def _home(home: Path, options: Options) -> tuple[Settings, list[Path]]:
    """A home without services: a project with its starting model, and images in its folder."""
    from trainer.training.starting import write_starting_model

    (home / "configs").symlink_to(REPO / "configs")
    settings = Settings.model_validate(
        {
            "labelloop_home": home,
            "threads": options.threads,
            "accelerator": "cpu",
            "backend_password": PASSWORD,
            "api_token": PASSWORD,
        }
    )
    cache = settings.cache_dir / "weights"
    cache.mkdir(parents=True)
    for weights in (REPO / "volumes" / "cache" / "weights").glob("*.pth"):
        shutil.copy2(weights, cache)
    write_starting_model(PROJECT, settings)
    sources = (file for file in sorted((options.coco_dir() / "images").iterdir()) if is_image(file))
    folder = settings.images_dir / "bench"
    folder.mkdir(parents=True)
    files = [Path(shutil.copy2(file, folder)) for file in islice(sources, IMAGES)]
    if not files:
        raise ValueError(f"{options.coco_dir() / 'images'} has no image in it")
    return settings, files


def _answers(settings: Settings, files: list[Path], options: Options) -> list[float]:
    """Milliseconds of each image's request."""
    from mlbackend.app import create_app

    stop = Event()
    client = create_app(settings, Detector.load, stop).test_client()
    labels = options.dataset().label_config_xml
    try:

        def ask(file: Path) -> Any:
            task = {"id": 1, "data": {"image": f"/data/local-files/?d=images/bench/{file.name}"}}
            body = {"tasks": [task], "project": f"{PROJECT}.1", "label_config": labels, "params": {}}
            answer = client.post("/predict", json=body, auth=(USER, PASSWORD))
            if answer.status_code != 200 or "error" in answer.get_json()["results"][0]:
                raise RuntimeError(f"{file.name}: {answer.get_data(as_text=True)[:300]}")

        for file in files[:WARM_UP]:
            ask(file)
        return [_ms(partial(ask, file))[0] for file in files]
    finally:
        stop.set()


def _parts(quick: Yolox, files: list[Path], looks: int) -> dict[str, list[float]]:
    """Milliseconds of each image's parts. looks: 2 where the mirror image takes the same once more."""
    import torch

    took: dict[str, list[float]] = {name: [] for name in ("decode", "prepare", "graph", "boxes")}
    with torch.no_grad():
        for file in files:
            spent, pixels = _ms(partial(read_image, file))
            took["decode"].append(spent)
            spent, (batch, factors) = _ms(partial(quick.batch, [pixels]))
            took["prepare"].append(looks * spent)
            spent, maps = _ms(partial(quick.model.bbox_head, quick.model.extract_feat(batch)))
            took["graph"].append(looks * spent)
            took["boxes"].append(looks * _ms(partial(quick.boxes, maps, factors))[0])
    return took


def _as_mmdet(detector: Detector, image: Pixels) -> Any:
    return detector._infer([image])


def _ms(work: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds of processor time, and what came of it."""
    began = time.process_time()
    found = work()
    return 1000 * (time.process_time() - began), found
