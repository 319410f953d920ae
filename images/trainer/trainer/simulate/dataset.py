"""The COCO dataset that is labelled: images, true boxes, and the label config for its categories."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from labelloop.boxes import Boxes
from labelloop.images import ImageError, examine
from labelloop.labels import LabelConfig, LabelConfigError, parse_label_config
from trainer.dataset.labelled import LabelledImages, SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side
from trainer.simulate.coco import Coco, Image
from trainer.simulate.errors import DatasetError

TRAIN, TEST = "train.json", "test.json"


@dataclass(frozen=True)
class TrueImage:
    """boxes: in pixels and clipped to the image; labels index the dataset's classes. flaw: what is missing of
    it.
    """

    name: str
    path: Path
    sha256: str
    width: int
    height: int
    boxes: Boxes
    flaw: str = ""

    def in_snapshot(self, number: int, side: Side) -> SnapshotImage:
        """This image as image `number` of a snapshot, without a task in Label Studio."""
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
    """train: the images to label. test: the images on which models are scored. left_out: images of train.json
    that have the same bytes as a test image. unreadable: images that cannot be read, each with the reason.
    flawed: images that are read although something of them is missing, each with what.
    """

    folder: Path
    label_config_xml: str
    train: tuple[TrueImage, ...]
    test: tuple[TrueImage, ...]
    left_out: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    flawed: tuple[str, ...] = ()

    @property
    def label_config(self) -> LabelConfig:
        return parse_label_config(self.label_config_xml)

    @classmethod
    def load(cls, folder: Path, predicted: Mapping[str, str]) -> "Dataset":
        """Reads folder/train.json, folder/test.json and the images in folder/images.

        predicted: by label, the model classes for its `predicted_values`.

        Raises:
            DatasetError: a file is missing or a JSON damaged, the two files' categories differ or make no
                label config, `predicted` names no label, an image's size differs from the JSON's, no image of
                one of them can be read, or every image of train.json is also a test image.
        """
        train_file, test_file = Coco.read(folder / TRAIN), Coco.read(folder / TEST)
        classes = train_file.classes()
        if test_file.classes() != classes:
            raise DatasetError(f"{folder}: {TRAIN} and {TEST} have different categories")
        unknown = set(predicted) - set(classes.values())
        if unknown:
            raise DatasetError(f"{folder / TRAIN}: no category {min(unknown)!r}, which PREDICTED names")
        repeated = [name for name, count in Counter(map(str.strip, classes.values())).items() if count > 1]
        if repeated:
            raise DatasetError(f"{folder / TRAIN}: the category {repeated[0]!r} stands twice; rename one")
        xml = label_config(list(classes.values()), predicted)
        try:
            parse_label_config(xml)
        except LabelConfigError as error:
            raise DatasetError(f"{folder / TRAIN}: no label config of its categories: {error}") from error
        unreadable: list[str] = []
        test = _images(folder, TEST, test_file, unreadable)
        labelled = _images(folder, TRAIN, train_file, unreadable)
        scored = {image.sha256 for image in test}
        train = tuple(image for image in labelled if image.sha256 not in scored)
        if not train:
            raise DatasetError(f"{folder}: all images of {TRAIN} are in {TEST}, too; none is left to label")
        return cls(
            folder,
            xml,
            train,
            test,
            left_out=tuple(image.name for image in labelled if image.sha256 in scored),
            unreadable=tuple(unreadable),
            flawed=tuple(f"{image.name}: {image.flaw}" for image in (*test, *train) if image.flaw),
        )

    @property
    def remarks(self) -> list[str]:
        """What a person should know about its images, in lines."""
        said = [
            ("Left out, for they are test images, too", self.left_out),
            ("Left out, for they cannot be read", self.unreadable),
            ("Used as far as browsers show them", self.flawed),
        ]
        return [f"{words}: {'; '.join(names)}" for words, names in said if names]

    def test_snapshot(self) -> Snapshot:
        """The test images as a hold-out, for trainer.judging.evaluate."""
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


def _images(folder: Path, split: str, file: Coco, unreadable: list[str]) -> tuple[TrueImage, ...]:
    """The images of one of the two files. Adds those that cannot be read to `unreadable`."""
    index = {category: number for number, category in enumerate(file.classes())}
    boxes: dict[int | str, list[tuple[float, ...]]] = {image.id: [] for image in file.images}
    labels: dict[int | str, list[int]] = {image.id: [] for image in file.images}
    for row in file.annotations:
        if not row.iscrowd:
            x, y, width, height = row.bbox
            boxes[row.image_id].append((x, y, x + width, y + height))
            labels[row.image_id].append(index[row.category_id])
    images = []
    for image in file.images:
        try:
            images.append(_image(folder, image, boxes[image.id], labels[image.id]))
        except ImageError as error:
            unreadable.append(str(error))
    if not images:
        raise DatasetError(f"{folder / split}: none of its images can be read, the last: {unreadable[-1]}")
    return tuple(images)


def _image(
    folder: Path, image: Image, boxes: Sequence[tuple[float, ...]], labels: Sequence[int]
) -> TrueImage:
    """Raises ImageError: it cannot be read. DatasetError: it is missing, or has another size."""
    path = folder / "images" / image.file_name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from error
    examined = examine(content, image.file_name)
    width, height = examined.width, examined.height
    if (width, height) != (image.width, image.height):
        raise DatasetError(
            f"{path}: {width} x {height} pixels as a browser shows it, "
            f"{image.width} x {image.height} in the json; its boxes would not lie where they belong"
        )
    truth = Boxes.of(boxes, np.ones(len(boxes)), labels).clip(width, height)
    digest = hashlib.sha256(content).hexdigest()
    return TrueImage(image.file_name, path, digest, width, height, truth, examined.flaw)
