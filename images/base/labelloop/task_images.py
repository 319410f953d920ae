"""From the URL in a Label Studio task to the image behind it.

Files of the appliance are read from the shared volumes; anything else over HTTP. The token goes to Label Studio alone.
"""

from pathlib import Path
from urllib.parse import parse_qs, unquote, urljoin, urlsplit

import requests

from labelloop.images import ImageError
from labelloop.settings import Settings

LOCAL_FILES = "/data/local-files/"
UPLOADS = "/data/upload/"
MAX_BYTES = 100 * 1024 * 1024
TIMEOUT_S = (3.0, 20.0)
_UNRESOLVED = ("s3", "gs", "azure-blob", "azure_blob")


def resolve_task_image(url: object, settings: Settings) -> Path | bytes:
    """The file, or the downloaded bytes, of a task's image.

    Raises:
        ImageError: no URL, a path outside the folders that may be read, a file that is not there, a refused or failed
            download; the message names the URL.
    """
    if not isinstance(url, str) or not url.strip():
        raise ImageError(f"the task holds no image URL but {url!r}")
    parts = urlsplit(url)
    if parts.scheme in _UNRESOLVED:
        raise ImageError(
            f"{url}: Label Studio did not resolve this cloud URL; turn on pre-signed URLs in the storage's settings"
        )
    if parts.scheme not in ("", "http", "https"):
        raise ImageError(f"{url}: {parts.scheme}: URLs are not read")
    ours = not parts.netloc or _same_origin(url, settings.labelstudio_url)
    if ours and parts.path.startswith(LOCAL_FILES):
        relative = (parse_qs(parts.query).get("d") or [""])[0]
        return _inside(settings.volumes_dir / relative, settings.images_dir, url)
    if ours and parts.path.startswith(UPLOADS):
        return _inside(
            settings.uploads_dir / unquote(parts.path.removeprefix(UPLOADS)), settings.uploads_dir, url
        )
    if ours:
        token = settings.secret("api_token") if settings.api_token else ""
        return _download(
            urljoin(settings.labelstudio_url, url), {"Authorization": f"Token {token}"} if token else {}
        )
    return _download(url, {})


def _same_origin(url: str, other: str) -> bool:
    return urlsplit(url)[:2] == urlsplit(other)[:2]


def _inside(path: Path, folder: Path, url: str) -> Path:
    try:
        resolved = path.resolve()
    except (OSError, ValueError) as error:
        raise ImageError(f"{url}: {error}") from error
    if not resolved.is_relative_to(folder.resolve()):
        raise ImageError(f"{url}: lies outside {folder}")
    if not resolved.is_file():
        raise ImageError(f"{url}: there is no file {path}")
    return resolved


def _download(url: str, headers: dict[str, str]) -> bytes:
    try:
        with requests.get(
            url, headers=headers, timeout=TIMEOUT_S, stream=True, allow_redirects=not headers
        ) as response:
            response.raise_for_status()
            body = bytearray()
            for chunk in response.iter_content(1 << 16):
                body += chunk
                if len(body) > MAX_BYTES:
                    raise ImageError(f"{url}: larger than {MAX_BYTES >> 20} MiB")
            return bytes(body)
    except requests.RequestException as error:
        raise ImageError(f"{url}: {error}") from error
