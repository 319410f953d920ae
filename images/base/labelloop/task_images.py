"""Finds the image that the URL in a Label Studio task names.

Files of the appliance are read from the shared volumes, whatever host their URL names. All other images are
downloaded.
"""

import base64
import binascii
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlencode, urljoin, urlsplit

from labelloop import layout, urls
from labelloop.download import MAX_BYTES, download
from labelloop.images import ImageAway, ImageError
from labelloop.settings import Settings
from labelloop.urls import shown

# With LABEL_STUDIO_HOST, a host and a path may stand before these paths.
_LOCAL_FILES = re.compile(r"(?:^|/)data/local-files/?$")
_UPLOAD = re.compile(r"(?:^|/)data/upload/(.+)$")
_OLD_UPLOAD = re.compile(r"(?:^|/)storage-data/uploaded/?$")
_RESOLVED = re.compile(r"(?:^|/)tasks/[0-9]+/resolve/?$")
MAX_URL = 8192
_LOCALHOST = ("localhost", "127.0.0.1", "[::1]")
_CLOUD = ("s3", "gs", "azure-blob", "azure_blob", "azure")


Fetch = Callable[[str, str, str | None], Path | bytes]
"""Downloads from a URL, given Label Studio's own URL and the token for it, as `download.download` does. The
result may be a file that holds the bytes.
"""


def resolve_task_image(
    url: object, settings: Settings, task_id: int | None = None, fetch: Fetch | None = None
) -> Path | bytes:
    """The file, or the downloaded bytes, of a task's image. API_TOKEN is sent to LABELSTUDIO_URL only.

    task_id: lets Label Studio resolve a cloud URL (s3://…) of that task. fetch: by default `download`.

    Raises:
        ImageError: there is no URL, the path is outside the folders that may be read, the file is missing, or
            the download was refused; the message names the URL without its query. ImageAway: the download
            failed for now.
    """
    if not isinstance(url, str) or not url.strip():
        raise ImageError(f"the task holds no image URL but {str(url)[:80]!r}")
    url = url.strip()
    if len(url) > MAX_URL and not url.startswith("data:"):
        raise ImageError(f"{url[:80]}…: a URL of {len(url):,} characters; at most {MAX_URL:,} are read")
    try:
        fetch = fetch or partial(download, outside=settings.outside)
        return _resolve(url, settings, task_id, _token(settings), fetch)
    except (ValueError, OSError) as error:
        raise ImageError(f"{shown(url)}: {getattr(error, 'strerror', None) or error}") from error


def image_name(url: object) -> str:
    """A task's image in messages: its path below volumes/, its place in a bucket, or else its URL without the
    query.

    >>> image_name("/tasks/7/resolve/?fileuri=czM6Ly9waG90b3MvYS5qcGc=")
    's3://photos/a.jpg'
    """
    if not isinstance(url, str):
        return repr(url)[:80]
    try:
        file = _local_path(url)
        return (str(file[1]) if file else shown(_in_a_bucket(url) or url))[:200]
    except ValueError:
        return shown(url)


def _in_a_bucket(url: str) -> str | None:
    """The cloud URL that Label Studio is asked to resolve by a task's URL."""
    parts = urlsplit(url)
    if not _RESOLVED.search(parts.path):
        return None
    (named, *_) = parse_qs(parts.query).get("fileuri") or [""]
    with suppress(ValueError):  # binascii's error is one
        found = base64.urlsafe_b64decode(named).decode()
        return found if urlsplit(found).scheme in _CLOUD else None
    return None


def _token(settings: Settings) -> str | None:
    return settings.api_token.get_secret_value() if settings.api_token else None


