"""mmcv-full is compiled once per machine: image builds and the host runtime look into the cache first.

Without CUDA the stand-ins for NVIDIA's libraries (images/base/cuda_stubs.py) come from the same compiler,
as a second wheel.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from lifecycle.build import pip
from lifecycle.console import Failure, line
from lifecycle.home import Home, machine_cache
from lifecycle.inputs import inputs_hash
from lifecycle.shell import answer, run

_RECIPE = (
    "images/base/mmcv.lock",
    "images/base/build-mmcv-wheel.sh",
    "images/base/mmcv_units.py",
)
RECIPES = {"cpu": (*_RECIPE, "images/base/cuda_stubs.py"), "cuda": (*_RECIPE, "images/base/nvcc.lock")}
"""By accelerator, the files by which a wheel is made; all else that has a say is in its key by name."""
_DESCRIBE = (
    "import platform as p, sys; print('cp%d%d' % sys.version_info[:2], ''.join(p.libc_ver()), p.machine())"
)


def docker_wheels(
    home: Home, python_image: str, accelerator: str, arch: Optional[str], environment: dict[str, str]
) -> list[Path]:
    """The wheels for the images, from the cache or compiled in a Docker stage."""
    described = answer(
        ["docker", "run", "--rm", "--network", "none", python_image, "python3", "-c", _DESCRIBE], seconds=60
    )
    if described is None:
        raise Failure(
            f"the image {python_image} runs no python3",
            do=f"`docker image rm {python_image}` and `make up` again.",
        )

    def compile_into(folder: Path) -> None:
        arguments = {
            "ACCELERATOR": accelerator,
            "TORCH_CUDA_ARCH_LIST": arch or "",
            "MAX_JOBS": _jobs(),
            **environment,
        }
        given = (f"{name}={value}" for name, value in arguments.items() if value)
        run(
            [
                *("docker", "build", "--file", "images/base/Dockerfile", "--target", "mmcv-wheel"),
                *("--output", f"type=local,dest={folder}"),
                *(word for text in given for word in ("--build-arg", text)),
                ".",
            ],
            what="compiling mmcv-full in Docker",
            do="The compiler's words are above.",
            cwd=home.root,
            env={"DOCKER_BUILDKIT": "1"},
            quiet=True,
        )

    return cached(wheel_key(home, described, accelerator, arch), compile_into)


def host_wheels(home: Home, python: Path, accelerator: str, arch: Optional[str]) -> list[Path]:
    """The wheels for an environment that has torch, from the cache or compiled by the host's own compiler."""
    described = answer([str(python), "-c", _DESCRIBE]) or ""

    def compile_into(folder: Path) -> None:
        if not shutil.which("g++"):
            raise Failure(
                "the compiler",
                found="no g++",
                needed="g++ and Python's headers, to compile mmcv-full once",
                do="`apt-get install g++ python3-dev` (or your distribution's names for them).",
            )
        locks = ["build.lock"] + (["nvcc.lock"] if accelerator == "cuda" else [])
        for name in locks:
            pip.install_lock(python, home.root / "images/base" / name, what=f"installing images/base/{name}")
        run(
            ["sh", str(home.root / "images/base/build-mmcv-wheel.sh"), str(python), str(folder)],
            what="compiling mmcv-full",
            do="The compiler's words are above.",
            quiet=True,
            env={"ACCELERATOR": accelerator, **({"TORCH_CUDA_ARCH_LIST": arch} if arch else {})},
        )

    return cached(wheel_key(home, described, accelerator, arch), compile_into)


def wheel_key(home: Home, described: str, accelerator: str, arch: Optional[str]) -> str:
    """For example cp311-torch2.13.0-cpu-glibc2.36-x86_64-<recipe>; `described` is what _DESCRIBE prints."""
    tag, libc, machine = described.split()
    torch = re.search(
        r"^torch==(\S+)", (home.root / "images/base/requirements.lock").read_text(), re.MULTILINE
    )
    if torch is None:
        raise Failure(
            f"{home.root}/images/base/requirements.lock pins no torch", do="`make lock` writes it anew."
        )
    device = f"{accelerator}{arch}" if arch else accelerator
    recipe = inputs_hash(home.root, RECIPES[accelerator])[:8]
    return f"{tag}-torch{torch[1]}-{device}-{libc}-{machine}-{recipe}"


def cached(key: str, compile_into: Callable[[Path], None]) -> list[Path]:
    """The wheels of `key`; otherwise `compile_into` fills a folder that is renamed when complete."""
    folder = machine_cache() / "wheels" / key
    if wheels := sorted(folder.glob("*.whl")):
        return wheels
    line("mmcv-full", "compiling it once for this machine")
    started = time.monotonic()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".compiling-") as scratch:
        compile_into(Path(scratch))
        if not list(Path(scratch).glob("*.whl")):
            raise Failure("compiling mmcv-full left no wheel", do="The compiler's words are above.")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(scratch, Path(f"{folder}.new"), dirs_exist_ok=True)
        Path(f"{folder}.new").replace(folder)
    line("mmcv-full", f"compiled in {time.monotonic() - started:.0f} s, kept in {folder}")
    return sorted(folder.glob("*.whl"))


def _jobs() -> str:
    """How many compilers at once; empty for as many as there are cores."""
    return os.environ.get("MAX_JOBS", "")
