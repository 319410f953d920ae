"""What the locks pin, image by image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lifecycle.console import Failure
from lifecycle.home import Home

_BASE = ("images/base/requirements.lock", "images/base/nodeps.lock", "images/base/mmcv.lock")
_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?={2,3}([^\s;\\]+)")


@dataclass(frozen=True)
class Package:
    """name: normalised, as in package URLs. sha256: of the files that may be installed."""

    name: str
    version: str
    sha256: tuple[str, ...] = ()


def locks_of(image: str, accelerator: str) -> list[str]:
    """The locks that an image is installed from: the base's, with CUDA one more, and its own."""
    if image == "labelstudio":
        return ["images/labelstudio/requirements.lock"]
    cuda = ["images/base/cuda.lock"] if accelerator == "cuda" else []
    own = {"mlbackend": ["requirements.lock", "nodeps.lock"], "trainer": ["requirements.lock"]}[image]
    return [*_BASE, *cuda, *(f"images/{image}/{name}" for name in own)]


def all_locks(home: Home) -> list[str]:
    """Every lock of the repository, those of the build and of the tests too."""
    found = [*home.root.glob("images/*/*.lock"), *home.root.glob("tests/*.lock")]
    return sorted(str(path.relative_to(home.root)) for path in found)


def packages_in(path: Path) -> list[Package]:
    """The packages that a lock pins, in its order.

    Raises:
        Failure: a line is neither a pin, a hash nor a comment.
    """
    found: list[Package] = []
    for number, text in enumerate(path.read_text().splitlines(), 1):
        words = text.split("#", 1)[0].strip().rstrip("\\").strip()
        hashes = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", words))
        pin = _PIN.match(words)
        if pin is not None:
            name = re.sub(r"[-_.]+", "-", pin[1]).lower()
            found.append(Package(name, pin[2], hashes))
        elif hashes and found:
            last = found[-1]
            found[-1] = Package(last.name, last.version, (*last.sha256, *hashes))
        elif words:
            raise Failure(
                f"{path}, line {number}",
                found=repr(text),
                needed="name==version",
                do="`make lock` writes it anew.",
            )
    return found
