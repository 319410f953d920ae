"""The python base image: pulled, or, where no registry answers, built from Debian packages under its name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from lifecycle.build import registry
from lifecycle.console import Failure, line
from lifecycle.shell import answer, run

NAME = "python:3.11-slim-bookworm"
RELEASE = "bookworm"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def ensure_python_image() -> None:
    """Has the image under its name in the engine; does nothing where it is already.

    Raises:
        Failure: no registry answers and the image can't be built here either.
    """
    if answer(["docker", "image", "inspect", "--format", "{{.Id}}", NAME]):
        return
    if registry.pull(NAME) is None:
        line("python", f"pulled {NAME}")
        return
    line(
        "python",
        f"no image registry answers for {NAME}: building it from Debian packages, 1 to 4 minutes",
    )
    started = time.monotonic()
    _build()
    line("python", f"built in {time.monotonic() - started:.0f} s")


def _build() -> None:
    mirrors = debian_mirrors()
    _need_debootstrap()
    with tempfile.TemporaryDirectory(prefix="labelloop-python-") as scratch:
        root = Path(scratch, "root")
        run(
            [
                *("debootstrap", "--variant=minbase"),
                "--include=python3,python3-venv,python3-pip,ca-certificates",
                *(RELEASE, str(root), mirrors[RELEASE]),
            ],
            what="debootstrap",
            do=f"Look at {root}/debootstrap/debootstrap.log, or load {NAME} by `docker load`.",
            quiet=True,
        )
        _write_host_settings(root, mirrors)
        archive = subprocess.Popen(
            [
                *("tar", "--create", "--directory", str(root)),
                *("--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*", "."),
            ],
            stdout=subprocess.PIPE,
        )
        instructions = (
            "ENV LANG=C.UTF-8",
            f"ENV SSL_CERT_FILE={_CA_BUNDLE}",
            f"ENV REQUESTS_CA_BUNDLE={_CA_BUNDLE}",
            'CMD ["python3"]',
        )
        changes = (word for text in instructions for word in ("--change", text))
        imported = subprocess.run(
            ["docker", "import", *changes, "-", NAME],
            stdin=archive.stdout,
            stdout=subprocess.DEVNULL,
        )
        if archive.wait() != 0 or imported.returncode != 0:
            raise Failure(
                f"docker import of {NAME} failed", do="Is the engine's disk full? See `docker system df`."
            )


def _need_debootstrap() -> None:
    if os.geteuid() != 0:
        raise Failure(
            f"the image {NAME}",
            found="no registry that answers, and no right to build it",
            needed="one or the other",
            do="Load it by `docker load` from another host, or run `sudo make up` once, or use RUNTIME=host.",
        )
    if shutil.which("debootstrap"):
        return
    if shutil.which("apt-get"):
        run(
            ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "debootstrap"],
            what="installing debootstrap",
            do="Run `apt-get update` and `make up` again.",
            quiet=True,
        )
        return
    raise Failure(
        f"the image {NAME}",
        found="no registry that answers, and no debootstrap",
        needed="one or the other",
        do="Install debootstrap, or load the image by `docker load`, or use RUNTIME=host.",
    )


def debian_mirrors(sources: Path = Path("/etc/apt")) -> dict[str, str]:
    """Suite (bookworm, bookworm-updates, bookworm-security) → address, from the host's apt sources.

    Raises:
        Failure: they name no mirror of bookworm.
    """
    suites = (RELEASE, f"{RELEASE}-updates", f"{RELEASE}-security")
    mirrors: dict[str, str] = {}
    for path in [sources / "sources.list", *sorted((sources / "sources.list.d").glob("*"))]:
        if path.is_file():
            for address, suite in _sources(path.read_text(errors="replace")):
                if suite in suites and "debian" in address:
                    mirrors.setdefault(suite, address)
    if RELEASE not in mirrors:
        raise Failure(
            f"the image {NAME}",
            found=f"no registry that answers and no Debian {RELEASE} mirror in {sources}",
            needed="one or the other",
            do="Load it by `docker load` from another host, or use RUNTIME=host.",
        )
    return mirrors


def _sources(text: str) -> list[tuple[str, str]]:
    """(address, suite) pairs of an apt sources file, deb822 or one-line style."""
    pairs = []
    for options in re.finditer(r"^deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)", text, re.MULTILINE):
        pairs.append((options[1], options[2]))
    for stanza in re.split(r"\n\s*\n", text):
        addresses = re.search(r"^URIs:\s*(.+)$", stanza, re.MULTILINE)
        suites = re.search(r"^Suites:\s*(.+)$", stanza, re.MULTILINE)
        if addresses and suites:
            pairs += [(address, suite) for address in addresses[1].split() for suite in suites[1].split()]
    return pairs


def _write_host_settings(root: Path, mirrors: dict[str, str]) -> None:
    """Lets apt and pip in the image reach what they reach on the host."""
    stanzas = [
        f"Types: deb\nURIs: {address}\nSuites: {suite}\nComponents: main\nSigned-By: {_KEYRING}\n"
        for suite, address in mirrors.items()
    ]
    (root / "etc/apt/sources.list").unlink(missing_ok=True)
    (root / "etc/apt/sources.list.d/debian.sources").write_text("\n".join(stanzas))
    for path in Path("/etc/apt/apt.conf.d").glob("*"):
        if path.is_file() and "proxy" in path.read_text(errors="replace").lower():
            shutil.copy(path, root / "etc/apt/apt.conf.d" / path.name)
    pip = Path("/etc/pip.conf")
    if pip.is_file():
        kept = [
            text
            for text in pip.read_text().splitlines()
            if not re.match(r"\s*(find-links|constraint)|.*file:", text)
        ]
        (root / "etc/pip.conf").write_text("\n".join(kept) + "\n")
    if Path(_CA_BUNDLE).is_file():
        shutil.copy(_CA_BUNDLE, root / _CA_BUNDLE.lstrip("/"))
