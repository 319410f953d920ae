"""A hash over everything that a build depends on. While it stays the same, there is nothing to build."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

_NOT_INPUTS = {"__pycache__", "wheels", "build", ".mypy_cache", ".ruff_cache"}


def inputs_hash(root: Path, paths: Iterable[str], *facts: str) -> str:
    """Hex digest of the files' contents and names below `root` (folders in full) and of `facts`."""
    digest = hashlib.sha256()
    for fact in facts:
        digest.update(f"{fact}\0".encode())
    for path in sorted(_files(root, paths)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root)}\0{content}\0".encode())
    return digest.hexdigest()[:20]


def _files(root: Path, paths: Iterable[str]) -> Iterable[Path]:
    for name in paths:
        path = root / name
        if path.is_file():
            yield path
        for below in path.rglob("*") if path.is_dir() else ():
            parts = below.relative_to(root).parts
            if (
                below.is_file()
                and not _NOT_INPUTS & set(parts)
                and not any(part.endswith(".egg-info") for part in parts)
            ):
                yield below
