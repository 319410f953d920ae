"""The hold-out: which labelled images are only ever scored on.

volumes/models/<project id>/split.json records the side of every image that a snapshot has seen labelled, by
the SHA-256 of its bytes. A side, once recorded, never changes.
"""

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path

from labelloop.files import write_text

SPLIT_FILE = "split.json"


class Side(StrEnum):
    TRAIN = "train"
    HOLDOUT = "holdout"


class SplitError(RuntimeError):
    """split.json cannot be read.

    It is not made anew: images that were trained on could end up in the hold-out.
    """


def load(path: Path) -> dict[str, Side]:
    """Sides by the images' SHA-256; empty when there is no file yet.

    Raises:
        SplitError: the file is damaged.
    """
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
    if sides.keys() - recorded.keys():
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"sides": dict(sorted((recorded | sides).items()))}, indent=1)
        write_text(path, text + "\n")
    return sides
