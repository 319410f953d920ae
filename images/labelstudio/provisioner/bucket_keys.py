"""Which keys of the bucket that IMAGES names become tasks: each image once in a project.

Label Studio lists a whole bucket in one request, makes another task of a key whose task was deleted, and
fails where a prefix has nothing in it. Here the trainer asks for one slice after the other, each of which
lists keys for some seconds; which of them had a task stands in the table of `image_tasks`, and is asked for
page by page. So no more than a page and a slice's new keys are in memory, however many there are.

Storages that people made themselves are Label Studio's own affair.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, SSLError
from io_storages.s3.api import S3ImportStorageSyncAPI
from io_storages.s3.models import S3ImportStorage, S3ImportStorageBase, S3ImportStorageLink
from rest_framework.request import Request
from rest_framework.response import Response

from labelloop.images import SUFFIXES
from labelloop.locks import Busy, holding
from labelloop.settings import get_settings
from labelloop.system_files import is_in_system_folder
from provisioner.image_tasks import Stamp, known_stamps, learn_stamps

log = logging.getLogger(__name__)

SLICE_S = 10.0
PAGE = 1000
"""So many keys S3 lists at once."""

_offered: ContextVar[list[str] | None] = ContextVar("the keys that this thread makes tasks of", default=None)


@dataclass
class Slice:
    """A part of a bucket's keys, in their order. new: with their stamps, those of which no task was made yet.
    following: the last key that was looked at, where there are more; None at the end.
    """

    new: dict[str, Stamp] = field(default_factory=dict)
    left_out: int = 0
    following: str | None = None


class SyncBucket(S3ImportStorageSyncAPI):  # type: ignore[misc]
    """Label Studio's view that synchronises a storage. For ours, the body's `after` is the key after which a
    slice begins, `most` how many tasks it makes before it ends; keys are listed so many at a time, and no
    more than PAGE. The answer says what came of it, and where the next slice begins.
    """

    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        storage = self.get_object()
        if not is_ours(storage):
            return super().post(request, *args, **kwargs)
        given = request.data if isinstance(request.data, Mapping) else {}
        after, most = given.get("after"), given.get("most")
        size = min(max(most, 1), PAGE) if isinstance(most, int) else PAGE
        lock = get_settings().labelstudio_dir / f".bucket-{storage.id}.lock"
        try:
            with holding(lock):
                return Response(_synchronise(storage, after if isinstance(after, str) else "", size))
        except Busy:
            return Response({"detail": "this bucket is being synchronised already"}, 409)


def is_ours(storage: Any) -> bool:
    """Whether the provisioner made a storage, for a bucket that IMAGES names or named."""
    prefix = f"/{storage.prefix}" if storage.prefix else ""
    return bool(storage.title == f"s3://{storage.bucket}{prefix}")


def take_over() -> None:
    """Has our storages make tasks of what a slice offers, and lets them be made before the bucket answers."""
    label_studios_keys = S3ImportStorageBase.iter_keys
    label_studios_check = S3ImportStorage.validate_connection

    def iter_keys(storage: Any) -> Iterator[str]:
        offered = _offered.get()
        return label_studios_keys(storage) if offered is None else iter(offered)

    def validate_connection(storage: Any, client: Any = None) -> None:
        if not is_ours(storage):
            label_studios_check(storage, client)

    S3ImportStorageBase.iter_keys = iter_keys
    S3ImportStorage.validate_connection = validate_connection


def _synchronise(storage: Any, after: str, size: int) -> dict[str, Any]:
    try:
        found = _slice(storage, after, size)
    except (ClientError, BotoCoreError, ValueError) as error:
        text, fix = trouble(error, storage)
        log.warning("%s: %s", storage.title, text)
        return {"problem": text, "fix": fix, "following": None, "made": 0}
    made = _make_tasks(storage, found) if found.new else 0
    if found.new and storage.status == S3ImportStorage.Status.FAILED:
        words = str(storage.traceback or "").strip().splitlines() or ["no reason given"]
        fix = "Its log says more: `make logs`."
        return {"problem": f"{storage.title}: {words[-1]}", "fix": fix, "following": None, "made": made}
    answer = {"following": found.following, "made": made, "left_out": found.left_out, "problem": None}
    if not after and found.following is None and not found.new and _is_empty(storage):
        fix = "Copy images there, or correct IMAGES."
        return {**answer, "problem": f"{storage.title} has nothing in it", "fix": fix}
    return answer


def _slice(storage: Any, after: str, size: int) -> Slice:
    until, found = time.monotonic() + SLICE_S, Slice()
    for page, more in _pages(storage, after, size):
        stamps = {}
        for row in page:
            if _is_image(row["Key"]):
                stamps[row["Key"]] = row["Size"], round(row["LastModified"].timestamp() * 1e9)
            elif "?" in row["Key"]:
                found.left_out += 1
        named = {f"s3://{storage.bucket}/{key}": key for key in stamps}
        known = known_stamps(storage.project_id, list(named))
        found.new |= {key: stamps[key] for path, key in named.items() if known.get(path) != stamps[key]}
        if more and page and (len(found.new) >= size or time.monotonic() > until):
            found.following = page[-1]["Key"]
            break
    return found


def _pages(storage: Any, after: str, size: int) -> Iterator[tuple[list[dict[str, Any]], bool]]:
    """The keys after one, and whether more follow: a server may list fewer at once than it is asked for."""
    asked = {"Prefix": f"{storage.prefix}/" if storage.prefix else "", "StartAfter": after}
    wanted = {name: value for name, value in asked.items() if value}
    pages = storage.get_client().get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=storage.bucket, MaxKeys=size, **wanted):
        yield page.get("Contents", []), bool(page.get("IsTruncated"))


def _is_empty(storage: Any) -> bool:
    return not any(page for page, _ in _pages(storage, "", 1))


def _is_image(key: str) -> bool:
    path = PurePosixPath(key)
    return path.suffix.lower() in SUFFIXES and "?" not in key and not is_in_system_folder(path)


def _make_tasks(storage: Any, found: Slice) -> int:
    """Has Label Studio make tasks of the new keys that have none, and notes them."""
    keys = list(found.new)
    links = S3ImportStorageLink.objects.filter(storage=storage, key__in=keys)
    before = links.count()
    # A synchronisation that was killed leaves a status in which no other one may begin.
    S3ImportStorage.objects.filter(id=storage.id).update(status=S3ImportStorage.Status.INITIALIZED)
    storage.refresh_from_db()
    reset = _offered.set(keys)
    try:
        storage.sync()
    finally:
        _offered.reset(reset)
        storage.refresh_from_db()
        there = set(links.values_list("key", flat=True))
        rows = ((f"s3://{storage.bucket}/{key}", stamp) for key, stamp in found.new.items() if key in there)
        learn_stamps(storage.project_id, rows)
    return len(there) - int(before)


def trouble(error: Exception, storage: Any) -> tuple[str, str]:
    """Why a bucket cannot be listed, and the way out."""
    where = f"{storage.title} at {storage.s3_endpoint or 'AWS'}"
    keys = "Correct S3_ACCESS_KEY and S3_SECRET_KEY in .env, then `make up`."
    if isinstance(error, NoCredentialsError):
        return f"{where}: no keys are set", keys
    if isinstance(error, SSLError):
        return f"{where}: its certificate is not trusted", "CA_BUNDLE names a file with further certificates."
    if not isinstance(error, ClientError):
        told = str(error).replace("\n", " ")[:200]
        return (
            f"{where}: does not answer: {told}",
            "Start it, or correct S3_ENDPOINT: `make up S3_ENDPOINT=…`.",
        )
    answer = error.response
    said, meta = answer.get("Error", {}), answer.get("ResponseMetadata", {})
    code, status = str(said.get("Code")), meta.get("HTTPStatusCode")
    region = said.get("Region") or meta.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    if code in ("PermanentRedirect", "AuthorizationHeaderMalformed", "301") or (region and status == 301):
        named = f"S3_REGION={region}" if region else "S3_REGION=…"
        have = storage.region_name or "us-east-1, as S3_REGION is empty"
        return f"{where}: not in the region {have}", f"`make up {named}`"
    if code == "NoSuchBucket" or status == 404:
        return f"{where}: there is no such bucket", "Make it, or correct IMAGES: `make up IMAGES=s3://…`."
    if status in (401, 403):
        return (
            f"{where}: the keys give no access ({code})",
            f"{keys} They need s3:ListBucket and s3:GetObject.",
        )
    return f"{where}: answered {status} {code}: {str(said.get('Message'))[:200]}", "Its own log says more."
