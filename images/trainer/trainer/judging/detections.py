"""A version's boxes on image files, in the project's labels: for scoring, the dashboard and simulations."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from labelloop.batches import weighed_batches
from labelloop.boxes import Boxes
from labelloop.detector import Detector
from labelloop.images import BATCH_PIXELS, ImageError, image_size, read_or_reason
from labelloop.labels import LabelMap
from labelloop.settings import Settings

READ_AT_ONCE = 8


def load_detector(folder: Path, settings: Settings) -> Detector:
    """Loads a version's folder, with the device and the number of threads in the settings.

    Raises:
        registry.RegistryError: the folder holds no model that loads.
    """
    import torch

    torch.set_num_threads(settings.threads)
    cuda = settings.accelerator == "cuda" and torch.cuda.is_available()
    return Detector.load(folder, "cuda:0" if cuda else "cpu")


def detections(
    detector: Detector, label_map: LabelMap, files: Sequence[Path]
) -> Iterator[Boxes | ImageError]:
    """As `found`, in the project's labels."""
    return in_labels(label_map, found(detector, files))


def in_labels(label_map: LabelMap, boxes: Iterable[Boxes | ImageError]) -> Iterator[Boxes | ImageError]:
    """Each image's boxes, of a detector's classes, in the project's labels."""
    return (one if isinstance(one, ImageError) else label_map.apply(one) for one in boxes)


def found(detector: Detector, files: Sequence[Path]) -> Iterator[Boxes | ImageError]:
    """Each file's boxes, in the detector's classes, or the reason why it cannot be read, in the files' order.

    At most READ_AT_ONCE images are in memory, or as many as the detector takes at once, and at most
    BATCH_PIXELS unless one image alone has more.
    """
    for batch in weighed_batches(files, max(READ_AT_ONCE, detector.batch_size), _pixels, BATCH_PIXELS):
        read = [read_or_reason(file) for file in batch]
        boxes = iter(detector.predict([image for image in read if not isinstance(image, ImageError)]))
        for image in read:
            yield image if isinstance(image, ImageError) else next(boxes)


def _pixels(file: Path) -> int:
    try:
        width, height = image_size(file)
    except (ImageError, OSError):
        return 0
    return width * height
