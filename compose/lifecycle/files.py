"""Writing files so that a reader, or a kill -9, never sees half of one; and room for them."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from lifecycle.console import Failure


def replace_text(path: Path, text: str, mode: int) -> None:
    """Atomically and durably. Root leaves it to the owner of the file that it replaces, or of the folder."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        os.fchmod(descriptor, mode)
        if os.geteuid() == 0:
            owner = (path if path.exists() else path.parent).stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def check_space(folder: Path, needed: float, do: str) -> None:
    """Raises Failure: fewer than `needed` bytes are free where `folder` is; `do` is the way out."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Failure(
            f"disk space at {folder}",
            found=f"{free / 1e9:.1f} GB free",
            needed=f"{needed / 1e9:.1f} GB",
            do=do,
        )
