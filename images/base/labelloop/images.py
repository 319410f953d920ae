"""Images as a browser shows them: decoding, orientation, size."""

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.Image import Transpose
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from labelloop import decoding, orientation, partial
from labelloop.errors import Explained

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
SUFFIX_OF = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
"""The suffix of a file of each format that `image_format` names and that has one of SUFFIXES."""
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
MAX_PIXELS = 200_000_000
BATCH_PIXELS = 48_000_000
"""Code that reads several images keeps at most so many pixels in memory, unless one image alone has more."""

Pixels = NDArray[np.uint8]
Source = decoding.Source

# Pillow's own limit only warns; `_prepared` enforces MAX_PIXELS before anything is decoded.
Image.MAX_IMAGE_PIXELS = None

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


class ImageAway(ImageError):
    """An image cannot be had for the moment. It need not be damaged: ask again.

    retry_after: the seconds after which its server wants to be asked again; None where asking again soon is
    no use, e.g. as credentials are wrong.
    """

    def __init__(self, message: str, retry_after: float | None = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ImageBusy(ImageAway):
    """An image was not read because other large ones were being decoded. It need not be damaged."""


# A network drive that does not answer is no damage of the file.
_PASSING = {
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENOTCONN,
    errno.EAGAIN,
    errno.ENOMEM,
}


@dataclass(frozen=True)
class Examined:
    """What decoding an image has shown.

    width, height: of the upright image. flaw: what is missing of it, empty for a whole one. torso: so much is
    missing that somebody who looks at the image sees it.
    """

    width: int
    height: int
    flaw: str = ""
    torso: bool = False


@dataclass(frozen=True)
class _Opened:
    """An image of which nothing is decoded yet.

    needed: the bytes that decoding it takes. orientation: by which it is still to be turned once it is
    decoded; Pillow turns a TIFF itself. told: see `orientation.told`.
    """

    image: ImageFile
    needed: int
    orientation: int
    told: bool

    @property
    def size(self) -> tuple[int, int]:
        width, height = self.image.size
        return (height, width) if self.orientation in _SIDEWAYS else (width, height)


@dataclass(frozen=True)
class _Decoded:
    """An image as it is stored, decoded. full: its width and height as shown, before it was made small."""

    image: Image.Image
    orientation: int
    cut: partial.Cut | None
    full: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        width, height = self.image.size
        return (height, width) if self.orientation in _SIDEWAYS else (width, height)


def _error(name: str, error: Exception) -> ImageError:
    passing = isinstance(error, OSError) and error.errno in _PASSING
    return (ImageAway if passing else ImageError)(f"{name}: {_words(error)}")


@contextmanager
def _opened(source: Source, name: str, with_end: bool = False) -> Iterator[_Opened]:
    """The opened image, of which nothing is decoded yet, for the block. with_end: see `partial.WithEnd`."""
    with ExitStack() as held:
        try:
            # Pillow maps a file that it opens itself into memory, and then gets a turned TIFF's sides wrong.
            file: Any = source
            if isinstance(source, Path):
                file = held.enter_context(source.open("rb"))
            elif isinstance(source, bytes):
                file = BytesIO(source)
            image = Image.open(cast(IO[bytes], partial.WithEnd(file)) if with_end else file, formats=FORMATS)
            held.enter_context(image)
            opened = _prepared(image)
        except UnidentifiedImageError:
            why = "the file is empty" if _is_empty(source) else "not an image of a kind we read"
            raise ImageError(f"{name}: {why}") from None
        except Exception as error:
            raise _error(name, error) from error
        yield opened


def _prepared(image: ImageFile) -> _Opened:
    if not 0 < image.width * image.height <= MAX_PIXELS:
        raise decoding.Refused(f"{image.width} x {image.height} pixels; 1 to {MAX_PIXELS:,} can be read")
    needed = decoding.require_room(image)
    shown, told = orientation.shown(image), orientation.told(image)
    orientation.forget(image)
    turned_by_pillow = isinstance(image, TiffImageFile)
    return _Opened(image, needed, orientation.UPRIGHT if turned_by_pillow else shown, told)


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
def _decoded(source: Source, name: str, alone_from: int, small: bool = False) -> Iterator[_Decoded]:
    """The image decoded, as it is stored, for the block. A large image first waits for its turn.

    Of an image that breaks off, what a browser shows is decoded. small: a whole JPEG may be decoded at an
    eighth of its size, which is faster and reads all of the file just the same.
    """
    with ExitStack() as held:
        opened = held.enter_context(_opened(source, name))
        try:
            held.enter_context(decoding.alone(opened.needed, alone_from))
            held.enter_context(decoding.attempt(decoding.key_of(source)))
            decoded = _loaded(opened, source, name, small, held)
        except decoding.Busy as error:
            raise ImageBusy(f"{name}: {error}") from error
        except Exception as error:
            raise _error(name, error) from error
        yield decoded


def _loaded(opened: _Opened, source: Source, name: str, small: bool, held: ExitStack) -> _Decoded:
    image, full = opened.image, opened.size
    in_several_scans = isinstance(image, JpegImageFile) and decoding.in_several_scans(image)
    if small and isinstance(image, JpegImageFile):
        image.draft(image.mode, (max(1, image.width // 8), max(1, image.height // 8)))
    try:
        image.load()
        return _Decoded(image, opened.orientation, None, full)
    except Exception as error:
        if image.format not in partial.FORMATS:
            raise
        try:
            again = held.enter_context(_opened(source, name, in_several_scans))
            return _Decoded(again.image, again.orientation, partial.load(again.image), full)
        except Exception:
            raise error from None


def read_image(source: Source, name: str | None = None, alone_from: int = decoding.ALONE_FROM) -> Pixels:
    """Decodes to (height, width, 3) uint8, blue-green-red, turned as a browser turns it (see `orientation`).

    Grey, palette, CMYK and 16-bit images become 8-bit colour. Transparent pixels are laid on white, as a web
    page shows them. Of an animation the first frame is read. Of an image that breaks off, the rows that a
    browser shows are read, and the others are white.

    name: how messages call the image; by default the file's path. alone_from: see `decoding.alone`.

    Raises:
        ImageError: the image is missing, empty, damaged beyond what a browser shows, no image, over
            MAX_PIXELS, needs more memory than `decoding.given_bytes`, or has killed its readers.
        ImageAway: it cannot be had for the moment. ImageBusy: other large images were being decoded.
    """
    name = _name(source, name)
    with _decoded(source, name, alone_from) as decoded:
        try:
            width, height = decoded.size
            pixels = np.empty((height, width, 3), np.uint8)
            for (left, top), strip in _upright_strips(decoded):
                place = np.s_[top : top + strip.height, left : left + strip.width]
                # Pillow writes the other order as fast as its own; NumPy takes half as long as decoding.
                stored = np.frombuffer(strip.tobytes("raw", "BGR"), np.uint8)
                pixels[place] = stored.reshape(strip.height, strip.width, 3)
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
    with _decoded(source, name, decoding.ALONE_FROM) as decoded:
        try:
            page = image = decoded.image
            as_it_is = decoded.orientation == orientation.UPRIGHT and decoded.cut is None
            if image.mode != "RGB" or "transparency" in image.info or not as_it_is:
                page = Image.new("RGB", decoded.size)
                for place, strip in _upright_strips(decoded):
                    page.paste(strip, place)
        except Exception as error:
            raise ImageError(f"{name}: {_words(error)}") from error
        yield page


def examine(source: Source, name: str | None = None) -> Examined:
    """Decodes an image without keeping its pixels.

    Raises:
        ImageError, ImageBusy: as read_image does.
    """
    name = _name(source, name)
    with _decoded(source, name, decoding.ALONE_FROM, small=True) as decoded:
        try:
            for _ in _upright_strips(decoded):
                pass
        except Exception as error:
            raise ImageError(f"{name}: {_words(error)}") from error
        (width, height), cut = decoded.full, decoded.cut
        return Examined(width, height, cut.words, cut.torso) if cut else Examined(width, height)


def check_image(source: Source, name: str | None = None) -> tuple[int, int]:
    """Checks that `read_image` can read an image; returns its width and height as `image_size` does.

    Raises:
        ImageError, ImageBusy: as read_image does.
    """
    found = examine(source, name)
    return found.width, found.height


def image_size(source: Source, name: str | None = None) -> tuple[int, int]:
    """Width and height in pixels as a browser shows the image, without decoding it.

    Raises:
        ImageError: as read_image does, except for damage after the header.
    """
    with _opened(source, _name(source, name)) as opened:
        return opened.size


def image_format(source: Source, name: str | None = None) -> str:
    """One of FORMATS, by the image's first bytes. Raises ImageError: as `image_size` does."""
    with _opened(source, _name(source, name)) as opened:
        return opened.image.format or ""


def is_turned(source: Source, name: str | None = None) -> bool:
    """Whether other programs may show the image in another way than `read_image` reads it: its stored pixels
    are not upright, it holds an orientation that browsers ignore, or it breaks off.

    Raises:
        ImageError: as `image_size` does.
    """
    with _opened(source, _name(source, name)) as opened:
        return opened.told or partial.breaks_off(opened.image)


def _upright_strips(decoded: _Decoded) -> Iterator[tuple[tuple[int, int], Image.Image]]:
    """The upright image in RGB, piece by piece, each with its left and top.

    In pieces, no conversion needs as much memory as the whole image would.
    """
    image, turned = decoded.image, decoded.orientation
    rows = max(1, _STRIP_PIXELS // image.width)
    stretch = _stretch(image, rows) if _is_deep(image) else None
    for first in range(0, image.height, rows):
        end = min(first + rows, image.height)
        strip = _to_rgb(image.crop((0, first, image.width, end)), stretch)
        if decoded.cut is not None:
            strip = _with_white(strip, decoded.cut.lacks[first:end])
        if turned in _TURNS:
            strip = strip.transpose(_TURNS[turned])
        start = image.height - end if turned in _FROM_THE_END else first
        yield ((start, 0) if turned in _SIDEWAYS else (0, start)), strip


def _with_white(strip: Image.Image, rows: NDArray[np.bool_]) -> Image.Image:
    pixels = np.array(strip)
    pixels[rows] = 255
    return Image.fromarray(pixels)


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
