"""Images as a browser shows them: decoding, orientation, size."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.Image import Transpose
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from labelloop import decoding
from labelloop.errors import Explained

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
MAX_PIXELS = 200_000_000
BATCH_PIXELS = 48_000_000
"""Code that reads several images keeps at most so many pixels in memory, unless one image alone has more."""

Pixels = NDArray[np.uint8]
Source = decoding.Source

# Pillow's own limit only warns; `_open` enforces MAX_PIXELS before anything is decoded.
Image.MAX_IMAGE_PIXELS = None

_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_FROM_THE_END = (3, 4, 6, 7)  # the file's first row becomes the last row or column
_STRIP_PIXELS = 1 << 18


class ImageError(Explained):
    """An image cannot be used; the message names it and says why."""


class ImageBusy(ImageError):
    """An image was not read because other large ones were being decoded. It need not be damaged."""


def _open(source: Source, name: str) -> tuple[Image.Image, int]:
    """The opened image, of which nothing is decoded yet, and the bytes that decoding it takes."""
    try:
        image = Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
    except UnidentifiedImageError:
        why = "the file is empty" if _is_empty(source) else "not an image of a kind we read"
        raise ImageError(f"{name}: {why}") from None
    except Exception as error:
        raise ImageError(f"{name}: {_words(error)}") from error
    try:
        if not 0 < image.width * image.height <= MAX_PIXELS:
            raise decoding.Refused(f"{image.width} x {image.height} pixels; 1 to {MAX_PIXELS:,} can be read")
        return image, decoding.require_room(image)
    except Exception as error:
        if isinstance(source, Path):
            image.close()
        raise ImageError(f"{name}: {_words(error)}") from error


def _is_empty(source: Source) -> bool:
    if isinstance(source, Path):
        return source.stat().st_size == 0
    return not source if isinstance(source, bytes) else source.seek(0, os.SEEK_END) == 0


def _words(error: Exception) -> str:
    """The message for an error of Pillow's decoders, which raise anything over damaged bytes: struct.error,
    KeyError, zlib.error, …
    """
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _name(source: Source, name: str | None) -> str:
    return name or (str(source) if isinstance(source, Path) else "image")


@contextmanager
def _decoded(source: Source, name: str, alone_from: int) -> Iterator[Image.Image]:
    """The image decoded, as it is stored, for the block. A large image first waits for its turn."""
    image, needed = _open(source, name)
    with image, ExitStack() as held:
        try:
            held.enter_context(decoding.alone(needed, alone_from))
            held.enter_context(decoding.attempt(decoding.key_of(source)))
            image.load()
        except decoding.Busy as error:
            raise ImageBusy(f"{name}: {error}") from error
        except Exception as error:
            raise ImageError(f"{name}: {_words(error)}") from error
        yield image


def read_image(source: Source, name: str | None = None, alone_from: int = decoding.ALONE_FROM) -> Pixels:
    """Decodes to (height, width, 3) uint8, blue-green-red, EXIF orientation applied.

    Grey, palette, CMYK and 16-bit images become 8-bit colour. Transparent pixels are laid on white, as a web
    page shows them. Of an animation the first frame is read.

    name: how messages call the image; by default the file's path. alone_from: see `decoding.alone`.

    Raises:
        ImageError: the image is missing, empty, truncated, no image, over MAX_PIXELS, needs more memory than
            `decoding.given_bytes`, or has killed its readers.
        ImageBusy: other large images were being decoded.
    """
    name = _name(source, name)
    with _decoded(source, name, alone_from) as image:
        try:
            width, height = _upright_size(image)
            pixels = np.empty((height, width, 3), np.uint8)
            for (left, top), strip in _upright_strips(image):
                place = np.s_[top : top + strip.height, left : left + strip.width]
                pixels[place] = np.asarray(strip)[:, :, ::-1]
            return pixels
        except Exception as error:
            raise ImageError(f"{name}: {_words(error)}") from error


@contextmanager
def upright(source: Source, name: str | None = None) -> Iterator[Image.Image]:
    """The image that `read_image` decodes, as a Pillow image of mode RGB, for the block.

    Raises:
        ImageError, ImageBusy: as read_image does.
    """
    name = _name(source, name)
    with _decoded(source, name, decoding.ALONE_FROM) as image:
        try:
            size = _upright_size(image)
            page = image
            if image.mode != "RGB" or "transparency" in image.info or _orientation(image) != 1:
                page = Image.new("RGB", size)
                for place, strip in _upright_strips(image):
                    page.paste(strip, place)
        except Exception as error:
            raise ImageError(f"{name}: {_words(error)}") from error
        yield page


def check_image(source: Source, name: str | None = None) -> tuple[int, int]:
    """Checks that `read_image` can read an image; returns its width and height as `image_size` does.

    The image is decoded, and its pixels are not kept.

    Raises:
        ImageError, ImageBusy: as read_image does.
    """
    name = _name(source, name)
    with _decoded(source, name, decoding.ALONE_FROM) as image:
        try:
            for _ in _upright_strips(image):
                pass
            return _upright_size(image)
        except Exception as error:
            raise ImageError(f"{name}: {_words(error)}") from error


def image_size(source: Source, name: str | None = None) -> tuple[int, int]:
    """Width and height in pixels, EXIF orientation applied, without decoding the pixels.

    Raises:
        ImageError: as read_image does, except for damage after the header.
    """
    name = _name(source, name)
    image, _ = _open(source, name)
    with image:
        if not (isinstance(image, PngImageFile) and _told_behind_its_pixels(image)):
            return _upright_size(image)
    return check_image(source, name)


def is_turned(source: Source, name: str | None = None) -> bool:
    """Whether the stored pixels are not upright, so that a tool that ignores EXIF shows them turned.

    Raises:
        ImageError: as `image_size` does.
    """
    name = _name(source, name)
    image, _ = _open(source, name)
    with image:
        if not (isinstance(image, PngImageFile) and _told_behind_its_pixels(image)):
            return _told_orientation(image) != 1
    with _decoded(source, name, decoding.ALONE_FROM) as whole:
        return _told_orientation(whole) != 1


def _told_behind_its_pixels(image: PngImageFile) -> bool:
    """Whether a PNG has EXIF or XMP chunks after those of the pixels. Pillow finds such chunks only when it
    decodes the image.
    """
    file = image.fp
    if file is None or "exif" in image.info:
        return False
    before = file.tell()
    file.seek(8)
    pixels_seen = told = False
    while not told and len(head := file.read(8)) == 8:
        pixels_seen |= head[4:] == b"IDAT"
        told = pixels_seen and head[4:] in (b"eXIf", b"iTXt", b"tEXt", b"zTXt")
        file.seek(int.from_bytes(head[:4]) + 4, 1)
    file.seek(before)
    return told


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8, that is still to be applied. Pillow turns a TIFF itself."""
    return 1 if isinstance(image, TiffImageFile) else _told_orientation(image)


