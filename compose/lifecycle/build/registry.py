"""Published images: what they are called in a registry, and getting those of this checkout's version."""

from __future__ import annotations

import json
import re
import selectors
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Optional

from lifecycle.build.side_by_side import Step, run_steps
from lifecycle.console import Failure, line
from lifecycle.home import Home
from lifecycle.shell import answer

SECONDS = 10.0
"""Within which a registry has to say that it has an image."""
_PULLED_S = 60.0
"""About how long it takes from a registry on the same network, with 2 cores."""
VERSION_LABEL = "labelloop.version"
# What Docker says, whether nothing else can be meant by it, and the way out.
_REFUSALS = (
    (r"no basic auth credentials", True, "`docker login {host}` first"),
    (
        r"unknown authority",
        True,
        "the engine doesn't trust its certificate: copy the one of its authority, in PEM, to "
        "/etc/docker/certs.d/{host}/ca.crt",
    ),
    (r"x509", True, "its certificate has to be another, for the reason that Docker gives"),
    (
        r"gave HTTP response to HTTPS client",
        True,
        "it has no TLS: name it in insecure-registries of /etc/docker/daemon.json, if its network is yours",
    ),
    (r"no such host|refused|no route to host|no answer within", True, "is REGISTRY, now {registry}, right?"),
    (
        r"unauthorized|denied|forbidden|\b40[13]\b",
        False,
        "`docker login {host}` first, as somebody who may, or the repository isn't there",
    ),
)


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

    Returns: False when one of them couldn't be had; the lines printed say why, and what to do about it.
    """
    known = pins(home)
    refused: dict[str, str] = {}

    def take(service: str) -> None:
        version = versions[service]
        pinned = f"{registry}/{service}@{known.get(version)}"
        there = pinned if version in known else reference(registry, service, version)
        why = _take(registry, service, there, version, names[service])
        refused.update({service: why} if why else {})

    wanted = []
    for service, version in versions.items():
        if label(names[service], VERSION_LABEL) == version:
            line(service, "unchanged")
        else:
            wanted.append(service)
    # At once: layers that several have are pulled once, and one image is unpacked beside another.
    run_steps([Step(name, f"pulling it from {registry}", _PULLED_S, partial(take, name)) for name in wanted])
    for service, why in list(refused.items())[:1]:
        line(service, f"{why}: building the images")
        if way_out := advice(registry, why):
            line("registry", f"to pull instead: {way_out}; then `make up` again")
    return not refused


def _take(registry: str, service: str, there: str, version: str, name: str) -> Optional[str]:
    """Pulls `there`, checks that it is this version, and gives it its local name. Returns: why not."""
    started = time.monotonic()
    refused = pull(there)
    if refused is not None:
        return f"{registry} gives no {there.removeprefix(registry)[1:]}, {refused}"
    if label(there, VERSION_LABEL) != version:
        return f"{there} is made from other files than this checkout's"
    if answer(["docker", "tag", there, name]) is None:
        return f"the engine doesn't name {there} {name}"
    line(service, f"pulled in {time.monotonic() - started:.0f} s")
    return None


def advice(registry: str, words: str, *, certain: bool = False) -> str:
    """The way out of what Docker said about a registry; "" where there is none to name.

    certain: only of words that can mean nothing else. Some registries deny what isn't there yet.
    """
    host = registry.partition("/")[0]
    for pattern, sure, way_out in _REFUSALS:
        if re.search(pattern, words) and (sure or not certain):
            return way_out.format(host=host, registry=registry)
    return ""


def require(registry: str) -> None:
    """Asks it for an image that nobody pushes, so that what stands in a push's way is known before the build.

    Raises:
        Failure: it can't be reached, wants a login, or isn't trusted.
    """
    said = pull(f"{registry}/labelstudio:is-there-a-registry") or ""
    if way_out := advice(registry, said, certain=True):
        raise Failure(registry, found=said, needed="a registry that the engine may push to", do=f"{way_out}.")


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
