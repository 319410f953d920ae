"""Estimates the memory that decoding an image takes, and keeps a large image from killing the process.

A file of a few hundred kilobytes can need gigabytes once decoded. So an image is refused when its header says
that decoding would take more than `given_bytes`. All processes of a service together decode one large image
at a time. An image whose reading killed the process twice is not read a third time.
"""

import hashlib
import logging
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from labelloop import locks

log = logging.getLogger(__name__)

Source = Path | bytes | IO[bytes]

MAX_BYTES = 1 << 30
# A scan may be a few bytes long, but the decoder goes over the whole image for it. Encoders write about ten.
MAX_SCANS = 100
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
ALONE_FROM = 64 << 20
WAIT_S = 120.0
LOOK_S = 0.02
WAY_OUT = "save it with fewer pixels, or as a plain JPEG or PNG"
DEATHS = 2

# Bytes per pixel in Pillow's memory; modes not listed take four.
_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
_MADE_OF_IT = 4
_ORIENTATION_TAG, _BITS_TAG, _PHOTOMETRIC_TAG, _SAMPLES_TAG, _ROWS_TAG = 274, 258, 262, 277, 278
_TILE_WIDTH_TAG, _TILE_HEIGHT_TAG = 322, 323


class Refused(Exception):
    """An image was not decoded; the message says why, and what to do."""


class Busy(Refused):
    """Other large images are being decoded, so this one could not have its turn."""


def needed_bytes(image: Image.Image) -> int:
    """The most bytes by which the process grows while an opened image becomes pixels in colour. Decodes
    nothing.
    """
    pixels = image.width * image.height
    stored = pixels * _STORED.get(image.mode, 4)
    return stored + max(_working_bytes(image, pixels, stored), pixels * _MADE_OF_IT)


def _working_bytes(image: Image.Image, pixels: int, stored: int) -> int:
    """The bytes that the format's decoder takes beside the pixels; measured with Pillow 13."""
    if isinstance(image, JpegImageFile):  # the decoder keeps all coefficients if they come in several scans
        return 2 * len(image.getbands()) * pixels if in_several_scans(image) else 0
    if isinstance(image, TiffImageFile):
        turned = stored if image.tag_v2.get(_ORIENTATION_TAG, 1) != 1 else 0
        return max(_strip_bytes(image), turned)
    if image.format == "WEBP":
        return 16 * pixels
    if any(tile[0] == "bmp_rle" for tile in getattr(image, "tile", ())):
        return 2 * pixels
    return 0


def in_several_scans(image: JpegImageFile) -> bool:
    """Whether the components come in more than one scan; also True when the file does not let us tell."""
    if image.info.get("progressive") or image.fp is None:
        return True
    file = image.fp
    file.seek(2)
    while (marker := file.read(2))[:1] == b"\xff" and len(length := file.read(2)) == 2:
        if marker == b"\xff\xda":
            return file.read(1) < bytes([len(image.getbands())])
        file.seek(int.from_bytes(length) - 2, os.SEEK_CUR)
    return True


def _scans(image: JpegImageFile) -> int:
    """The number of scans of a progressive JPEG, including those of an embedded preview; else 1."""
    if not image.info.get("progressive") or image.fp is None:
        return 1
    image.fp.seek(0)
    return int(image.fp.read().count(b"\xff\xda"))


def _strip_bytes(image: TiffImageFile) -> int:
    """The bytes of one strip or tile, which libtiff unpacks at once; it may be larger than the image."""
    tags = image.tag_v2
    if not any(tile[0] == "libtiff" for tile in image.tile):
        return 0
    if _TILE_WIDTH_TAG in tags:
        area = int(tags[_TILE_WIDTH_TAG]) * int(tags.get(_TILE_HEIGHT_TAG, image.height))
    else:
        area = image.width * min(int(tags.get(_ROWS_TAG, image.height)), image.height)
    bits = tags.get(_BITS_TAG, (1,))
    widest = max(bits) if isinstance(bits, tuple) else int(bits)
    raw = area * widest * int(tags.get(_SAMPLES_TAG, 1)) // 8
    return max(raw, 4 * area) if tags.get(_PHOTOMETRIC_TAG) == 6 else raw


