"""A detector's boxes on the GPU against the CPU's, by the same weights."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from labelloop.detector import Detector, load_detector_config
from labelloop.images import Pixels
from labelloop.precision import can_mix, choices, mix
from labelloop.settings import Settings
from trainer.demo.parts import picture
from trainer.gpu_check.lines import Line
from trainer.gpu_check.place import Place, exact_arithmetic, peak_memory
from trainer.training.fit import new_model
from trainer.training.gap import Gap, Limits
from trainer.training.head import class_rows
from trainer.training.mixed import compared
from trainer.training.recipe import fit_model
from trainer.training.weights import WeightsError, cached

CLASSES = [f"class {number}" for number in range(80)]
STRONGEST = 50
"""Of each detector's boxes on a picture, so many are compared."""
LIMITS = Limits(iou=0.99, pixels=0.5, score=0.005)
TOLERATED = 0.02
SPREAD = 30.0
"""How far the class scores of random weights are pulled apart: at first all are the same."""


def check(place: Place) -> Iterator[Line]:
    images = pictures(4)
    for name in place.boxes:
        state, origin = weights(name, place.settings)
        on_cpu = build(name, state, place.settings, "cpu")
        with exact_arithmetic(), peak_memory(place) as peak:
            on_gpu = build(name, state, place.settings, place.device)
            gap = gap_of(on_cpu, on_gpu, images)
        figures = {"weights": origin, "compared": str(gap), **peak.figures}
        wanted = f"an IoU of {LIMITS.iou} and scores within {LIMITS.score} for all but {TOLERATED:.0%}"
        yield Line("boxes", name, gap.same and gap.boxes > 0, figures, wanted)
        for precision in choices(place.device) if can_mix(on_gpu.model) else ():
            mixed = build(name, state, place.settings, place.device)
            mix(mixed.model, precision, place.device)
            found = compared(on_gpu, mixed, images)
            verdict = "may serve" if found.same and found.boxes else "may not serve"
            yield Line("boxes", f"{name} in {precision}", True, {"compared": str(found), "so it": verdict})


def gap_of(expected: Detector, found: Detector, images: list[Pixels]) -> Gap:
    """The gap between the strongest boxes of two detectors."""
    gap = Gap(limits=LIMITS, tolerated=TOLERATED)
    for ours, theirs in zip(expected.predict(images), found.predict(images), strict=True):
        least = np.sort(ours.scores)[-STRONGEST:].min(initial=1.0)
        gap.add(ours, theirs, np.full(len(expected.classes), least, dtype=np.float32))
    return gap


def pictures(count: int) -> list[Pixels]:
    return [np.ascontiguousarray(np.asarray(picture(number).image)[:, :, ::-1]) for number in range(count)]


def build(name: str, state: Mapping[str, Any], settings: Settings, device: str) -> Detector:
    config = load_detector_config(name, settings)
    fit_model(config, CLASSES)
    return Detector.build(config, dict(state), CLASSES, device)


def weights(name: str, settings: Settings) -> tuple[Mapping[str, torch.Tensor], str]:
    """Published weights from the cache, without asking the network; else random ones whose scores are spread
    out, so that there are boxes to compare. And where they come from.
    """
    try:
        if (found := cached(name, settings)) is not None:
            return found.state, found.source
    except WeightsError:
        pass
    config = load_detector_config(name, settings)
    fit_model(config, CLASSES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = new_model(config).state_dict()
    rows = class_rows(config, len(CLASSES))
    for key, value in state.items():
        if key in rows and value.dim() > 1:
            value *= SPREAD
        if "multi_level_conv" in key and value.dim() == 1:  # YOLOX is sure of nothing at first
            value.zero_()
    return state, "random"
