"""The project's image storage: volumes/images with all its subfolders."""

import logging
import re

from labelloop.images import SUFFIXES
from labelloop.settings import Settings
from labelloop.studio import Row, Studio
from provisioner.creation import Creator
from provisioner.state import StateFile

log = logging.getLogger(__name__)

TITLE = "volumes/images"
# A name that isn't UTF-8, which Python shows with surrogates, would fail Label Studio's whole sync. Hidden
# files are what some systems leave beside an image.
_NAME = r"[^.\ud800-\udfff][^\ud800-\udfff]*"
IMAGE_NAMES = rf"(?i){_NAME}\.(" + "|".join(re.escape(suffix.lstrip(".")) for suffix in SUFFIXES) + ")$"


def ensure_storage(studio: Studio, settings: Settings, project_id: int, file: StateFile) -> int:
    """Connects volumes/images, or repairs a storage that moved with the checkout. Returns its id."""
    fields = {
        "project": project_id,
        "title": TITLE,
        "path": str(settings.images_dir),
        "regex_filter": IMAGE_NAMES,
        "use_blob_urls": True,
        "recursive_scan": True,
    }
    storage, made = Creator(studio, file).find_or_create(
        lambda: _find(studio, project_id, fields), "/api/storages/localfiles", lambda: fields
    )
    if made:
        log.info("storage %s created: %s", storage["id"], fields["path"])
    if any(storage.get(name) != value for name, value in fields.items()):
        studio.request("PATCH", f"/api/storages/localfiles/{storage['id']}", json=fields)
        log.info("storage %s repaired: %s", storage["id"], fields["path"])
    file.update(storage=storage["id"])
    return int(storage["id"])


def _find(studio: Studio, project_id: int, fields: Row) -> Row | None:
    ours = [s for s in studio.storages(project_id) if s["title"] == TITLE or s["path"] == fields["path"]]
    return min(ours, key=lambda storage: int(storage["id"]), default=None)