def given_bytes() -> int:
    """The bytes that decoding may take: MAX_BYTES, or in a small container a third of its memory."""
    with suppress(OSError, ValueError):  # cgroup v1 has no such file; "max" means that there is no limit
        return min(MAX_BYTES, int(MEMORY_LIMIT.read_text()) // 3)
    return MAX_BYTES


def require_room(image: Image.Image) -> int:
    """The bytes that decoding the image takes, after checking that it may take them.

    Raises:
        Refused: it takes more than `given_bytes`, or is a JPEG with more than MAX_SCANS scans.
    """
    if isinstance(image, JpegImageFile) and (scans := _scans(image)) > MAX_SCANS:
        raise Refused(f"a JPEG in {scans:,} scans, at most {MAX_SCANS} are decoded; {WAY_OUT}")
    needed, given = needed_bytes(image), given_bytes()
    if needed > given:
        raise Refused(
            f"{image.width} x {image.height} pixels as this {image.format} has them ({image.mode}) take "
            f"{needed >> 20:,} MiB to decode, at most {given >> 20:,} are given; {WAY_OUT}"
        )
    return needed


@contextmanager
def alone(needed: int, alone_from: int = ALONE_FROM) -> Iterator[None]:
    """Lets only one large image be decoded at a time.

    A block that needs `alone_from` bytes or more waits until no other such block runs, in this process or in
    another one of the same user with the same temporary folder.

    Raises:
        Busy: the others took longer than WAIT_S.
    """
    if needed < alone_from:
        yield
        return
    with (_folder() / "large.lock").open("a") as file:
        if not locks.take(file, WAIT_S, look_s=LOOK_S):
            raise Busy(f"other large images have been decoded for {WAIT_S:.0f} s; try again later")
        yield


@contextmanager
def attempt(key: str) -> Iterator[None]:
    """Keeps a mark file while the block runs. The mark stays behind if the process dies in the block.

    Raises:
        Refused: DEATHS marks of this key were left behind, and no block of it has ended well since.
    """
    folder = _folder()
    stayed = [mark for mark in folder.iterdir() if mark.name.startswith(key) and _is_left(mark)]
    if len(stayed) >= DEATHS:
        raise Refused(
            f"the program that read it was ended {len(stayed)} times, perhaps for want of memory; it is not "
            f"tried again until the file has changed: {WAY_OUT}"
        )
    mark = folder / f"{key}.{secrets.token_hex(4)}"
    unlocked = folder / f".{mark.name}"
    with ExitStack() as held:
        with suppress(OSError):  # on a full disk the image is read without a mark
            # Written under another name until it is locked, as an unlocked mark counts as one left behind.
            locks.take(held.enter_context(unlocked.open("x")))
            unlocked.rename(mark)
        try:
            yield
        finally:
            for done in (unlocked, mark, *stayed):
                done.unlink(missing_ok=True)


def _is_left(mark: Path) -> bool:
    """Whether the process that made the mark has ended, as the kernel has then freed its lock."""
    with suppress(FileNotFoundError):
        return not locks.is_held(mark)
    return False


def key_of(source: Source) -> str:
    """A key that identifies an image: from its bytes, or from its file's path, size and times.

    Raises:
        OSError: the file is not there.
    """
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(source, bytes):
        digest.update(source)
    elif isinstance(source, Path):
        known = source.stat()
        times = f"{known.st_size}\0{known.st_mtime_ns}\0{known.st_ctime_ns}"
        digest.update(os.fsencode(f"{source.resolve()}\0{times}"))
    else:
        source.seek(0)
        while chunk := source.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _folder() -> Path:
    """The folder for marks, for this user alone. It is in the temporary folder, which a service's processes
    share.
    """
    folder = Path(tempfile.gettempdir()) / f"labelloop-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
        return folder
    return _folder_of_this_process()


@cache
def _folder_of_this_process() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="labelloop-"))
    log.warning(
        "the folder for turns is not ours: this process decodes large images on its own, in %s", folder
    )
    return folder
