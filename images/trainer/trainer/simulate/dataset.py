"""The COCO dataset that is labelled: images, true boxes, and the label config for its categories."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from labelloop.boxes import Boxes
from labelloop.images import image_size
from labelloop.labels import LabelConfig, parse_label_config
from trainer.labelled import LabelledImages, SnapshotImage
from trainer.simulate.errors import DatasetError
from trainer.snapshot import Snapshot
from trainer.split import Side

TRAIN, TEST = "train.json", "test.json"


@dataclass(frozen=True)
class TrueImage:
    """boxes: in pixels, labels index the dataset's classes, clipped to the image."""

    name: str
    path: Path
    sha256: str
    width: int
    height: int
    boxes: Boxes

    def in_snapshot(self, number: int, side: Side) -> SnapshotImage:
        """As image `number` of a snapshot, without a task in Label Studio."""
        return SnapshotImage(
            id=number,
            task=0,
            file=str(self.path),
            sha256=self.sha256,
            width=self.width,
            height=self.height,
            side=side,
            xyxy=tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in self.boxes.xyxy.tolist()),
            labels=tuple(self.boxes.labels.tolist()),
        )


@dataclass(frozen=True)
class Dataset:
    """train: what is labelled. test: what the models are scored on. left_out: images of train.json with the
    bytes of a test image.
    """

    folder: Path
    label_config_xml: str
    train: tuple[TrueImage, ...]
    test: tuple[TrueImage, ...]
    left_out: tuple[str, ...] = ()

    @property
    def label_config(self) -> LabelConfig:
        return parse_label_config(self.label_config_xml)

    @classmethod
    def load(cls, folder: Path, predicted: Mapping[str, str]) -> "Dataset":
        """Reads folder/train.json, folder/test.json and the images in folder/images.

        predicted: by label, the model classes for its `predicted_values`.

        Raises:
            DatasetError: a file is missing or damaged, the two files' categories differ, `predicted` names no
                label, or an image has another size than its file says.
        """
        documents = {name: _read(folder / name) for name in (TRAIN, TEST)}
        classes = _classes(documents[TRAIN])
        if _classes(documents[TEST]) != classes:
            raise DatasetError(f"{folder}: {TRAIN} and {TEST} have different categories")
        unknown = set(predicted) - set(classes.values())
        if unknown:
            raise DatasetError(f"{folder / TRAIN}: no category {min(unknown)!r}, which PREDICTED names")
        test = _images(folder, TEST, documents[TEST], classes)
        scored = {image.sha256 for image in test}
        train = _images(folder, TRAIN, documents[TRAIN], classes)
        return cls(
            folder,
            label_config(list(classes.values()), predicted),
            tuple(image for image in train if image.sha256 not in scored),
            test,
            tuple(image.name for image in train if image.sha256 in scored),
        )

    def test_snapshot(self) -> Snapshot:
        """The test images as a hold-out, for trainer.evaluate."""
        images = (image.in_snapshot(number, Side.HOLDOUT) for number, image in enumerate(self.test, 1))
        return Snapshot(0, self.label_config_xml, LabelledImages(images), (), ())


def label_config(labels: list[str], predicted: Mapping[str, str]) -> str:
    """Label Studio's label config for bounding boxes of these labels."""
    tags = "\n".join(
        f"    <Label value={quoteattr(label)}"
        + (f" predicted_values={quoteattr(predicted[label])}" if label in predicted else "")
        + "/>"
        for label in labels
    )
    return (
        '<View>\n  <Image name="image" value="$image"/>\n  <RectangleLabels name="label" toName="image">\n'
        f"{tags}\n  </RectangleLabels>\n</View>\n"
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {key: list(document[key]) for key in ("images", "annotations", "categories")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is not COCO's json: {type(error).__name__} {error}") from error


def _classes(document: Mapping[str, Any]) -> dict[int, str]:
    """Names by category id, in the order of the ids."""
    return dict(sorted((int(row["id"]), str(row["name"])) for row in document["categories"]))


def _images(
    folder: Path, name: str, document: Mapping[str, Any], classes: Mapping[int, str]
) -> tuple[TrueImage, ...]:
    index = {category: number for number, category in enumerate(classes)}
    boxes: dict[int, list[tuple[float, ...]]] = {row["id"]: [] for row in document["images"]}
    labels: dict[int, list[int]] = {row["id"]: [] for row in document["images"]}
    for row in document["annotations"]:
        if row.get("iscrowd"):
            continue
        try:
            x, y, width, height = row["bbox"]
            boxes[row["image_id"]].append((x, y, x + width, y + height))
            labels[row["image_id"]].append(index[row["category_id"]])
        except (KeyError, ValueError, TypeError) as error:
            what = f"annotation {row.get('id')}"
            raise DatasetError(f"{folder / name}: {what}: {type(error).__name__} {error}") from error
    return tuple(_image(folder, row, boxes[row["id"]], labels[row["id"]]) for row in document["images"])


def _image(folder: Path, row: Mapping[str, Any], boxes: list[Any], labels: list[int]) -> TrueImage:
    path = folder / "images" / row["file_name"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from error
    width, height = image_size(content, str(path))
    if (width, height) != (row["width"], row["height"]):
        raise DatasetError(
            f"{path}: {width} x {height} pixels as a browser shows it, "
            f"{row['width']} x {row['height']} in the json; its boxes would not lie where they belong"
        )
    truth = Boxes.of(boxes, np.ones(len(boxes)), labels).clip(width, height)
    return TrueImage(row["file_name"], path, hashlib.sha256(content).hexdigest(), width, height, truth)
