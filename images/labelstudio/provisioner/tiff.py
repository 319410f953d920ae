"""TIFF images for browsers, which cannot show them: served as PNG, from the same URL."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import SpooledTemporaryFile, TemporaryFile
from typing import IO, Any
from urllib.parse import unquote
from wsgiref.util import FileWrapper

from labelloop.images import ImageBusy, ImageError, upright

log = logging.getLogger(__name__)

TIFF_SUFFIXES = (".tif", ".tiff")
IN_MEMORY_BYTES = 1 << 20
RETRY_S = 10
_CHUNK = 1 << 16
_DESCRIBES_THE_TIFF = (
    "content-type",
    "content-length",
    "content-range",
    "accept-ranges",
    "content-disposition",
)

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Headers = list[tuple[str, str]]


class TiffAsPng:
    """WSGI middleware around `app`: an answer of type image/tiff goes out as image/png, all others untouched.

    A TIFF that cannot be decoded goes out as it is; while others are being decoded, a large one is to be
    asked for again. Neither the TIFF nor the PNG is held in memory, but in files without a name.

    folder: where these are; one on a disk, which the system's for temporary files may not be.
    """

    def __init__(self, app: WsgiApp, folder: Path) -> None:
        self._app = app
        self._folder = folder

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not _asks_for_tiff(environ):
            return self._app(environ, start_response)
        answer: dict[str, Any] = {}
        # Closed by the server, once it is sent.
        body = SpooledTemporaryFile(IN_MEMORY_BYTES, dir=str(self._folder))  # noqa: SIM115

        def keep(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], int]:
            answer.update(status=status, headers=headers, exc_info=exc_info)
            return body.write

        whole = {key: value for key, value in environ.items() if key != "HTTP_RANGE"}
        chunks = self._app(whole, keep)
        try:
            for chunk in chunks:
                body.write(chunk)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        status, headers = answer["status"], answer["headers"]
        types = {value.split(";")[0] for name, value in headers if name.lower() == "content-type"}
        content: IO[bytes] = body
        if status.startswith("200") and types & {"image/tiff"}:
            name = unquote(environ.get("QUERY_STRING") or environ["PATH_INFO"])
            try:
                content, headers = self._as_png(body, name, headers)
            except ImageBusy as busy:
                start_response("503 Service Unavailable", [("Retry-After", str(RETRY_S))])
                return [str(busy).encode()]
            except ImageError as error:
                log.warning("a TIFF that browsers cannot show goes out as it is: %s", error)
        content.seek(0)
        start_response(status, headers, answer["exc_info"])
        return FileWrapper(content, _CHUNK)

    def _as_png(self, tiff: IO[bytes], name: str, headers: Headers) -> tuple[IO[bytes], Headers]:
        png = TemporaryFile(dir=self._folder)  # noqa: SIM115 - as above
        with upright(tiff, name) as image:
            image.info.clear()
            image.save(png, "PNG", compress_level=1)
        tiff.close()
        kept = [(name, value) for name, value in headers if name.lower() not in _DESCRIBES_THE_TIFF]
        return png, [*kept, ("Content-Type", "image/png"), ("Content-Length", str(png.tell()))]


def _asks_for_tiff(environ: dict[str, Any]) -> bool:
    path = environ.get("PATH_INFO", "")
    if not path.startswith("/data/"):
        return False
    named = (path, *unquote(environ.get("QUERY_STRING", "")).split("&"))
    return any(part.lower().endswith(TIFF_SUFFIXES) for part in named)
