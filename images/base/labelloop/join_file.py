"""What a machine needs to join a cluster, in one file that its head writes; and where a head leaves its mark.

This module needs only Python's standard library.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from labelloop.clocks import LEEWAY_S
from labelloop.errors import Explained

RENEWED_S = 20.0
"""A head writes its mark anew so often."""
_SEEN_LATE_S = 60.0
"""A network file system may show a file as it was so long ago."""


class NotJoinable(Explained):
    """A join file can't be read, or the head's mark isn't there; the message names the file."""


@dataclass(frozen=True)
class JoinFile:
    """Whoever has it may run programs on every machine of the cluster.

    head: host and port. token: Ray's. authority, authority_key: PEM, of the certificate by which nodes know
    one another, and of the key that signs theirs. version: of the head's code. mark: the head's, see `Mark`.
    """

    head: str
    token: str
    authority: str
    authority_key: str
    version: str
    mark: str

    @classmethod
    def read(cls, path: Path) -> JoinFile:
        """Raises NotJoinable: it can't be read, or isn't one."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            names = [field.name for field in fields(cls)]
            return cls(**{name: str(found[name]) for name in names})
        except OSError as error:
            raise NotJoinable(f"{path} can't be read ({error.strerror}).") from error
        except (ValueError, TypeError, KeyError) as error:
            raise NotJoinable(f"{path} is no file that a head wrote for machines that join.") from error

    def text(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


@dataclass(frozen=True)
class Mark:
    """In a folder that all machines of a cluster share: whose it is, and the time on the head's clock."""

    mark: str
    now: float

    @classmethod
    def read(cls, path: Path) -> Mark:
        """Raises NotJoinable: there is none."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(str(found["mark"]), float(found["now"]))
        except OSError as error:
            raise NotJoinable(f"{path} can't be read ({error.strerror}).") from error
        except (ValueError, TypeError, KeyError) as error:
            raise NotJoinable(f"{path} is not what a head writes there.") from error

    def text(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    def clock_difference(self, now: float | None = None) -> float:
        """By how many seconds this machine's clock is ahead of the head's; negative where it is behind.

        0 where both may be right, as far as can be told.

        >>> Mark("a", 1000.0).clock_difference(1030.0), Mark("a", 1000.0).clock_difference(900.0)
        (0.0, -100.0)
        """
        here = time.time() if now is None else now
        ahead = here - self.now
        if -LEEWAY_S <= ahead <= LEEWAY_S + RENEWED_S + _SEEN_LATE_S:
            return 0.0
        return ahead
