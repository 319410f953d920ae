"""`make lock`: resolves every requirements.in into a lock with hashes.

Needs `uv` (LABELLOOP_UV, or on PATH). Each lock accepts the versions of those before it, so that one host
environment can hold all of the ML side.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from lifecycle.console import Failure, line
from lifecycle.home import Home
from lifecycle.shell import run

_COMPILE = (
    *("pip", "compile", "--quiet", "--generate-hashes", "--no-emit-index-url"),
    *("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"),
    *("--custom-compile-command", "make lock"),
)
_BASE = "images/base/requirements"
_ML = ("images/mlbackend/requirements", "images/trainer/requirements")
_CUDA = "images/base/cuda"


def lock(home: Home, upgrade: bool) -> None:
    """Writes all locks; versions that still fit stay unless `upgrade`."""
    uv = os.environ.get("LABELLOOP_UV") or shutil.which("uv")
    if not uv:
        raise Failure(
            "the locks", found="no uv on PATH", needed="uv", do="`pip install uv`, or set LABELLOOP_UV to it."
        )
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch, "base.txt")
        lock_file = home.root / f"{_BASE}.lock"
        if lock_file.exists() and not upgrade:
            whole.write_text(lock_file.read_text() + (home.root / f"{_CUDA}.lock").read_text())
        base = f"{_BASE}.in"
        _compile(home, uv, base, str(whole), [], upgrade)
        for_cuda = packages_of(home.root / f"{_CUDA}.in")
        left_out = [word for name in for_cuda for word in ("--no-emit-package", name)]
        _compile(home, uv, base, f"{_BASE}.lock", [whole], upgrade, *left_out)
        _compile(home, uv, f"{_CUDA}.in", f"{_CUDA}.lock", [whole], upgrade, "--no-deps")
        for name in ("build", "nvcc"):
            _compile(home, uv, f"images/base/{name}.in", f"images/base/{name}.lock", [whole], upgrade)
        for name in ("images/base/nodeps", "images/mlbackend/nodeps"):
            _compile(home, uv, f"{name}.in", f"{name}.lock", [], upgrade, "--no-deps")
        before = [whole]
        for name in (*_ML, "images/cluster/requirements", "tests/requirements"):
            _compile(home, uv, f"{name}.in", f"{name}.lock", before, upgrade)
            before.append(home.root / f"{name}.lock")
        studio = "images/labelstudio/requirements"
        _compile(home, uv, f"{studio}.in", f"{studio}.lock", [], upgrade)


def packages_of(requirements: Path) -> list[str]:
    """The packages of a requirements.in that asks for no versions."""
    lines = (text.partition("#")[0].strip() for text in requirements.read_text().splitlines())
    return [text for text in lines if text]


def _compile(
    home: Home, uv: str, source: str, target: str, constraints: list[Path], upgrade: bool, *options: str
) -> None:
    fitting = [word for path in constraints for word in ("--constraint", str(path))]
    run(
        [
            *(uv, *_COMPILE, *options, *fitting, "--no-annotate", *(["--upgrade"] if upgrade else [])),
            *(source, "--output-file", target),
        ],
        what=f"resolving {source}",
        cwd=home.root,
    )
    if not Path(target).is_absolute():
        line("lock", target)
