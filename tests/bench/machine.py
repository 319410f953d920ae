"""What the figures were measured on."""

import subprocess
from importlib import metadata
from typing import Any

from bench.options import LABELSTUDIO_BIN, REPO, Options

from lifecycle.dev.records import this_machine

_PACKAGES = (
    "torch",
    "torchvision",
    "mmcv-full",
    "mmdet",
    "label-studio-ml",
    "numpy",
    "opencv-python-headless",
)


def describe(options: Options) -> dict[str, Any]:
    """CPU, cores, threads, memory in GB, runtime and versions."""
    return {
        **this_machine(options.runtime, options.threads),
        "commit": _answer("git", "-C", str(REPO), "describe", "--always", "--dirty"),
        **{name: _version(name) for name in _PACKAGES},
        "label-studio": _answer(
            str(LABELSTUDIO_BIN / "python"),
            "-c",
            "from importlib import metadata as m; print(m.version('label-studio'))",
        ),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _answer(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown ({error})"
