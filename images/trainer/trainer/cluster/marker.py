"""Whether the machines of a cluster see the same volumes/: by a file that is there on one of them alone."""

import uuid
from dataclasses import dataclass
from pathlib import Path

from labelloop.errors import Explained
from labelloop.files import write_text
from labelloop.settings import Settings

MARKER = ".cluster"
"""Below volumes/rounds: a random id, made once."""


class NoShare(Explained):
    """A machine of the cluster does not see this one's volumes/."""


@dataclass(frozen=True)
class Mark:
    """The id in the marker, and the marker's path on this machine."""

    id: str
    path: Path

    def compare(self, machine: str, theirs: tuple[str, str]) -> None:
        """theirs: what look_at_marker found there.

        Raises:
            NoShare: it is another, or none.
        """
        found, path = theirs
        if found != self.id:
            what = f"is of another volumes/ ({found})" if found else "is not there"
            raise NoShare(
                f"{machine} does not see the same volumes/ as this machine: {path} {what}, and {self.path} "
                f"here says {self.id}. Mount this machine's volumes/ there, or end its worker"
            )


def seen_here(rounds_dir: Path) -> Mark:
    """The mark; it is made where there is none."""
    path = rounds_dir / MARKER
    found = _read(path)
    if not found:
        found = uuid.uuid4().hex
        write_text(path, found + "\n")
    return Mark(found, path)


def look_at_marker() -> tuple[str, str]:
    """On another machine: the id that it sees, "" without one, and the path at which it looked."""
    path = Settings().rounds_dir / MARKER
    return _read(path), str(path)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
