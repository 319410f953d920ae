"""Which way up an image is shown: EXIF's orientation, as Chromium takes it.

Measured in Chromium 156 (tests/integration/labelstudio/test_what_a_browser_shows.py): it turns a JPEG by its
first EXIF segment, and a PNG by an eXIf chunk before the pixels. It turns no WebP, GIF or BMP, and ignores an
orientation in XMP, in ImageMagick's text chunk, or of another type than SHORT. It does not show a TIFF: Label
Studio's answer is made by `images.upright`, which turns it by its own tag.
"""

import struct

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

UPRIGHT = 1
_TAG, _SHORT = 0x0112, 3
_ENTRY = 12
_PNG_SIGNATURE = 8


def shown(image: Image.Image) -> int:
    """The orientation, 1 to 8, by which a browser turns a freshly opened image. For a TIFF, its tag's."""
    if isinstance(image, TiffImageFile):
        return _checked(image.tag_v2.get(_TAG))
    if isinstance(image, JpegImageFile):
        segments = (data for name, data in image.applist if name == "APP1" and data.startswith(b"Exif\0"))
        return _in_exif(next(segments, b"")[6:])
    if isinstance(image, PngImageFile):
        # Pillow finds chunks behind the pixels only when it decodes, which has not happened yet.
        return _in_exif(image.info.get("exif", b"").removeprefix(b"Exif\0\0"))
    return UPRIGHT


def told(image: Image.Image) -> bool:
    """Whether a freshly opened image holds any orientation but upright, be it one that browsers ignore. Other
    programs may turn it.
    """
    if isinstance(image, TiffImageFile):
        return shown(image) != UPRIGHT
    if isinstance(image, PngImageFile) and _tells_behind_its_pixels(image):
        return True
    try:
        # A PNG's own `getexif` would decode it.
        return shown(image) != UPRIGHT or _checked(Image.Image.getexif(image).get(_TAG)) != UPRIGHT
    except Exception:  # Pillow raises anything over damaged EXIF
        return False


def forget(image: Image.Image) -> None:
    """Drops what Pillow would turn a TIFF by, apart from its tag."""
    for key in ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"):
        image.info.pop(key, None)


def _checked(value: object) -> int:
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def _in_exif(tiff: bytes) -> int:
    """The orientation in a block of EXIF: that of the first entry for it in the first directory."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return UPRIGHT
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    if start + 2 > len(tiff):
        return UPRIGHT
    (count,) = struct.unpack_from(order + "H", tiff, start)
    for at in range(start + 2, min(start + 2 + count * _ENTRY, len(tiff) - _ENTRY + 1), _ENTRY):
        tag, kind, values, value = struct.unpack_from(order + "HHIH", tiff, at)
        if tag == _TAG:
            return _checked(value) if (kind, values) == (_SHORT, 1) else UPRIGHT
    return UPRIGHT


def _tells_behind_its_pixels(image: PngImageFile) -> bool:
    """Whether a PNG has chunks after those of the pixels that may hold EXIF or XMP."""
    file = image.fp
    if file is None:
        return False
    before = file.tell()
    file.seek(_PNG_SIGNATURE)
    pixels_seen = found = False
    while not found and len(head := file.read(8)) == 8:
        pixels_seen |= head[4:] == b"IDAT"
        found = pixels_seen and head[4:] in (b"eXIf", b"iTXt", b"tEXt", b"zTXt")
        file.seek(int.from_bytes(head[:4]) + 4, 1)
    file.seek(before)
    return found
