"""Builds the images whose inputs changed; an unchanged one is recognised by the hash in its label."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Optional

from lifecycle import engine
from lifecycle.build import python_image, wheel
from lifecycle.console import line
from lifecycle.home import Home
from lifecycle.inputs import inputs_hash
from lifecycle.shell import answer, run

_BASE = ("images/base",)
_INPUTS = {
    "labelstudio": (
        "images/labelstudio",
        "images/base/pyproject.toml",
        "images/base/labelloop",
    ),
    "trainer": ("images/trainer",),
    "mlbackend": ("images/mlbackend",),
}


def build_images(home: Home, accelerator: str, arch: Optional[str]) -> None:
    """Python, base and the three services' images, each only if its inputs changed.

    Raises:
        Failure: a build failed; its output is on the terminal.
    """
    python_image.ensure_python_image()
    python_id = answer(["docker", "image", "inspect", "--format", "{{.Id}}", python_image.NAME]) or ""
    hashes = image_hashes(home, python_id, accelerator, arch)
    stale = [service for service in hashes if _built(service, accelerator) != hashes[service]]
    for service in hashes:
        if service not in stale:
            line(service, "unchanged")
    if "base" in stale:
        wheels = home.root / "images" / "base" / "wheels"
        arguments = engine.build_arguments()
        _place(wheel.docker_wheel(home, python_image.NAME, accelerator, arch, arguments), wheels)
    for service in stale:
        line(service, "building")
        started = time.monotonic()
        environment = {f"{service.upper()}_INPUTS": hashes[service], **engine.build_arguments()}
        run(
            engine.compose("--profile", "build", "build", service),
            cwd=home.root,
            env=environment,
            what=f"building the image {service}",
            do="The step that failed is above.",
        )
        line(service, f"built in {time.monotonic() - started:.0f} s")


def image_hashes(home: Home, python_id: str, accelerator: str, arch: Optional[str]) -> dict[str, str]:
    """Service → hash of all that its image is made from, in build order."""
    base = inputs_hash(home.root, _BASE, python_id, accelerator, arch or "")
    hashes = {"base": base}
    for service, paths in _INPUTS.items():
        hashes[service] = inputs_hash(home.root, paths, python_id if service == "labelstudio" else base)
    return hashes


def images_are_built(accelerator: str) -> bool:
    return all(_built(service, accelerator) is not None for service in ("base", *_INPUTS))


def image_name(service: str, accelerator: str) -> str:
    return "labelloop/labelstudio" if service == "labelstudio" else f"labelloop/{service}:{accelerator}"


def _built(service: str, accelerator: str) -> Optional[str]:
    """The inputs' hash that the image was built from; None without an image."""
    label = '{{index .Config.Labels "labelloop.inputs"}}'
    return answer(["docker", "image", "inspect", "--format", label, image_name(service, accelerator)])


def _place(wheel_file: Path, folder: Path) -> None:
    """Makes the wheel the only one in the build context."""
    folder.mkdir(exist_ok=True)
    for other in folder.glob("*.whl"):
        other.unlink()
    shutil.copy(wheel_file, folder)
