"""Serving and bulk pre-labelling on the GPU, at growing batches."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from labelloop.detector import Detector
from labelloop.halving import BatchSize
from labelloop.labels import LabelMap
from labelloop.precision import can_mix, choices, mix
from trainer.demo.parts import picture
from trainer.gpu_check.boxes import build, pictures, weights
from trainer.gpu_check.lines import Line
from trainer.gpu_check.place import Place, peak_memory
from trainer.judging.detections import detections


def check(place: Place) -> Iterator[Line]:
    """Each size in fp32 and in the 16 bits that the device computes in. A size that its memory does not hold
    is halved, which the line says.
    """
    name = place.trained
    state, _ = weights(name, place.settings)
    images = pictures(max(place.batches))
    with tempfile.TemporaryDirectory() as folder:
        files = [_written(Path(folder), number) for number in range(max(place.batches))]
        for precision in ("fp32", *choices(place.device)[:1]):
            detector = build(name, state, place.settings, place.device)
            if precision != "fp32":
                if not can_mix(detector.model):
                    continue
                mix(detector.model, precision, place.device)
            what = f"{name}, {precision}"
            for size in place.batches:
                sized = replace(detector, sizes=BatchSize(size))
                yield _line("serving", what, size, place, sized, partial(sized.predict, images[:size]))
            for size in place.batches:
                sized = replace(detector, sizes=BatchSize(size))
                yield _line("bulk", what, size, place, sized, partial(_read, sized, files[:size]))


def _line(
    check: str, what: str, size: int, place: Place, detector: Detector, once: Callable[[], object]
) -> Line:
    with peak_memory(place) as peak:
        once()
        began, done = time.monotonic(), 0
        while done == 0 or time.monotonic() - began < place.size_s:
            once()
            done += 1
        seconds = (time.monotonic() - began) / done
    figures = {"ms": 1000 * seconds, "images/s": size / seconds, **peak.figures}
    if detector.batch_size != size:
        figures["halved to"] = float(detector.batch_size)
    return Line(check, f"{what}, {size} at once", True, figures)


def _read(detector: Detector, files: list[Path]) -> list[object]:
    """As bulk pre-labelling does: files are read and decoded, too."""
    classes = len(detector.classes)
    label_map = LabelMap(tuple(range(classes)), (), ())
    return list(detections(detector, label_map, files))


def _written(folder: Path, number: int) -> Path:
    path = folder / f"{number}.jpg"
    path.write_bytes(picture(number).jpeg())
    return path
