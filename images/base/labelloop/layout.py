"""Where things are: the folders of a checkout's volumes/, and the ports that the services listen on.

Python's standard library is all that this module needs. docker-compose.yml and the Dockerfiles repeat what is
here, as they can't read it.
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
"""Images that people upload in Label Studio: <project id>/<file>. This and the next in volumes/."""
WEIGHTS = f"{CACHE}/weights"
BACKUP_STATUS = f"{BACKUPS}/status"

DATABASE_FILE = "label_studio.sqlite3"
"""Label Studio's database. This and the next in volumes/labelstudio/."""
PROVISIONED_FILE = "provisioned.json"
"""What the provisioner has connected, and how far it has come."""
ROUNDS_FILE = "rounds.sqlite3"
"""The table of rounds. This and the next in volumes/rounds/."""
IMAGE_INDEX_FILE = "images.sqlite3"

LABELSTUDIO_PORT = 8080
"""Where Label Studio listens, and what it is published on unless PORT says otherwise."""
MLBACKEND_PORT = 9090
TRAINER_PORT = 9191
"""Of the trainer's API."""
DASHBOARD_PORT = 9292
"""Where the dashboard listens; the setting DASHBOARD_PORT is what it is published on."""


def default_dashboard_port(port: int) -> int:
    """What the dashboard is published on unless DASHBOARD_PORT says so: the port behind PORT.

    >>> default_dashboard_port(8080), default_dashboard_port(65535)
    (8081, 65534)
    """
    return port + 1 if port < 65535 else port - 1
