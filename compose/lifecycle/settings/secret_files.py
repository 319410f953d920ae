"""The secrets of .env as files: what the services read, so that no environment holds them.

`docker inspect` and /proc/PID/environ show an environment to whoever may look; a file has owner and mode.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from lifecycle import files
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.settings import env_file
from lifecycle.settings.known import ALL_SECRETS
from lifecycle.settings.settings import ENV_HEADER, Settings

FOLDER_MODE, FILE_MODE = 0o700, 0o400
STAMP = "SECRETS_STAMP"


def publish(home: Home, settings: Settings) -> None:
    """Writes each secret into a file of its own that only the services' user reads; same ones stay untouched.

    A container keeps the file that it was started with. The stamp in .env is one of its labels, so Compose
    makes it anew when a secret has changed; it is written last, so that a run that was killed is made up for.

    Raises:
        Failure: the folder is not ours to write.
    """
    wanted = {name: settings.get(name, "") for name in ALL_SECRETS}
    try:
        # Otherwise we are that user ourselves, and may give nothing away.
        owner = settings.containers_user if os.geteuid() == 0 else None
        _write(home.secrets, wanted, owner)
    except OSError as error:
        raise Failure(
            f"{home.secrets}",
            found=str(error),
            needed="a folder that this user may write",
            do=f"`sudo rm -r {home.secrets}` and `make up`, which writes it anew from .env.",
        ) from error
    if settings.get(STAMP) != stamp(wanted):
        env_file.update(home.env_file, {STAMP: stamp(wanted)}, header=ENV_HEADER, mode=0o600)


def stamp(secrets: Mapping[str, str]) -> str:
    """Changes with any secret and tells nothing of it: guessing one means guessing all of them."""
    joined = "\0".join(f"{name}={value}" for name, value in sorted(secrets.items()))
    return hashlib.sha256(joined.encode()).hexdigest()[:16]


def _write(folder: Path, wanted: Mapping[str, str], owner: Optional[tuple[int, int]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(FOLDER_MODE)
    for path in folder.iterdir():
        if path.name not in wanted:
            path.unlink()
    for name, value in wanted.items():
        path = folder / name
        if not path.is_file() or path.read_text() != value:
            files.replace_text(path, value, FILE_MODE)
        path.chmod(FILE_MODE)
    if owner is not None:
        for path in (folder, *folder.iterdir()):
            os.chown(path, *owner)
