"""Decodes images that are cut off or damaged, as far as a browser shows them.

Measured in Chromium 156 (tests/integration/labelstudio/test_what_a_browser_shows.py): of a JPEG, PNG or BMP
that breaks off it shows the rows that are complete, and the page behind the others. Of a JPEG in several
scans it shows what the scans so far give. Of a WebP that breaks off it shows nothing.
"""

import io
import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

FORMATS = ("JPEG", "MPO", "PNG", "BMP", "GIF")
END_OF_JPEG = b"\xff\xd9"
# A row of a JPEG's blocks is up to 16 pixels high, and two rows more wait for the next one.
UNNOTICED_ROWS, UNNOTICED_SHARE = 32, 0.05
_LAST_BYTES = 4096
_COMPARED = 8  # pixels at the end of a row
_STRIP_PIXELS = 1 << 18


@dataclass(frozen=True)
class Cut:
    """What an image lacks.

    lacks: for each stored row, whether it is missing. torso: so much is missing that somebody who looks at
    the image sees it; a file that is still being copied is such a one.
    """

    lacks: NDArray[np.bool_]
    torso: bool

    @property
    def words(self) -> str:
        missing, rows = int(self.lacks.sum()), len(self.lacks)
        if not missing:
            return "cut off: its last details are missing"
        return f"cut off: {missing:,} of its {rows:,} rows of pixels are missing"


class WithEnd(io.BufferedIOBase):
    """A JPEG file that is read as if its end marker followed, so that the decoder gives what it has."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self._size = file.seek(0, io.SEEK_END)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size + len(END_OF_JPEG)}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        self._file.seek(min(self._at, self._size))
        wanted = -1 if size is None or size < 0 else size
        found = self._file.read(wanted)
        if wanted < 0 or len(found) < wanted:
            behind = END_OF_JPEG[max(0, self._at - self._size) :]
            found += behind if wanted < 0 else behind[: wanted - len(found)]
        self._at += len(found)
        return found


def load(image: ImageFile) -> Cut:
    """Decodes a freshly opened image as far as that is possible.

    A JPEG in several scans has to be opened through `WithEnd`.

    Raises:
        Exception: whatever Pillow raises, if nothing of the image can be shown as a browser shows it.
    """
    if isinstance(image, JpegImageFile) and isinstance(image.fp, WithEnd):
        torso = not _all_scans_begun(image)
        image.load()
        return Cut(np.zeros(image.height, np.bool_), torso)
    mark = _noise(image.mode, image.width)
    image.im = _tiled(mark, image.height).im
    error: Exception | None = None
    try:
        image.load()
    except Exception as caught:
        error, image.tile = caught, []
    lacks = _rows_like(image, mark)
    missing = int(lacks.sum())
    noticed = missing > max(UNNOTICED_ROWS, len(lacks) * UNNOTICED_SHARE)
    if error is not None:
        # Behind damage in its middle, Pillow decodes a PNG to rows that a browser does not show.
        damaged = image.format == "PNG" and "truncated" not in str(error)
        if damaged or missing == len(lacks) or (noticed and not _in_one_piece(lacks)):
            raise error
    return Cut(lacks, noticed)


def breaks_off(image: ImageFile) -> bool:
    """Whether the file of an opened JPEG or PNG ends without its end mark, as far as its last bytes tell."""
    mark = {"JPEG": END_OF_JPEG, "MPO": END_OF_JPEG, "PNG": b"IEND"}.get(image.format or "")
    if mark is None or image.fp is None:
        return False
    before = image.fp.tell()
    size = image.fp.seek(0, io.SEEK_END)
    image.fp.seek(max(0, size - _LAST_BYTES))
    last = image.fp.read()
    image.fp.seek(before)
    return mark not in last


def _noise(mode: str, width: int) -> Image.Image:
    """A row of pixels that no image has."""
    size = len(Image.new(mode, (width, 1)).tobytes())
    return Image.frombytes(mode, (width, 1), random.Random(0).randbytes(size))


def _tiled(row: Image.Image, height: int) -> Image.Image:
    sheet = Image.new(row.mode, (row.width, height))
    sheet.paste(row)
    done = 1
    while done < height:
        sheet.paste(sheet.crop((0, 0, row.width, min(done, height - done))), (0, done))
        done *= 2
    return sheet


def _rows_like(image: Image.Image, row: Image.Image) -> NDArray[np.bool_]:
    """Which of the rows end as `row` does: the decoder has not written them to their end."""
    end = np.asarray(row)[0, -_COMPARED:]
    same = np.empty(image.height, np.bool_)
    step = max(1, _STRIP_PIXELS // image.width)
    left = max(0, image.width - _COMPARED)
    for first in range(0, image.height, step):
        last = min(first + step, image.height)
        rows = np.asarray(image.crop((left, first, image.width, last)))
        same[first:last] = (rows == end).reshape(last - first, -1).all(axis=1)
    return same


def _in_one_piece(lacks: NDArray[np.bool_]) -> bool:
    """Whether the missing rows are all at the top or all at the bottom. They are not in an interlaced image,
    which browsers show in another way than row by row.
    """
    return int(np.count_nonzero(lacks[1:] != lacks[:-1])) <= 1


def _all_scans_begun(image: JpegImageFile) -> bool:
    """Whether a JPEG in several scans has got as far as its last one: all coefficients of all components have
    begun to come in full precision.
    """
    file = image.fp
    if file is None:
        return False
    file.seek(0)
    content = file.read()
    progressive = bool(image.info.get("progressive"))
    complete: set[int] = set()
    at = content.find(b"\xff\xda", _behind_the_frame(content))
    while at >= 0:
        count = content[at + 4] if at + 4 < len(content) else 0
        scan = content[at + 5 : at + 5 + 2 * count + 3]
        if len(scan) == 2 * count + 3:
            _, last, precision = scan[-3:]
            if not progressive or (last == 63 and precision & 0x0F == 0):
                complete |= set(scan[: 2 * count : 2])
        at = content.find(b"\xff\xda", at + 2)
    return len(complete) >= len(image.getbands())


def _behind_the_frame(content: bytes) -> int:
    """Where a JPEG's segments with meta data end, which may hold a preview with scans of its own."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        if 0xC0 <= content[at + 1] <= 0xCF and content[at + 1] not in (0xC4, 0xC8, 0xCC):
            return at
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    return at
