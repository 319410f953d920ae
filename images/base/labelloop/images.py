"""Images as a browser shows them: decoding, orientation, size."""

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
MAX_PIXELS = 200_000_000

Pixels = NDArray[np.uint8]

# Pillow's own limit only warns; `_open` enforces MAX_PIXELS before anything is decoded.
Image.MAX_IMAGE_PIXELS = None

_ORIENTATION_TAG = 0x0112
_SIDEWAYS = (5, 6, 7, 8)


class ImageError(Exception):
    """An image that cannot be used; the message names it and says why."""


def _open(source: Path | bytes, name: str) -> Image.Image:
    try:
        image = Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
    except UnidentifiedImageError:
        empty = not source if isinstance(source, bytes) else source.stat().st_size == 0
        raise ImageError(
            f"{name}: " + ("the file is empty" if empty else "not an image of a kind we read")
        ) from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"{name}: {getattr(error, 'strerror', None) or error}") from error
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"{name}: {image.width} x {image.height} pixels; at most {MAX_PIXELS:,} can be read")
    return image


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
            rgb = _to_rgb(ImageOps.exif_transpose(image) or image)
        except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
            raise ImageError(f"{name}: {error}") from error
    return np.ascontiguousarray(np.asarray(rgb)[:, :, ::-1])


def image_size(source: Path | bytes, name: str | None = None) -> tuple[int, int]:
    """Width and height in pixels, EXIF orientation applied, without decoding the pixels.

    Raises:
        ImageError: as read_image does, save for damage behind the header.
    """
    with _open(source, name or (str(source) if isinstance(source, Path) else "image")) as image:
        try:
            sideways = image.getexif().get(_ORIENTATION_TAG) in _SIDEWAYS
        except (OSError, ValueError, SyntaxError):
            sideways = False
        return (image.height, image.width) if sideways else (image.width, image.height)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_8_bits(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        page = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(page, rgba).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(values: NDArray[np.generic]) -> Pixels:
    """16-bit values by their upper byte, as browsers do; other ranges are stretched to 0..255."""
    numbers = values.astype(np.float64)
    if values.dtype == np.uint16 or (numbers.min() >= 0 and 255 < numbers.max() <= 65535):
        return (numbers / 257.0).round().astype(np.uint8)
    low, high = float(np.nanmin(numbers)), float(np.nanmax(numbers))
    if low >= 0 and high <= 255:
        return numbers.astype(np.uint8)
    return ((numbers - low) * (255.0 / max(high - low, 1e-12))).round().astype(np.uint8)
