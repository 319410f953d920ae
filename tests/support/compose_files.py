"""The stack's own compose files in an empty checkout, as Docker Compose reads them."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from lifecycle import engine

REPO = Path(__file__).parents[2]


def put(root: Path) -> None:
    shutil.copy(REPO / "docker-compose.yml", root)
    shutil.copytree(
        REPO / "compose",
        root / "compose",
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("lifecycle"),
    )


def composed(root: Path) -> dict[str, Any]:
    """What Compose makes of those that the settings there choose."""
    done = subprocess.run(
        engine.compose("config", "--format", "json"),
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))