def _resolve(
    url: str, settings: Settings, task_id: int | None, token: str | None, fetch: Fetch
) -> Path | bytes:
    parts = urlsplit(url)
    if parts.scheme == "data":
        return _inline(url)
    if parts.scheme in _CLOUD:
        return _ask_label_studio(url, settings, task_id, token, fetch)
    urls.check_characters(url)
    if parts.scheme not in ("", "http", "https"):
        raise ImageError(
            f"{shown(url)}: {parts.scheme}: URLs are not read; put the image below volumes/images"
        )
    absolute = urljoin(settings.labelstudio_url, url)
    local = _local_path(url)
    if local is not None:
        try:
            return _file(settings, *local)
        except FileNotFoundError as error:
            if not parts.netloc or _is_label_studio(absolute, settings):
                raise ImageError(str(error)) from error
    if not parts.netloc and token is None:
        raise ImageError(
            f"{shown(url)}: only Label Studio serves this, and API_TOKEN, which `make up` writes, is not set"
        )
    return fetch(absolute, settings.labelstudio_url, token)


def _local_path(url: str) -> tuple[str, Path] | None:
    """For a URL that names a file of the appliance: "images" or "uploads", and the path below volumes/."""
    parts = urlsplit(url)
    if _LOCAL_FILES.search(parts.path):
        return "images", Path((parse_qs(parts.query).get("d") or [""])[0].lstrip("/"))
    if match := _UPLOAD.search(parts.path):
        return "uploads", Path(layout.UPLOADS) / unquote(match.group(1)).lstrip("/")
    if _OLD_UPLOAD.search(parts.path):
        below_media = (parse_qs(parts.query).get("filepath") or [""])[0].lstrip("/")
        return "uploads", Path("labelstudio/media") / below_media
    return None


def _file(settings: Settings, kind: str, relative: Path) -> Path:
    """The file in the shared volumes. Raises FileNotFoundError when it is missing, ImageError when it may not
    be read.
    """
    folder = settings.images_dir if kind == "images" else settings.uploads_dir
    try:
        resolved = (settings.volumes_dir / relative).resolve()
    except RuntimeError as error:
        raise ImageError(f"{relative}: a symbolic link that leads to itself") from error
    if not resolved.is_relative_to(folder.resolve()):
        raise ImageError(f"{relative}: lies outside {folder}, the only folder such a URL may name")
    if not resolved.exists():
        raise FileNotFoundError(f"{relative}: there is no file {resolved}")
    if not resolved.is_file():
        raise ImageError(f"{relative}: not a file")
    return resolved


def _is_label_studio(url: str, settings: Settings) -> bool:
    """Whether a browser that got this URL would ask our Label Studio."""
    address = urls.parse(url)
    return address.origin == urls.parse(settings.labelstudio_url).origin or address.host in _LOCALHOST


def _inline(url: str) -> bytes:
    head, _, payload = url.partition(",")
    if not head.endswith(";base64"):
        raise ImageError("data: URI: not base64")
    if len(payload) > MAX_BYTES * 4 // 3:
        raise ImageError(f"data: URI: larger than {MAX_BYTES >> 20} MiB")
    try:
        return base64.b64decode(unquote(payload), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"data: URI: {error}") from error


def _ask_label_studio(
    url: str, settings: Settings, task_id: int | None, token: str | None, fetch: Fetch
) -> Path | bytes:
    """Fetches a cloud URL through Label Studio, which redirects to a pre-signed URL or streams the file."""
    if task_id is None or token is None:
        raise ImageError(
            f"{shown(url)}: Label Studio did not resolve this cloud URL, and it cannot be asked without "
            + ("API_TOKEN" if token is None else "the task's id")
        )
    query = urlencode({"fileuri": base64.urlsafe_b64encode(url.encode()).decode()})
    path = f"/tasks/{task_id}/resolve/?{query}"
    try:
        return fetch(urljoin(settings.labelstudio_url, path), settings.labelstudio_url, token)
    except ImageAway as away:
        raise ImageAway(f"{shown(url)} through Label Studio: {away}", away.retry_after) from away
    except ImageError as error:
        raise ImageError(f"{shown(url)} through Label Studio: {error}") from error
