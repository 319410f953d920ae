"""`make sbom`: what is in each image, as CycloneDX: locked packages and, where Docker answers, Debian's."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Mapping
from typing import Any, Optional
from urllib.parse import quote

from lifecycle import engine
from lifecycle.build.images import image_name
from lifecycle.build.pins import Package, locks_of, packages_in
from lifecycle.console import heading, line, note
from lifecycle.home import Home
from lifecycle.inputs import inputs_hash
from lifecycle.runtime.runtime import choose_accelerator
from lifecycle.settings import settings
from lifecycle.settings.host import UNPRIVILEGED_ID
from lifecycle.shell import answer

SPEC_VERSION = "1.6"
_DPKG = "${Package}\t${Version}\t${Architecture}\n"
_SECONDS = 60.0

Component = dict[str, Any]


def sbom(home: Home, given: Mapping[str, str]) -> None:
    """Writes build/sbom/<image>.cdx.json for each image."""
    chosen = {name: value for name, value in given.items() if not name.startswith("LABELLOOP_")}
    settings.check(home, chosen)
    runtime = "docker" if engine.engine_version() else "host"
    accelerator = choose_accelerator(settings.load(home) | chosen, runtime)
    folder = home.root / "build" / "sbom"
    folder.mkdir(parents=True, exist_ok=True)
    heading("Software bills of materials")
    for image in engine.SERVICES:
        locks = locks_of(image, accelerator)
        python = [component for name in locks for component in map(from_pypi, packages_in(home.root / name))]
        debian = _debian(image_name(image, accelerator))
        identity = inputs_hash(home.root, locks, *(found["purl"] for found in debian or ()))
        text = json.dumps(document(image, identity, [*python, *(debian or ())]), indent=2)
        target = folder / f"{image}.cdx.json"
        target.write_text(text + "\n")
        system = (
            f"{len(debian)} of Debian's" if debian is not None else "Debian's unknown: no such image here"
        )
        line(image, f"{len(python)} Python packages, {system}: {target.relative_to(home.root)}")
    note("CycloneDX JSON; scanners such as Dependency-Track, Grype and Trivy read it")


def document(image: str, identity: str, components: list[Component]) -> dict[str, Any]:
    """A CycloneDX document. The same contents give the same document: it has no time and no random number.

    identity: names the contents. components: see `from_pypi` and `from_debian`; one that is there twice
    counts once.
    """
    by_reference = {component["bom-ref"]: component for component in components}
    subject = {"type": "container", "name": f"labelloop/{image}", "bom-ref": f"labelloop/{image}"}
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC_VERSION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'labelloop/{image}/{identity}')}",
        "version": 1,
        "metadata": {"component": subject},
        "components": [by_reference[reference] for reference in sorted(by_reference)],
        "dependencies": [{"ref": subject["bom-ref"], "dependsOn": sorted(by_reference)}],
    }


def from_pypi(package: Package) -> Component:
    purl = f"pkg:pypi/{package.name}@{quote(package.version)}"
    files = [
        {"type": "distribution", "url": purl, "hashes": [{"alg": "SHA-256", "content": digest}]}
        for digest in package.sha256
    ]
    return _component(package.name, package.version, purl, {"externalReferences": files} if files else {})


def from_debian(row: str) -> Optional[Component]:
    """A row of dpkg-query in the format _DPKG; None when it is something else."""
    match = re.fullmatch(r"([a-z0-9][a-z0-9+.-]+)\t(\S+)\t(\S+)", row)
    if match is None:
        return None
    name, version, architecture = match.groups()
    purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}"
    return _component(name, version, purl, {})


def _component(name: str, version: str, purl: str, more: Mapping[str, Any]) -> Component:
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl, **more}


def _debian(image: str) -> Optional[list[Component]]:
    """The image's Debian packages, asked of dpkg in it; None where there is no engine or no such image."""
    if answer(["docker", "image", "inspect", "--format", "{{.Id}}", image]) is None:
        return None
    told = answer(
        [
            *("docker", "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL"),
            *("--user", f"{os.getuid() or UNPRIVILEGED_ID}", "--entrypoint", "dpkg-query"),
            *(image, "--show", "--showformat", _DPKG),
        ],
        seconds=_SECONDS,
    )
    if told is None:
        return None
    return [component for component in map(from_debian, told.splitlines()) if component is not None]
