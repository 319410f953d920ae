"""The project's storage on the bucket that IMAGES names. How its images become tasks: `bucket_keys`."""

import logging
import re

from labelloop.bucket import Bucket
from labelloop.images import SUFFIXES
from labelloop.settings import Settings
from labelloop.studio import Row, Studio
from provisioner.creation import Creator
from provisioner.state import StateFile

log = logging.getLogger(__name__)

PATH = "/api/storages/s3"
KEYS = r"(?i)[^?]+\.(" + "|".join(re.escape(suffix.lstrip(".")) for suffix in SUFFIXES) + ")$"
"""Label Studio takes what follows a question mark for no part of a key."""
SHOWN_MINUTES = 60
"""So long a browser may fetch an image by the address that it was given for it."""


def ensure_bucket(studio: Studio, settings: Settings, project_id: int, file: StateFile) -> int | None:
    """Connects the bucket, or gives its storage the present endpoint and keys. Returns: the storage's id.

    Whether the bucket answers is not looked at here, as nothing but its images depends on it: the trainer
    does, and tells. Storages of buckets that IMAGES named before stay, for their tasks' images.
    """
    bucket = settings.bucket
    if bucket is None:
        return None
    fields = {
        "project": project_id,
        "title": bucket.url,
        "bucket": bucket.name,
        "prefix": bucket.prefix,
        "s3_endpoint": settings.s3_endpoint,
        "region_name": settings.s3_region,
        "aws_access_key_id": _value(settings, "s3_access_key"),
        "aws_secret_access_key": _value(settings, "s3_secret_key"),
        "regex_filter": KEYS,
        "use_blob_urls": True,
        "recursive_scan": True,
        "presign": True,
        "presign_ttl": SHOWN_MINUTES,
    }
    storage, made = Creator(studio, file).find_or_create(
        lambda: _find(studio, project_id, bucket), PATH, lambda: fields
    )
    if made:
        log.info("storage %s created: %s", storage["id"], bucket.url)
    else:
        # Keys are never shown, so whether they are the present ones is not known.
        studio.request("PATCH", f"{PATH}/{storage['id']}", json=fields)
    return int(storage["id"])


def _find(studio: Studio, project_id: int, bucket: Bucket) -> Row | None:
    ours = [row for row in studio.buckets(project_id) if row["title"] == bucket.url]
    return min(ours, key=lambda storage: int(storage["id"]), default=None)


def _value(settings: Settings, name: str) -> str:
    secret = getattr(settings, name)
    return secret.get_secret_value() if secret else ""
