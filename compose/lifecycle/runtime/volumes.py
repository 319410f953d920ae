"""Makes the folders of state, gives them to the containers' user, and closes those that hold tokens."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Optional

from labelloop import layout
from lifecycle.console import Failure
from lifecycle.home import Home

# Docker makes a missing bind mount's source as root.
_MOUNTED = (*layout.VOLUMES, layout.UPLOADS, layout.WEIGHTS, layout.IMAGE_CACHE, layout.BACKUP_STATUS)
# Label Studio's database holds tokens, and so do its backups.
PRIVATE = (layout.LABELSTUDIO, layout.BACKUPS)
SHARED = (layout.IMAGES, layout.MODELS, layout.ROUNDS, layout.CACHE, layout.UPLOADS)
"""What a machine that has joined a cluster shares with its head."""
STATE = tuple(name for name in layout.VOLUMES if name != layout.IMAGES)


def prepare_volumes(
    home: Home, user: Optional[tuple[int, int]], *, postgres: bool = False, cluster: bool = False
) -> None:
    """Makes the folders; given the containers' user and group, and run by root, hands the state to them.

    postgres: the folder of the stack's own PostgreSQL, too. On the host, its server gives it to its own user.
    cluster: the folder of a cluster's certificates, too.
    """
    own = (*((layout.POSTGRES,) if postgres else ()), *((layout.CLUSTER,) if cluster else ()))
    if user is not None and os.geteuid() != 0:
        _check_owner(home, (*STATE, *own), *user)
    for name in (*_MOUNTED, *own):
        (home.volumes / name).mkdir(parents=True, exist_ok=True)
    for name in (*PRIVATE, *own):
        _close(home.volumes / name)
    if user is not None and os.geteuid() == 0:
        for name in (*STATE, *own):
            _hand_over(home.volumes / name, *user)
        _open_images(home.volumes / layout.IMAGES, *user)


def prepare_node(home: Home, user: Optional[tuple[int, int]]) -> None:
    """Makes the folder of a machine that joins a cluster; what it shares with the head is there.

    Raises:
        Failure: the containers' user may not write to what they share.
    """
    if user is not None:
        _check_owner(home, (layout.ROUNDS,), *user)
    for name in (layout.CLUSTER, *SHARED):
        (home.volumes / name).mkdir(parents=True, exist_ok=True)
    _close(home.volumes / layout.CLUSTER)
    if user is not None and os.geteuid() == 0:
        _hand_over(home.volumes / layout.CLUSTER, *user)


def _check_owner(home: Home, names: Sequence[str], uid: int, gid: int) -> None:
    """Raises Failure: a folder of state belongs to another user than the containers'. Changes nothing."""
    for folder in (home.volumes / name for name in names):
        owner = folder.stat().st_uid if folder.exists() else os.geteuid()
        if owner != uid:
            raise Failure(
                f"{folder}",
                found=f"owned by user {owner}",
                needed=f"owned by user {uid}",
                do=f"`sudo chown -R {uid}:{gid} {home.volumes}`.",
            )


def _close(folder: Path) -> None:
    """Closes a folder to all but its owner. Leaves one that we may not change; `make doctor` tells."""
    status = folder.stat()
    if status.st_mode & 0o077 and os.geteuid() in (0, status.st_uid):
        folder.chmod(0o700)


def _hand_over(folder: Path, uid: int, gid: int) -> None:
    for path in (folder, *folder.rglob("*")):
        with suppress(FileNotFoundError):  # a running program's, such as a database's shared memory
            status = path.lstat()
            if (status.st_uid, status.st_gid) != (uid, gid):
                os.chown(path, uid, gid, follow_symlinks=False)


def _open_images(folder: Path, uid: int, gid: int) -> None:
    """Lets `make import DATASET=` make folders for new images there. Root, who has the folder, still may.
    What is in it stays as it is, and so does a folder of somebody else's.
    """
    if folder.stat().st_uid == 0:
        with suppress(OSError):  # a drive that keeps no owners; the import says what it may not write
            os.chown(folder, uid, gid)
