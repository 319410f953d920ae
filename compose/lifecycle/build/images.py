"""Builds the images whose inputs changed; an unchanged one is recognised by the hash in its label."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Optional

from lifecycle import engine
from lifecycle.build import python_image, registry, wheel
from lifecycle.build.side_by_side import Step, run_steps
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
BACKUP = "backup"
"""The service that has an image of its own where the database is on PostgreSQL, with that one's programs."""
FRONT = "front"
"""The proxy before several containers of Label Studio."""
CLUSTER = "cluster"
"""The trainer's with the ML backend's code and Ray, for a machine in a cluster."""
_BUILT_HERE = {
    BACKUP: ("images/postgres",),
    FRONT: ("images/front",),
    CLUSTER: ("images/cluster", "images/mlbackend"),
}
"""The inputs of images that are built here always, where they are needed."""
_AFTER = {"base": ("mmcv-full",), "trainer": ("base",), "mlbackend": ("base",), CLUSTER: ("trainer",)}
_SECONDS = {
    **{"labelstudio": 100.0, "base": 60.0, "trainer": 30.0, "mlbackend": 20.0},
    **{BACKUP: 60.0, FRONT: 20.0, CLUSTER: 60.0},
}
"""How long each takes alone on 2 cores."""
# With CLUSTER=ray the trainer's service runs on another image than its own.
_FILES = {"trainer": ("--file", "docker-compose.yml")}
_CUDA_BASE_S = 105.0
"""With NVIDIA's libraries."""


def build_images(
    home: Home,
    accelerator: str,
    arch: Optional[str],
    published_at: str = "",
    *,
    postgres: bool = False,
    front: bool = False,
    cluster: bool = False,
    services: Sequence[str] = tuple(_INPUTS),
) -> None:
    """The three services' images: pulled from the registry `published_at` if it has this version's, else
    built, each only if its inputs changed, and with them python and base. postgres: the image of its
    programs, too, which is built here always; front: so is the proxy's; cluster: so is the trainer's with
    Ray. services: those of the three that are wanted.

    Raises:
        Failure: a build failed; the end of its output is on the terminal.
    """
    version = versions(home, accelerator, arch)
    pulled = published_at and registry.pull_version(
        home,
        published_at,
        {service: version[service] for service in services},
        {service: image_name(service, accelerator) for service in services},
    )
    extra = ((BACKUP, postgres), (FRONT, front), (CLUSTER, cluster))
    built_here = [service for service, wanted in extra if wanted]
    if pulled and not built_here:
        return
    python_image.ensure_python_image()
    python_id = answer(["docker", "image", "inspect", "--format", "{{.Id}}", python_image.NAME]) or ""
    all_hashes = image_hashes(home, python_id, accelerator, arch)
    hashes = {} if pulled else {name: all_hashes[name] for name in ("base", *services)}
    for service in built_here:
        stands_on, of_version = (python_id, "")
        if service == CLUSTER:
            stands_on, of_version = all_hashes["trainer"], version["trainer"]
        hashes[service] = inputs_hash(home.root, _BUILT_HERE[service], stands_on)
        version[service] = inputs_hash(home.root, _BUILT_HERE[service], of_version)
    stale = [service for service in hashes if _built(service, accelerator) != hashes[service]]
    for service in hashes:
        if service not in stale:
            line(service, "unchanged")
    arguments = engine.build_arguments()

    def wheels() -> None:
        found = wheel.docker_wheels(home, python_image.NAME, accelerator, arch, arguments)
        _place(found, home.root / "images" / "base" / "wheels")

    def built(service: str) -> Callable[[], None]:
        return lambda: _build(home, service, {**stamps(service, hashes, version), **arguments})

    compiling = 900 if accelerator == "cuda" else 180
    seconds = {**_SECONDS, **({"base": _CUDA_BASE_S} if accelerator == "cuda" else {})}
    steps = [
        Step(service, "building", seconds[service], built(service), after=_AFTER.get(service, ()))
        for service in stale
    ]
    if "base" in stale:
        steps.append(Step("mmcv-full", "compiling it, unless this machine has it", compiling, wheels))
    run_steps(steps)


def _build(home: Home, service: str, environment: dict[str, str]) -> None:
    started = time.monotonic()
    run(
        engine.compose(*_FILES.get(service, ()), "--profile", "build", "build", service),
        cwd=home.root,
        env=environment,
        what=f"building the image {service}",
        do="The step that failed is above.",
        quiet=True,
    )
    line(service, f"built in {time.monotonic() - started:.0f} s")


def stamps(service: str, hashes: Mapping[str, str], version: Mapping[str, str]) -> dict[str, str]:
    """What docker-compose.yml labels the image with, as it asks for it. See `image_hashes` and `versions`."""
    return {f"{service.upper()}_INPUTS": hashes[service], f"{service.upper()}_VERSION": version[service]}


def versions(home: Home, accelerator: str, arch: Optional[str]) -> dict[str, str]:
    """Service → hash of what the checkout has of its image: the same on every host, whatever its python."""
    return image_hashes(home, "", accelerator, arch)


def image_hashes(home: Home, python_id: str, accelerator: str, arch: Optional[str]) -> dict[str, str]:
    """Service → hash of all that its image is made from, in build order."""
    base = inputs_hash(home.root, _BASE, python_id, accelerator, arch or "")
    hashes = {"base": base}
    for service, paths in _INPUTS.items():
        hashes[service] = inputs_hash(home.root, paths, python_id if service == "labelstudio" else base)
    return hashes


def images_are_built(accelerator: str) -> bool:
    """Whether the services have images, of whatever version. Pulled ones have no base beside them."""
    return all(_built(service, accelerator) is not None for service in _INPUTS)


def image_name(service: str, accelerator: str) -> str:
    if service == BACKUP:
        return "labelloop/postgres"
    if service == FRONT:
        return "labelloop/front"
    if service == CLUSTER:
        return f"labelloop/cluster:{accelerator}"
    return "labelloop/labelstudio" if service == "labelstudio" else f"labelloop/{service}:{accelerator}"


def _built(service: str, accelerator: str) -> Optional[str]:
    """The inputs' hash that the image was built from; None without an image."""
    return registry.label(image_name(service, accelerator), "labelloop.inputs")


def _place(wheels: list[Path], folder: Path) -> None:
    """Makes the wheels the only ones in the build context."""
    folder.mkdir(exist_ok=True)
    for other in folder.glob("*.whl"):
        other.unlink()
    for path in wheels:
        shutil.copy(path, folder)
