"""What the figures were measured on."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.options import LABELSTUDIO_BIN, REPO, Options

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
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": options.threads,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "runtime": options.runtime,
        "commit": _answer("git", "-C", str(REPO), "describe", "--always", "--dirty"),
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "label-studio": _answer(
            str(LABELSTUDIO_BIN / "python"),
            "-c",
            "from importlib import metadata as m; print(m.version('label-studio'))",
        ),
    }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


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
