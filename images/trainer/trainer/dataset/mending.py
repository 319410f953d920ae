"""Takes junk boxes out of an annotation: those that trainer.dataset.junk finds, and boxes without an area."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labelloop.labels import LabelConfig
from labelloop.regions import ANSWERS, read_regions
from trainer.dataset import junk
from trainer.dataset.labelled import Corners, SnapshotImage
from trainer.dataset.left_out import Kind
from trainer.dataset.rewriting import Edit
from trainer.dataset.split import Side

Json = Mapping[str, Any]

WORDS = {
    Kind.OUTSIDE: "outside the image",
    Kind.SPECK: "a speck",
    Kind.SLIVER: "a sliver",
    Kind.NESTED: "twice",
}


@dataclass(frozen=True)
class Mended:
    """An annotation's results without junk. gone: the results that were taken out; taken_out: the boxes among
    them, in words.
    """

    results: list[Any]
    gone: tuple[Any, ...]
    taken_out: tuple[str, ...]

    @property
    def edit(self) -> Edit | None:
        return Edit(self.gone, ()) if self.gone else None


def mend(results: Sequence[Any], config: LabelConfig, size: tuple[int, int]) -> Mended:
    """The results without regions of which every box is junk, and without what hangs on these regions.

    size: width and height of the image in pixels. Boxes that are ignored, and regions that cannot be
    understood, stay: a person has to look at them.
    """
    boxes, bare = _boxes(results, config, size)
    found = {box.index: box.kind for box in junk.find(_image(boxes, size))}
    of_region: dict[int, list[Kind | None]] = {}
    for index, (region, _, _) in enumerate(boxes):
        of_region.setdefault(region, []).append(found.get(index))
    kinds = bare | {
        region: kinds[0] for region, kinds in of_region.items() if None not in kinds and kinds[0] is not None
    }
    gone = {results[region].get("id") for region in kinds} - {None}
    stays = [number not in kinds and not hangs_on(row, gone) for number, row in enumerate(results)]
    return Mended(
        [row for row, kept in zip(results, stays, strict=True) if kept],
        tuple(row for row, kept in zip(results, stays, strict=True) if not kept),
        tuple(_told(results[region], kind) for region, kind in sorted(kinds.items())),
    )


def _boxes(
    results: Sequence[Any], config: LabelConfig, size: tuple[int, int]
) -> tuple[list[tuple[int, Corners, int]], dict[int, Kind]]:
    """Each box with the number of its region and its label, and the regions without an area."""
    boxes: list[tuple[int, Corners, int]] = []
    bare: dict[int, Kind] = {}
    for number, row in enumerate(results):
        if not isinstance(row, Mapping) or row.get("type") != "rectanglelabels":
            continue
        found = read_regions([row, *_answers(results, row)], config, size)
        if found.outside or found.thin:
            bare[number] = Kind.OUTSIDE if found.outside else Kind.SPECK
        for (x1, y1, x2, y2), label in zip(
            found.boxes.xyxy.tolist(), found.boxes.labels.tolist(), strict=True
        ):
            boxes.append((number, (x1, y1, x2, y2), label))
    return boxes, bare


def _answers(results: Sequence[Any], region: Json) -> list[Json]:
    """The answers about a region, which may say that it is to be ignored."""
    return [
        row
        for row in results
        if isinstance(row, Mapping) and row.get("type") in ANSWERS and row.get("id") == region.get("id")
    ]


def _image(boxes: Sequence[tuple[int, Corners, int]], size: tuple[int, int]) -> SnapshotImage:
    return SnapshotImage(
        id=0,
        task=0,
        file="",
        sha256="",
        width=size[0],
        height=size[1],
        side=Side.TRAIN,
        xyxy=tuple(corners for _, corners, _ in boxes),
        labels=tuple(label for _, _, label in boxes),
    )


def hangs_on(row: Any, gone: set[Any]) -> bool:
    """Whether a result is an answer about a region that is gone, or a relation with one. gone: their ids."""
    if not isinstance(row, Mapping) or row.get("type") not in ANSWERS:
        return False
    return bool({row.get("id"), row.get("from_id"), row.get("to_id")} & gone)


def _told(region: Json, kind: Kind) -> str:
    value = region["value"]
    names = ", ".join(map(str, value["rectanglelabels"]))
    x, y, width, height = (float(value[side]) for side in ("x", "y", "width", "height"))
    return f"{names}, {WORDS[kind]}: {width:.3g} × {height:.3g} % of the image at {x:.3g}, {y:.3g} %"