def _told_orientation(image: Image.Image) -> int:
    try:
        found = Image.Image.getexif(image).get(_ORIENTATION_TAG, 1)
    except Exception:  # as in `_words`
        return 1
    return found if found in _TURNS else 1


def _upright_size(image: Image.Image) -> tuple[int, int]:
    sideways = _orientation(image) in _SIDEWAYS
    return (image.height, image.width) if sideways else (image.width, image.height)


def _upright_strips(image: Image.Image) -> Iterator[tuple[tuple[int, int], Image.Image]]:
    """The upright image in RGB, piece by piece, each with its left and top.

    In pieces, no conversion needs as much memory as the whole image would.
    """
    orientation = _orientation(image)
    rows = max(1, _STRIP_PIXELS // image.width)
    stretch = _stretch(image, rows) if _is_deep(image) else None
    for first in range(0, image.height, rows):
        end = min(first + rows, image.height)
        strip = _to_rgb(image.crop((0, first, image.width, end)), stretch)
        if orientation in _TURNS:
            strip = strip.transpose(_TURNS[orientation])
        start = image.height - end if orientation in _FROM_THE_END else first
        yield ((start, 0) if orientation in _SIDEWAYS else (0, start)), strip


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith("I") or image.mode == "F"


def _to_rgb(image: Image.Image, stretch: tuple[float, float] | None) -> Image.Image:
    """Converts the image to mode RGB. stretch: for images with more than 8 bits, see `_stretch`."""
    if stretch is not None:
        low, scale = stretch
        with np.errstate(invalid="ignore"):
            stretched = ((np.asarray(image).astype(np.float32) - low) * scale).round()
        pixels = np.clip(np.nan_to_num(stretched, copy=False), 0, 255).astype(np.uint8)
        return Image.fromarray(pixels).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        page = Image.new("RGB", rgba.size, "white")
        page.paste(rgba, mask=rgba)
        return page
    return image if image.mode == "RGB" else image.convert("RGB")


def _stretch(image: Image.Image, rows: int) -> tuple[float, float]:
    """Offset and factor that bring values of more than 8 bits into 0..255: (value - offset) * factor.

    16-bit values are reduced to their upper byte, as browsers do; other ranges are stretched to 0..255.
    """
    low = high = float("nan")
    kind: np.dtype[np.generic] = np.dtype(np.uint8)
    for first in range(0, image.height, rows):
        values = np.asarray(image.crop((0, first, image.width, min(first + rows, image.height))))
        kind = values.dtype
        low = float(np.fmin(low, float(np.fmin.reduce(values, axis=None))))
        high = float(np.fmax(high, float(np.fmax.reduce(values, axis=None))))
    if kind == np.uint16 or (low >= 0 and 255 < high <= 65535):
        return 0.0, 1 / 257.0
    if low >= 0 and high <= 255:
        return 0.0, 1.0
    return low, 255.0 / max(high - low, 1e-12)


def read_or_reason(file: Path) -> Pixels | ImageError:
    """The image, or why it cannot be read."""
    try:
        return read_image(file)
    except ImageError as error:
        return error
