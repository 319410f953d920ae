"""Labelled images as a snapshot has them, without files behind them."""

from trainer.dataset.labelled import SnapshotImage
from trainer.dataset.split import Side


def image(number: int, side: Side = Side.TRAIN, boxes: int = 3) -> SnapshotImage:
    """The hashes' order is not that of the numbers."""
    return SnapshotImage(
        id=number,
        task=100 + number,
        file=f"volumes/images/{number}.jpg",
        sha256=f"{number * 7919 % 10007:064x}",
        width=320,
        height=240,
        side=side,
        xyxy=((1.01, 2.0, 30.55, 40.0),) * boxes,
        labels=(1,) * boxes,
    )
