"""A version's proposals on a labelled image, and what correcting them costs."""

from collections.abc import Sequence
from dataclasses import dataclass

from labelloop.boxes import Boxes
from labelloop.detector import Detector
from labelloop.labels import LabelConfig
from labelloop.registry import Card
from labelloop.settings import Settings
from labelloop.tidying import Rules, tidied
from trainer.dataset.labelled import SnapshotImage
from trainer.judging.corrections import on_image
from trainer.judging.effort import CLICK_RIGHT, TABLES

_NO_CARD = Card(detector="", classes=[])


@dataclass(frozen=True)
class Proposals:
    """found: the boxes that are left when each object has one, of all scores; their labels index the
    project's. seconds: what it takes to correct those that are shown, with clicks on what they miss.
    """

    found: Boxes
    seconds: float


def proposals(
    detector: Detector,
    boxes: Boxes,
    image: SnapshotImage,
    config: LabelConfig,
    settings: Settings,
    click_right: float = CLICK_RIGHT,
    thresholds: Sequence[float] | None = None,
) -> Proposals:
    """boxes: what the detector finds in the image. image: without junk. click_right: the chance that a click
    fetches a right box. thresholds: by label; None for the card's.
    """
    card = detector.card or _NO_CARD
    named = detector.label_map(config).apply(boxes)
    found = named.select(tidied(named, Rules.of(card, config)).kept)
    limits = own_thresholds(card, config, settings) if thresholds is None else thresholds
    costs = TABLES[settings.costs].with_clicks(click_right)
    return Proposals(found, on_image(image, found, limits, costs).seconds(costs))


def own_thresholds(card: Card, config: LabelConfig, settings: Settings) -> list[float]:
    """By label, those of a version's card."""
    limits = card.thresholds(config.names_in(card.score_thresholds), settings.score_threshold)
    return [round(float(value), 4) for value in limits]
