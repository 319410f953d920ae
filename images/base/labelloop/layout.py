"""The folders in a checkout's volumes/, and the ports that the services listen on.

This module needs only Python's standard library. docker-compose.yml and the Dockerfiles repeat these values,
as they cannot read this file.
"""

from __future__ import annotations

IMAGES = "images"
LABELSTUDIO = "labelstudio"
MODELS = "models"
ROUNDS = "rounds"
CACHE = "cache"
BACKUPS = "backups"
VOLUMES = (IMAGES, LABELSTUDIO, MODELS, ROUNDS, CACHE, BACKUPS)
"""The folders in volumes/."""

UPLOADS = f"{LABELSTUDIO}/media/upload"
"""Images that people upload in Label Studio: <project id>/<file>. Like the next, this is within volumes/."""
WEIGHTS = f"{CACHE}/weights"
IMAGE_CACHE = f"{CACHE}/images"
"""Images of other servers, which the trainer and the ML backend share."""
BACKUP_STATUS = f"{BACKUPS}/status"

DATABASE_FILE = "label_studio.sqlite3"
"""Label Studio's database. Like the next, this is within volumes/labelstudio/."""
DATABASE_NAME_FILE = "database_name"
"""On PostgreSQL: the name of the database that this state belongs to."""
PROVISIONED_FILE = "provisioned.json"
"""The provisioner's record of what it has connected, and of how far it has come."""
ROUNDS_FILE = "rounds.sqlite3"
"""The table of rounds. Like the next, this is within volumes/rounds/."""
IMAGE_INDEX_FILE = "images.sqlite3"

POSTGRES = "postgres"
"""The folder in volumes/ of the stack's own PostgreSQL, where there is one."""

CLUSTER = "run/cluster"
"""The folder in volumes/ of a cluster's certificates and of the file by which other machines join."""
JOIN_FILE = "join.json"
"""That file, which the head writes. The next one has the head's address, for programs on its machine."""
ADDRESS_FILE = "address"
MARK_FILE = ".cluster-head"
"""The head's mark, within volumes/rounds/: by it a machine that joins knows that it sees the head's."""

LABELSTUDIO_PORT = 8080
"""The port on which Label Studio listens. It is also published on this port unless PORT is set."""
MLBACKEND_PORT = 9090
TRAINER_PORT = 9191
"""The port of the trainer's API."""
CLUSTER_PORT = 6379
"""The first of a cluster node's ports: the head listens there."""
DASHBOARD_PORT = 9292
"""The port on which the dashboard listens. It is published on the port in the setting DASHBOARD_PORT."""


def default_dashboard_port(port: int) -> int:
    """The port on which the dashboard is published unless DASHBOARD_PORT is set: the one after PORT.

    >>> default_dashboard_port(8080), default_dashboard_port(65535)
    (8081, 65534)
    """
    return port + 1 if port < 65535 else port - 1


def pool_port(cluster_port: int) -> int:
    """Where the cluster's detectors answer the trainer, on the head's machine, on 127.0.0.1 alone.

    >>> pool_port(6379)
    6386
    """
    return cluster_port + 7
