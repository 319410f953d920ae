"""TIFF images for browsers, which cannot show them: served as PNG, from the same URL."""

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any
from urllib.parse import unquote

from PIL import Image

from labelloop.images import ImageError, read_image

TIFF_SUFFIXES = (".tif", ".tiff")
_DESCRIBES_THE_TIFF = (
    "content-type",
    "content-length",
    "content-range",
    "accept-ranges",
    "content-disposition",
)

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class TiffAsPng:
    """WSGI middleware around `app`: an answer of type image/tiff goes out as image/png, all others untouched.

    A TIFF that cannot be decoded goes out as it is.
    """

    def __init__(self, app: WsgiApp) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not _asks_for_tiff(environ):
            return self._app(environ, start_response)
        answer: dict[str, Any] = {}

        def keep(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], None]:
            answer.update(status=status, headers=headers, exc_info=exc_info)
            return body.append

        body: list[bytes] = []
        whole = {key: value for key, value in environ.items() if key != "HTTP_RANGE"}
        chunks = self._app(whole, keep)
        try:
            body += chunks
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        content, headers = b"".join(body), answer["headers"]
        types = {value.split(";")[0] for name, value in headers if name.lower() == "content-type"}
        if answer["status"].startswith("200") and types & {"image/tiff"}:
            content, headers = _as_png(content, headers)
        start_response(answer["status"], headers, answer["exc_info"])
        return [content]


def _asks_for_tiff(environ: dict[str, Any]) -> bool:
    path = environ.get("PATH_INFO", "")
    if not path.startswith("/data/"):
        return False
    named = (path, *unquote(environ.get("QUERY_STRING", "")).split("&"))
    return any(part.lower().endswith(TIFF_SUFFIXES) for part in named)


def _as_png(content: bytes, headers: list[tuple[str, str]]) -> tuple[bytes, list[tuple[str, str]]]:
    try:
        pixels = read_image(content)
    except ImageError:
        return content, headers
    png = BytesIO()
    Image.fromarray(pixels[:, :, ::-1]).save(png, "PNG", compress_level=1)
    kept = [(name, value) for name, value in headers if name.lower() not in _DESCRIBES_THE_TIFF]
    return png.getvalue(), [
        *kept,
        ("Content-Type", "image/png"),
        ("Content-Length", str(len(png.getvalue()))),
    ]
