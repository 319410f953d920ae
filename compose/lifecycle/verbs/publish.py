"""`make publish`: this version's images, pushed to a registry, for hosts that then need not build them."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from lifecycle import engine
from lifecycle.build import images, registry
from lifecycle.build.python_image import NAME as PYTHON
from lifecycle.console import Failure, heading, line, note
from lifecycle.engine import SERVICES
from lifecycle.home import Home
from lifecycle.runtime.runtime import HOST, choose_accelerator, choose_architecture, choose_runtime
from lifecycle.settings import settings as settings_module
from lifecycle.settings.known import PROXIES
from lifecycle.shell import answer, run
from lifecycle.verbs.up import build

OWN_DRIVER = "docker"
"""The builder within the engine. It attests nothing and writes no cache but the images' own."""


def publish(home: Home, given: Mapping[str, str]) -> None:
    """Builds as `make build` does, pushes, and notes the digests in images/published.json.

    Raises:
        Failure: there is no registry named, no Docker, a secret would be in the images, or the push failed.
    """
    settings = settings_module.load(home) | given
    to = settings.get("REGISTRY", "")
    if not to:
        raise Failure(
            "make publish",
            found="no REGISTRY",
            needed="REGISTRY=registry.example.com/labelloop",
            do="`docker login` comes before, where the registry asks for it.",
        )
    settings_module.check(home, given)
    if choose_runtime(settings) == HOST:
        raise Failure("make publish", found="the host runtime", needed="Docker", do="Add RUNTIME=docker.")
    refuse_passwords(settings | engine.build_arguments())
    registry.require(to)
    build(home, {name: value for name, value in given.items() if name != "REGISTRY"}, pull=False)
    accelerator = choose_accelerator(settings, "docker")
    push(home, to, accelerator, choose_architecture(settings, accelerator))


def refuse_passwords(arguments: Mapping[str, str]) -> None:
    """The arguments of a build are in an image's history, or in its provenance, for whoever may pull it.

    Raises:
        Failure: an address among them has a user or a password; the message doesn't repeat it.
    """
    ways = {
        "PIP_INDEX_URL": "Name the index without it, and put the password into ~/.netrc.",
        **dict.fromkeys(PROXIES, "Publish from where a proxy without one answers, or where none is needed."),
    }
    for name, do in ways.items():
        if "@" in arguments.get(name, ""):
            raise Failure(
                name,
                found="a password in it, which would be in the images' history or provenance",
                needed="an address without one",
                do=do,
            )


def push(home: Home, to: str, accelerator: str, arch: Optional[str]) -> None:
    """Pushes what is built. The layers come from the builder's cache; the images get their public labels.

    Raises:
        Failure: the builder or the registry refused, or doesn't say the digest of what it took.
    """
    heading(f"Publishing to {to}")
    versions = images.versions(home, accelerator, arch)
    python_id = answer(["docker", "image", "inspect", "--format", "{{.Id}}", PYTHON]) or ""
    hashes = images.image_hashes(home, python_id, accelerator, arch)
    # Of an image's tag: several GPUs have a ; between them.
    flavour = "-".join((accelerator, *re.findall(r"[\w.]+", arch or "")))
    driver = builder_driver()
    if driver == OWN_DRIVER:
        note("the engine's own builder attests nothing: no SBOM and no provenance (`make sbom` writes one)")
    environment = {
        **{
            name: value
            for service in versions
            for name, value in images.stamps(service, hashes, versions).items()
        },
        **engine.build_arguments(),
        "COMPOSE_ACCELERATOR": accelerator,
        "REGISTRY": to,
        "FLAVOUR": flavour,
        "REVISION": answer(["git", "rev-parse", "HEAD"], cwd=home.root) or "",
        "CONTAINED": "" if driver == OWN_DRIVER else "1",
    }
    with tempfile.TemporaryDirectory() as scratch:
        told = Path(scratch, "told.json")
        run(
            [
                *("docker", "buildx", "bake", "--file", "docker-compose.yml", "--file", "docker-bake.hcl"),
                *("--push", "--metadata-file", str(told), *SERVICES),
            ],
            what=f"pushing to {to}",
            do=lambda said: f"{registry.advice(to, said) or 'Its words are above'}.",
            cwd=home.root,
            env=environment,
            quiet=True,
        )
        metadata = json.loads(told.read_text())
    digests = {}
    for service in SERVICES:
        there = registry.reference(to, service, versions[service])
        digest = digest_of(there) or metadata.get(service, {}).get("containerimage.digest", "")
        if not re.fullmatch("sha256:[0-9a-f]{64}", digest):
            raise Failure(there, found="no digest", needed="the registry's own", do="Does it answer now?")
        name = service if service == "labelstudio" else f"{service}-{flavour}"
        digests[name] = (versions[service], digest)
        line(service, f"{there}, {digest}")
    registry.pin(home, digests)
    note(f"{registry.pins_file(home).relative_to(home.root)} holds the digests; commit it with this version")


def builder_driver() -> str:
    """docker, docker-container, …; docker where there is no buildx to ask."""
    told = answer(["docker", "buildx", "inspect"], seconds=engine.PROBE_SECONDS) or ""
    found = re.search(r"^Driver:\s*(\S+)", told, re.MULTILINE)
    return found[1] if found else OWN_DRIVER


def digest_of(there: str) -> Optional[str]:
    """What the registry calls the image; None when it doesn't say."""
    told = answer(["docker", "buildx", "imagetools", "inspect", there], seconds=engine.PROBE_SECONDS) or ""
    found = re.search(r"^Digest:\s*(\S+)", told, re.MULTILINE)
    return found[1] if found else None
