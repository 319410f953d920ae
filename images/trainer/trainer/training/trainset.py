"""A round's training images for mmdet, in a file with one line of JSON per image.

mmdet's CocoDataset keeps every image and box in memory. This dataset keeps nine bytes per image, and reads a
line only when its image is needed.
"""

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mmdet.datasets.builder import DATASETS
from mmdet.datasets.pipelines import Compose
from torch.utils.data import Dataset

from labelloop.errors import Explained
from trainer.dataset import junk
from trainer.dataset.labelled import SnapshotImage

# In pixels. Smaller images and boxes are not trained on, as in mmdet's CocoDataset.
MIN_IMAGE_SIDE = 32
MIN_BOX_SIDE = 1


class TooSmall(Explained):
    """No image is large enough to be trained on."""


def lines(images: Iterable[SnapshotImage]) -> Iterator[str]:
    """The file's text for these images, in their order, in pieces to be written as they come.

    A line has file, width and height, boxes (x1, y1, x2, y2 in pixels) without junk, their labels, and the
    ignored boxes, which are neither truth nor background.

    Raises:
        TooSmall: no image has MIN_IMAGE_SIDE pixels on both sides.
    """
    written = left_out = 0
    for image in map(junk.without, images):
        if min(image.width, image.height) >= MIN_IMAGE_SIDE:
            row = {
                "file": image.file,
                "width": image.width,
                "height": image.height,
                "boxes": image.xyxy,
                "labels": image.labels,
                "ignored": [corners for _, corners in image.ignored],
            }
            yield json.dumps(row) + "\n"
            written += 1
        else:
            left_out += 1
    if not written:
        raise TooSmall(
            f"none of the {left_out} training images has {MIN_IMAGE_SIDE} pixels on both sides; "
            "label larger ones"
        )


def offsets(path: Path) -> Sequence[int]:
    """Where each line of a file written from `lines` begins, in bytes, for row_at."""
    found, position = array("q"), 0
    with path.open("rb") as file:
        for line in file:
            found.append(position)
            position += len(line)
    return found


def row_at(path: Path, offset: int) -> dict[str, Any]:
    """The line of the file that begins at this offset. The file is opened each time."""
    with path.open("rb") as file:
        file.seek(offset)
        row: dict[str, Any] = json.loads(file.readline())
    return row


@DATASETS.register_module()
class TrainingImages(Dataset[dict[str, Any]]):
    """Replaces mmdet's CocoDataset. Images without boxes are included.

    ann_file: written from `lines`. img_prefix: the folder to which its file names are relative. pipeline:
    mmdet's steps. flag: (len,) uint8, 1 for images that are wider than high; mmdet makes each batch of one
    kind. The file is opened for each image, so that copies in other processes do not share a file position.
    """

    PALETTE = None

    def __init__(
        self, ann_file: str, img_prefix: str, classes: tuple[str, ...], pipeline: list[dict[str, Any]]
    ) -> None:
        self.CLASSES = classes
        self._path = Path(ann_file)
        self._img_prefix = img_prefix
        self._pipeline = Compose(pipeline)
        offsets, flags, position = array("q"), array("B"), 0
        with self._path.open("rb") as file:
            for line in file:
                row = json.loads(line)
                offsets.append(position)
                flags.append(row["width"] > row["height"])
                position += len(line)
        self._offsets: npt.NDArray[np.int64] = np.array(offsets, dtype=np.int64)
        self.flag: npt.NDArray[np.uint8] = np.array(flags, dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The pipeline's result for an image. If it is None, another image of the same kind is taken."""
        while True:
            found: dict[str, Any] | None = self._pipeline(self._asked(index))
            if found is not None:
                return found
            index = self._rand_another(index)

    def get_cat_ids(self, index: int) -> list[int]:
        """The label of each box of an image, for mmdet's samplers that balance classes."""
        labels: list[int] = self._row(index)["labels"]
        return labels

    def _rand_another(self, index: int) -> int:
        return int(np.random.choice(np.where(self.flag == self.flag[index])[0]))

    def _row(self, index: int) -> dict[str, Any]:
        return row_at(self._path, int(self._offsets[index]))

    def _asked(self, index: int) -> dict[str, Any]:
        """The input of mmdet's pipelines for an image."""
        row = self._row(index)
        return {
            "img_info": {"filename": row["file"], "width": row["width"], "height": row["height"]},
            "ann_info": truth(row),
            "img_prefix": self._img_prefix,
            "seg_prefix": None,
            "proposal_file": None,
            "bbox_fields": [],
            "mask_fields": [],
            "seg_fields": [],
        }


def truth(row: dict[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """bboxes (n, 4) float32, labels (n,) int64, bboxes_ignore (m, 4) float32, without boxes that are under
    MIN_BOX_SIDE or outside the image.
    """
    boxes = np.array(row["boxes"], dtype=np.float64).reshape(-1, 4)
    ignored = np.array(row.get("ignored", []), dtype=np.float64).reshape(-1, 4)
    kept = _usable(boxes, row)
    return {
        "bboxes": boxes[kept].astype(np.float32),
        "labels": np.array(row["labels"], dtype=np.int64)[kept],
        "bboxes_ignore": ignored[_usable(ignored, row)].astype(np.float32),
    }


def _usable(boxes: npt.NDArray[np.float64], row: dict[str, Any]) -> npt.NDArray[np.bool_]:
    """(n,): which of the boxes (n, 4) have MIN_BOX_SIDE and lie inside the image."""
    low, high = boxes[:, :2], boxes[:, 2:]
    inside = np.minimum(high, (row["width"], row["height"])) - np.maximum(low, 0)
    return np.asarray(((high - low >= MIN_BOX_SIDE) & (inside > 0)).all(axis=1))
