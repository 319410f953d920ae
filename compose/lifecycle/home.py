"""Where things are: the checkout that is operated, and the machine-wide cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from labelloop import layout


@dataclass(frozen=True)
class Home:
    """One checkout of the repository and the state in it."""

    root: Path

    @property
    def env_file(self) -> Path:
        """Secrets, ports and facts of the host; mode 600."""
        return self.root / ".env"

    @property
    def shipped_settings(self) -> Path:
        return self.root / "configs" / "loop.env"

    @property
    def local_settings(self) -> Path:
        return self.root / "configs" / "local.env"

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"

    @property
    def provisioned(self) -> Path:
        """Written by Label Studio's provisioner when project, storage and backend are connected."""
        return self.volumes / layout.LABELSTUDIO / layout.PROVISIONED_FILE

    @property
    def database(self) -> Path:
        """Label Studio's."""
        return self.volumes / layout.LABELSTUDIO / layout.DATABASE_FILE

    @property
    def database_name(self) -> Path:
        """On PostgreSQL, the name of the database that this state belongs to; see layout."""
        return self.volumes / layout.LABELSTUDIO / layout.DATABASE_NAME_FILE

    @property
    def has_labels(self) -> bool:
        """Whether there is a database of Label Studio's, on either engine."""
        return self.database.is_file() or self.database_name.is_file()

    @property
    def backups(self) -> Path:
        return self.volumes / layout.BACKUPS

    @property
    def running_version(self) -> Path:
        """What `make up` started, noted for backups."""
        return self.volumes / layout.BACKUP_STATUS / "version.json"

    @property
    def backup_status(self) -> Path:
        """What the schedule says of itself."""
        return self.volumes / layout.BACKUP_STATUS / "schedule.json"

    @property
    def run(self) -> Path:
        """The host runtime's pid file, socket and logs."""
        return self.volumes / "run"

    @property
    def secrets(self) -> Path:
        """The secrets of .env, a file each; see secret_files."""
        return self.run / "secrets"

    @property
    def cluster(self) -> Path:
        """Of a node of a cluster: certificates, and at a head the file by which others join."""
        return self.volumes / layout.CLUSTER

    @property
    def join_file(self) -> Path:
        return self.cluster / layout.JOIN_FILE

    @property
    def cluster_mark(self) -> Path:
        """The head's, on what the machines of a cluster share."""
        return self.volumes / layout.ROUNDS / layout.MARK_FILE

    @property
    def venvs(self) -> Path:
        """The host runtime's environments, which checkouts of one version may share (LABELLOOP_VENVS)."""
        return Path(os.environ.get("LABELLOOP_VENVS") or self.root / ".venv")


def machine_cache() -> Path:
    """What is made once per machine: LABELLOOP_CACHE, or labelloop/ in the user's cache folder."""
    chosen = os.environ.get("LABELLOOP_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "labelloop"
