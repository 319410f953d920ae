"""The hold-out: which labelled images are only ever scored on.

volumes/models/<project id>/split.json records the side of every image that a snapshot has seen labelled, by
the SHA-256 of its bytes. A side, once recorded, never changes. .split.json is a copy, for the day when the
first is damaged.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path

from labelloop.files import write_text

SPLIT_FILE = "split.json"

log = logging.getLogger(__name__)


class Side(StrEnum):
    TRAIN = "train"
    HOLDOUT = "holdout"


class SplitError(RuntimeError):
    """Neither copy of split.json can be read.

    It is not made anew: images that were trained on could end up in the hold-out.
    """


def load(path: Path) -> dict[str, Side]:
    """Sides by the images' SHA-256; empty when there is no file yet. A damaged file gives way to its copy.

    Raises:
        SplitError: both are damaged.
    """
    try:
        return _read(path)
    except SplitError as error:
        try:
            recorded = _read(_copy(path))
        except SplitError:
            raise error from None
        if not recorded:
            raise
        log.error("%s; %s takes its place", error, _copy(path).name)
        return recorded


def _copy(path: Path) -> Path:
    return path.with_name(f".{path.name}")


def _read(path: Path) -> dict[str, Side]:
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))["sides"]
        return {digest: Side(side) for digest, side in recorded.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SplitError(
            f"{path} is damaged ({error}); restore it from a backup with `make restore`"
        ) from error


def assign(labelled: Iterable[str], recorded: Mapping[str, Side], percent: int) -> dict[str, Side]:
    """Sides of all labelled images: the recorded ones as they are, the new ones by the order of their hashes.

    Of the new images, in ascending order of their hash, as many go to the hold-out as keep it at `percent` of
    all labelled ones (rounded down).
    """
    digests = set(labelled)
    sides = {digest: recorded[digest] for digest in digests if digest in recorded}
    held = sum(side is Side.HOLDOUT for side in sides.values())
    wanted = len(digests) * percent // 100 - held
    for position, digest in enumerate(sorted(digests - sides.keys())):
        sides[digest] = Side.HOLDOUT if position < wanted else Side.TRAIN
    return sides


def settle(path: Path, labelled: Iterable[str], percent: int) -> dict[str, Side]:
    """`assign` with what `path` records, and the new sides recorded before they are used."""
    recorded = load(path)
    sides = assign(labelled, recorded, percent)
    text = json.dumps({"sides": dict(sorted((recorded | sides).items()))}, indent=1) + "\n"
    for file in (_copy(path), path):
        if not file.is_file() or file.read_bytes() != text.encode():
            write_text(file, text)
    return sides
