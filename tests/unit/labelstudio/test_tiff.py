import fcntl
import os
import tempfile
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest
from PIL import Image
from support.memory import grown_mib

from labelloop import decoding
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
    served = TiffAsPng(app, Path(gettempdir()))
    body = b"".join(
        served(environ, lambda status, headers, exc_info=None: answer.extend([status, dict(headers)]))
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


def test_nobody_has_to_wait_for_a_tiff_in_vain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(decoding, "WAIT_S", 0.0)
    ask(serving(tiff()))
    with (tmp_path / f"labelloop-{os.getuid()}" / "large.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        large = BytesIO()
        Image.new("L", (4000, 4000)).save(large, "TIFF", compression="tiff_adobe_deflate")
        status, headers, body = ask(serving(large.getvalue()))
    assert status.startswith("503") and headers["Retry-After"] and b"other large images" in body


def test_a_tiff_that_takes_too_much_goes_out_as_it_is_and_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(decoding, "MAX_BYTES", 100)
    assert ask(serving(tiff()))[2] == tiff()
    assert "d=images/sub/a.TIF: 6 x 4 pixels" in caplog.text and "save it with fewer pixels" in caplog.text


SERVED = """
from pathlib import Path
from labelloop import decoding
from provisioner.tiff import TiffAsPng
environ = {{"PATH_INFO": "/data/upload/1/a.tif"}}
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "image/tiff")])
    return (content[at : at + 65536] for at in range(0, len(content), 65536))
"""


def test_serving_a_tiff_holds_neither_file_in_memory(tmp_path: Path) -> None:
    """A noisy image, whose TIFF and PNG are as large as its pixels."""
    setup = f"""
import os
from io import BytesIO
from PIL import Image
noise = Image.frombytes("RGB", (3000, 3000), os.urandom(27_000_000))
file = BytesIO()
noise.save(file, "TIFF")
content = file.getvalue()
{SERVED.format()}
served = TiffAsPng(app, Path({str(tmp_path)!r}))
"""
    code = "sent = sum(map(len, served(environ, lambda *answer: None)))\nassert sent > 26_000_000"
    assert grown_mib(setup, code) < 5 * 9_000_000 / (1 << 20)
