"""Images as a browser shows them: decoding, orientation, size."""

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from labelloop.errors import Explained

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
MAX_PIXELS = 200_000_000

Pixels = NDArray[np.uint8]

# Pillow's own limit only warns; `_open` enforces MAX_PIXELS before anything is decoded.
Image.MAX_IMAGE_PIXELS = None

_ORIENTATION_TAG = 0x0112
_SIDEWAYS = (5, 6, 7, 8)


class ImageError(Explained):
    """An image that cannot be used; the message names it and says why."""


def _open(source: Path | bytes, name: str) -> Image.Image:
    try:
        image = Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
    except UnidentifiedImageError:
        empty = not source if isinstance(source, bytes) else source.stat().st_size == 0
        raise ImageError(
            f"{name}: " + ("the file is empty" if empty else "not an image of a kind we read")
        ) from None
    except Exception as error:
        raise ImageError(f"{name}: {_words(error)}") from error
    if not 0 < image.width * image.height <= MAX_PIXELS:
        image.close()
        raise ImageError(f"{name}: {image.width} x {image.height} pixels; 1 to {MAX_PIXELS:,} can be read")
    return image


def _words(error: Exception) -> str:
    """Of whatever Pillow's decoders raise over damaged bytes: struct.error, KeyError, zlib.error, …"""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def read_image(source: Path | bytes, name: str | None = None) -> Pixels:
    """Decodes to (height, width, 3) uint8, blue-green-red, EXIF orientation applied.

    Grey, palette, CMYK and 16-bit images become 8-bit colour; what is transparent is laid on white, as a
    page shows
    it; of an animation the first frame counts. name: how messages call the image; by default the file's path.

    Raises:
        ImageError: missing, empty, truncated, not an image, or over MAX_PIXELS.
    """
    name = name or (str(source) if isinstance(source, Path) else "image")
    with _open(source, name) as image:
        try:
            ImageOps.exif_transpose(image, in_place=True)
            return np.ascontiguousarray(np.asarray(_to_rgb(image))[:, :, ::-1])
        except Exception as error:
            raise ImageError(f"{name}: {_words(error)}") from error


def image_size(source: Path | bytes, name: str | None = None) -> tuple[int, int]:
    """Width and height in pixels, EXIF orientation applied, without decoding the pixels.

    Raises:
        ImageError: as read_image does, save for damage behind the header.
    """
    with _open(source, name or (str(source) if isinstance(source, Path) else "image")) as image:
        try:
            sideways = image.getexif().get(_ORIENTATION_TAG) in _SIDEWAYS
        except Exception:  # as in `_words`
            sideways = False
        return (image.height, image.width) if sideways else (image.width, image.height)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_8_bits(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        page = Image.new("RGB", rgba.size, "white")
        page.paste(rgba, mask=rgba)
        return page
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_8_bits(values: NDArray[np.generic]) -> Pixels:
    """16-bit values by their upper byte, as browsers do; other ranges are stretched to 0..255."""
    low, high = float(np.fmin.reduce(values, axis=None)), float(np.fmax.reduce(values, axis=None))
    if values.dtype == np.uint16 or (low >= 0 and 255 < high <= 65535):
        low, scale = 0.0, 1 / 257.0
    elif low >= 0 and high <= 255:
        low, scale = 0.0, 1.0
    else:
        scale = 255.0 / max(high - low, 1e-12)
    with np.errstate(invalid="ignore"):
        stretched = ((values.astype(np.float32) - low) * scale).round()
    pixels: Pixels = np.clip(np.nan_to_num(stretched, copy=False), 0, 255).astype(np.uint8)
    return pixels


def read_or_reason(file: Path) -> Pixels | ImageError:
    """The image, or why it cannot be read."""
    try:
        return read_image(file)
    except ImageError as error:
        return error
