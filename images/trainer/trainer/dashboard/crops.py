"""Small pictures of boxes, with some of what is around them."""

import io
import threading
from dataclasses import dataclass

from PIL.Image import Image, Resampling

from labelloop.images import upright
from labelloop.remote_images import RemoteImages
from labelloop.settings import Settings
from labelloop.task_images import image_name, resolve_task_image

SHOWN_PX = 224
JPEG_QUALITY = 82
AROUND = 0.25
"""Of the box's longer side, so much is shown around it."""
LEAST_PX = 24.0
AT_ONCE = 2
"""So many images are decoded at once, whatever their size and however many a page asks for."""

Place = tuple[float, float, float, float]
_decoding = threading.BoundedSemaphore(AT_ONCE)


@dataclass(frozen=True)
class Frame:
    """The part of an image that is shown of a box, and the box in it. All in pixels of the image.

    >>> Frame.around((10, 10, 20, 10), (1000, 1000))
    Frame(left=50.0, top=25.0, side=300.0, x=50.0, y=75.0, width=200.0, height=100.0)
    """

    left: float
    top: float
    side: float
    x: float
    y: float
    width: float
    height: float

    @classmethod
    def around(cls, place: Place, size: tuple[int, int]) -> "Frame":
        """A square around a box. place: left, top, width, height in percent; size: of the image. It may reach
        beyond the image."""
        x, width = place[0] * size[0] / 100, place[2] * size[0] / 100
        y, height = place[1] * size[1] / 100, place[3] * size[1] / 100
        side = max(max(width, height) * (1 + 2 * AROUND), LEAST_PX)
        left, top = x + width / 2 - side / 2, y + height / 2 - side / 2
        return cls(left, top, side, x - left, y - top, width, height)


def crop(url: str, place: Place, task: int, settings: Settings) -> bytes:
    """A JPEG of a box, SHOWN_PX wide and high. url: of the task's image.

    Raises:
        ImageError: the image cannot be had.
    """
    source = resolve_task_image(url, settings, task, RemoteImages(settings.cache_dir, settings.outside))
    with _decoding, upright(source, image_name(url)) as image:
        return _cut(image, place)


def _cut(image: Image, place: Place) -> bytes:
    frame = Frame.around(place, image.size)
    box = (frame.left, frame.top, frame.left + frame.side, frame.top + frame.side)
    whole = tuple(round(corner) for corner in box)
    shown = image.crop(whole).resize((SHOWN_PX, SHOWN_PX), Resampling.BICUBIC)  # type: ignore[arg-type]
    out = io.BytesIO()
    shown.save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()
