"""An image's look in 255 bits (a perceptual hash), by which near-duplicates are found.

It is pHash with more bits: the signs of the 255 lowest frequencies of the image's cosine transform, beside
their median (Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010). The usual 64
bits, and dHash of any length, cannot tell circuit boards apart.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from labelloop.images import Pixels

SIDE, FREQUENCIES, WORDS = 64, 16, 4
NEAR, NEAR_COARSE = 56, 16
"""At most so many bits apart, of all and of the 63 lowest frequencies, two images are near-duplicates.

Measured on 280 circuit boards, 364 blood smears and 200 raccoons: re-saved, resized and brightened copies are
at most 14 bits apart, frames moved by a hundredth of the image 36, by a fiftieth 48 in the median. Different
images are at least 64 apart, two independent ones 128.
"""
SPEAKING = 1.0
"""From this amplitude on, in grey levels, a frequency is more than rounding. In photos 0.94 of them are."""
LOOKS_FILE = "looks.txt"
_NONE = "-"
_BLOCK = 1 << 14

Looks = NDArray[np.uint64]

_places = [(row, column) for row in range(FREQUENCIES) for column in range(FREQUENCIES)]
_ROWS, _COLUMNS = np.array(sorted(_places, key=max)[1:]).T


def look_of(image: Pixels) -> Looks | None:
    """An image's look, (WORDS,) uint64, the lowest frequencies first.

    None when fewer than half of the frequencies say anything, as in an image of one colour or of plain
    stripes: it would be like too many others. image: (height, width, 3) uint8, blue-green-red.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    frequencies = cv2.dct(small)[_ROWS, _COLUMNS]
    if (np.abs(frequencies) >= SPEAKING).mean() < 0.5:
        return None
    bits = np.append(frequencies > np.median(frequencies), False)
    return np.packbits(bits, bitorder="little").view(np.uint64)


def distances(one: Looks, many: Looks) -> NDArray[np.int64]:
    """How many bits the look `one` (WORDS,) is apart from each of `many` (N, WORDS): (N,)."""
    return np.asarray(np.bitwise_count(many ^ one).sum(axis=1, dtype=np.int64))


def are_near(some: Looks, many: Looks, limit: int = NEAR) -> NDArray[np.bool_]:
    """Which of `many` (N, WORDS) are near-duplicates of which of `some` (M, WORDS): (M, N).

    Most pairs are told apart by the first word alone.
    """
    near = np.empty((len(some), len(many)), dtype=bool)
    for start in range(0, len(many), _BLOCK):
        block = many[start : start + _BLOCK]
        coarse = np.bitwise_count(some[:, None, 0] ^ block[None, :, 0]) <= min(NEAR_COARSE, limit)
        rows, columns = np.nonzero(coarse)
        apart = np.bitwise_count(some[rows] ^ block[columns]).sum(axis=1)
        coarse[rows, columns] = apart <= limit
        near[:, start : start + _BLOCK] = coarse
    return near


def groups_of(looks: Looks, limit: int = NEAR, rows: int = 64) -> NDArray[np.int64]:
    """The group of each look (N, WORDS), as the index of the group's first look: (N,).

    Near-duplicates of near-duplicates are of one group. Memory is bounded: `rows` looks are compared with all
    others at once.
    """
    group = np.arange(len(looks))
    for start in range(0, len(looks), rows):
        rest = np.arange(start, len(looks))
        if (group[start : start + rows] == group[start]).all():  # frames of a camera that stands still
            rest = rest[group[start:] != group[start]]
        near = are_near(looks[start : start + rows], looks[rest], limit)
        for row in np.flatnonzero(near.any(axis=1)):
            joined = np.append(group[rest[near[row]]], group[start + row])
            first = int(joined.min())
            for other in np.unique(joined[joined != first]):
                group[group == other] = first
    return group


def read_looks(path: Path) -> Iterator[tuple[str, bytes | None]]:
    """The images' SHA-256 and looks (as bytes) in a file that `looks_lines` wrote; none without a file.

    A line that cannot be read is left out: that image's look is made again.
    """
    with suppress(FileNotFoundError), path.open(encoding="ascii", errors="replace") as file:
        for line in file:
            digest, _, text = line.rstrip("\n").partition(" ")
            with suppress(ValueError):
                look = None if text == _NONE else bytes.fromhex(text)
                if look is None or len(look) == 8 * WORDS:
                    yield digest, look


def looks_lines(looks: Iterable[tuple[str, bytes | None]]) -> Iterator[str]:
    """A file's text, in pieces: one image a line, its SHA-256 and its look in hexadecimal digits."""
    return (f"{digest} {_NONE if look is None else look.hex()}\n" for digest, look in looks)
