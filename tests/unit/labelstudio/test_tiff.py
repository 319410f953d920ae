from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from provisioner.tiff import TiffAsPng, WsgiApp


def tiff() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (6, 4), (200, 30, 10)).save(buffer, "TIFF")
    return buffer.getvalue()


def serving(body: bytes, content_type: str = "image/tiff", status: str = "200 OK") -> WsgiApp:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        assert "HTTP_RANGE" not in environ or not environ["QUERY_STRING"].endswith(".TIF")
        start_response(
            status, [("Content-Type", content_type), ("Content-Length", str(len(body))), ("ETag", "x")]
        )
        return iter([body[:3], body[3:]])

    return app


def ask(
    app: WsgiApp, query: str = "d=images/sub/a.TIF", path: str = "/data/local-files/"
) -> tuple[str, dict[str, str], bytes]:
    answer: list[Any] = []
    environ = {"PATH_INFO": path, "QUERY_STRING": query, "HTTP_RANGE": "bytes=0-1"}
    body = b"".join(
        TiffAsPng(app)(environ, lambda status, headers, exc_info=None: answer.extend([status, dict(headers)]))
    )
    return answer[0], answer[1], body


@pytest.mark.parametrize(
    ("path", "query"), [("/data/local-files/", "d=images/sub/a.TIF"), ("/data/upload/1/b.tiff", "")]
)
def test_a_tiff_goes_out_as_png_from_the_same_url(path: str, query: str) -> None:
    status, headers, body = ask(serving(tiff()), query, path)
    assert status == "200 OK" and headers["Content-Type"] == "image/png" and headers["ETag"] == "x"
    assert headers["Content-Length"] == str(len(body))
    image = Image.open(BytesIO(body))
    assert image.format == "PNG" and image.size == (6, 4) and image.getpixel((0, 0)) == (200, 30, 10)


def test_everything_else_is_untouched() -> None:
    assert ask(serving(b"jpeg", "image/jpeg"), "d=images/a.jpg")[2] == b"jpeg"
    assert ask(serving(b"no", "text/html", "403 Forbidden"))[0] == "403 Forbidden"
    assert ask(serving(b"<html>", "text/html"), query="", path="/projects/a.tif")[2] == b"<html>"


def test_a_damaged_tiff_goes_out_as_it_is() -> None:
    assert ask(serving(b"II*\0broken"))[1:] == (
        {"Content-Type": "image/tiff", "Content-Length": "10", "ETag": "x"},
        b"II*\0broken",
    )
