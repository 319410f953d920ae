"""Published images: what they are called in a registry, and getting those of this checkout's version."""

from __future__ import annotations

import json
import selectors
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Optional

from lifecycle.console import Failure, line
from lifecycle.home import Home
from lifecycle.shell import answer

SECONDS = 10.0
"""Within which a registry has to say that it has an image."""
VERSION_LABEL = "labelloop.version"


def reference(registry: str, service: str, version: str) -> str:
    """What an image is called there. version: the hash of all that it is made from, see images.versions."""
    return f"{registry}/{service}:{version}"


def pins_file(home: Home) -> Path:
    """Which digest each version has that was published; in git, so that a clone trusts no registry."""
    return home.root / "images" / "published.json"


def pins(home: Home) -> dict[str, str]:
    """Version → digest, sha256:….

    Raises:
        Failure: the file holds something else.
    """
    path = pins_file(home)
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text())
        return {str(image["version"]): str(image["digest"]) for image in found.values()}
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise Failure(
            f"{path}",
            found=repr(error),
            needed="a version and a digest for each image",
            do="`git checkout` it, or `make publish` writes it anew.",
        ) from error


def pin(home: Home, digests: dict[str, tuple[str, str]]) -> None:
    """Writes the file; what was published under a name before is replaced. digests: name → version, digest.

    Raises:
        Failure: the file that is there can't be read.
    """
    path = pins_file(home)
    pins(home)
    before = json.loads(path.read_text()) if path.is_file() else {}
    now = {name: {"version": version, "digest": digest} for name, (version, digest) in digests.items()}
    path.write_text(json.dumps({**before, **now}, indent=2, sort_keys=True) + "\n")


def pull_version(home: Home, registry: str, versions: dict[str, str], names: dict[str, str]) -> bool:
    """Has the engine hold this version's images under their local names. Nothing is asked for those it has.

    versions: by service. names: the local names, by service.

    Returns: False when one of them couldn't be had; the line printed says why.
    """
    known = pins(home)
    for service, version in versions.items():
        if label(names[service], VERSION_LABEL) == version:
            line(service, "unchanged")
            continue
        started = time.monotonic()
        there = reference(registry, service, version)
        if version in known:
            there = f"{registry}/{service}@{known[version]}"
        line(
            service, f"asking {registry} for it, {SECONDS:.0f} s at most; then some minutes for a first pull"
        )
        refused = pull(there)
        if refused is not None:
            what = there.removeprefix(registry)[1:]
            line(service, f"{registry} gives no {what}, {refused}: building the images")
            return False
        if label(there, VERSION_LABEL) != version:
            line(service, f"{there} is made from other files than this checkout's: building the images")
            return False
        if answer(["docker", "tag", there, names[service]]) is None:
            line(service, f"the engine doesn't name {there} {names[service]}: building the images")
            return False
        line(service, f"pulled in {time.monotonic() - started:.0f} s")
    return True


def pull(name: str) -> Optional[str]:
    """Pulls an image if its registry says within SECONDS that it has it. Returns: why not, None if it did."""
    with (
        tempfile.TemporaryFile("w+", errors="replace") as said,
        subprocess.Popen(["docker", "pull", name], stdout=subprocess.PIPE, stderr=said) as pulling,
    ):
        assert pulling.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(pulling.stdout, selectors.EVENT_READ)
            if not selector.select(SECONDS):
                pulling.kill()
                return f"no answer within {SECONDS:.0f} s"
        for _ in pulling.stdout:
            pass
        status = pulling.wait()
        said.seek(0)
        words = said.read().strip().splitlines() or [f"docker pull ended with {status}"]
        return None if status == 0 else words[-1]


def label(image: str, name: str) -> Optional[str]:
    """An image's label; None without the image, "" without the label."""
    wanted = f'{{{{index .Config.Labels "{name}"}}}}'
    return answer(["docker", "image", "inspect", "--format", wanted, image])
