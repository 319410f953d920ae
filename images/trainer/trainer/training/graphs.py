"""Adds a graph to a new version, and keeps it only if it gives the same bounding boxes as the network."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from labelloop import graph
from labelloop.boxes import Boxes
from labelloop.detector import Detector
from labelloop.images import Pixels
from trainer.training.gap import VISIBLE, of_both

MAX_PIXELS_APART = 1.0
MAX_SCORE_APART = 0.01


def add_graph(folder: Path, images: Iterable[Pixels]) -> str:
    """Adds graph.xml and graph.bin to a version's folder (config.py, weights.pth, card.json).

    images: from the hold-out. Graph and network are compared on them and on noise; IMAGES_AT_ONCE are in
    memory. Returns: the text for the card, which says how far the graph is from the network, or "none" and
    why.
    """
    try:
        network = Detector.load(folder, "cpu")
        graph.export(network.model, folder)
        served = Detector.of_graph(folder)
        gaps = [apart(expected, found) for expected, found in of_both(network, served, images)]
        pixels, score = (max((gap[column] for gap in gaps), default=0.0) for column in (0, 1))
        if pixels > MAX_PIXELS_APART or score > MAX_SCORE_APART:
            raise graph.GraphError(f"its boxes are {pixels:.2f} px and {score:.3f} of score off")
    except graph.GraphError as error:
        for name in graph.FILES:
            (folder / name).unlink(missing_ok=True)
        return f"none: {error}"
    return f"OpenVINO; within {pixels:.2g} px and {score:.2g} of score of the network on {len(gaps)} images"


def apart(expected: Boxes, found: Boxes) -> tuple[float, float]:
    """The largest distances between visible boxes of two detections: of an edge, in pixels, and of a score.

    Each box is compared with the nearest box of the same label on the other side; both are infinite when
    there is none.
    """
    pixels = score = 0.0
    for ours, theirs in ((expected, found), (found, expected)):
        for index in np.flatnonzero(ours.scores >= VISIBLE):
            rivals = np.flatnonzero(theirs.labels == ours.labels[index])
            if not len(rivals):
                return float("inf"), float("inf")
            gaps = np.abs(theirs.xyxy[rivals] - ours.xyxy[index]).max(axis=1)
            nearest = int(gaps.argmin())
            pixels = max(pixels, float(gaps[nearest]))
            score = max(score, float(abs(theirs.scores[rivals[nearest]] - ours.scores[index])))
    return pixels, score
