"""Task data that leads astray: paths out of the folders, addresses of this machine, endless servers."""

import gzip
import socket
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.junk import JUNK
from support.web_host import WebHost

import labelloop.download
from labelloop.download import download
from labelloop.images import ImageError
from labelloop.settings import Settings
from labelloop.task_images import MAX_URL, image_name, resolve_task_image

METADATA = "169.254.169.254"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(labelloop_home=tmp_path, labelstudio_url="http://labelstudio:8080")
    (made.images_dir / "sub").mkdir(parents=True)
    made.uploads_dir.mkdir(parents=True)
    (made.images_dir / "a.jpg").write_bytes(b"image")
    (made.volumes_dir / "secret.jpg").write_bytes(b"secret")
    (made.images_dir / "out").symlink_to(made.volumes_dir)
    (made.images_dir / "loop").symlink_to(made.images_dir / "loop")
    return made


UP = ["../", "%2e%2e/", "%2e%2e%2f", "..%2f", "%252e%252e%252f", "..\\", "..%5c", "....//", "%c0%ae%c0%ae/",
      "․․/", "．．／", "sub/../../", "out/", "./.././", "..;/", "%00../", "\0../", "../\n"]  # fmt: skip
WAYS = ["/data/local-files/?d=images/", "/data/local-files/?d=", "/data/upload/", "/data/upload/1/",
        "/storage-data/uploaded/?filepath=upload/", "http://localhost:8080/data/local-files/?d=images/",
        "data/local-files/?d=images/"]  # fmt: skip


@given(
    way=st.sampled_from(WAYS),
    steps=st.lists(st.sampled_from(UP), min_size=1, max_size=6),
    end=st.sampled_from(
        ["secret.jpg", "etc/passwd", "/etc/passwd", "//etc/passwd", "volumes/secret.jpg", "loop", ""]
    ),
    twice=st.booleans(),
)
def test_no_spelling_of_a_path_leads_out(
    settings: Settings, way: str, steps: list[str], end: str, twice: bool
) -> None:
    path = "".join(steps) + end
    url = way + (quote(path) if twice else path)
    with pytest.raises(ImageError):
        resolve_task_image(url, settings)
    assert len(image_name(url)) <= 200


@given(url=JUNK)
def test_what_is_no_url_is_an_image_error(settings: Settings, url: object) -> None:
    assert len(image_name(url)) <= 200
    with pytest.raises(ImageError):
        resolve_task_image(url, settings)


def test_a_url_without_end_is_refused_in_few_words(settings: Settings) -> None:
    url = "/data/local-files/?d=images/" + "x" * 60_000_000
    with pytest.raises(ImageError, match=f"at most {MAX_URL:,}") as refused:
        resolve_task_image(url, settings)
    assert len(str(refused.value)) < 300 and len(image_name(url)) <= 200


class Resolver:
    """Names and addresses without a network: connects to nothing, and says which address it would be."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names
        self.sent: list[bytes] = []

    def connect(self, address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
        host = address[0].strip("[]")
        found = socket.getaddrinfo(self.names.get(host, host), address[1], flags=socket.AI_NUMERICHOST)
        ours, theirs = socket.socketpair()
        theirs.close()
        sent = self.sent

        class Connected(socket.socket):
            def getpeername(self) -> Any:
                return found[0][4]

            def sendall(self, data: Any, *flags: int) -> None:
                sent.append(bytes(data))

        return Connected(fileno=ours.detach())


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    made = Resolver(
        {
            "rebound.example.com": METADATA,
            "six.example.com": f"::ffff:{METADATA}",
            "ok.example.com": "8.8.8.8",
        }
    )
    monkeypatch.setattr("urllib3.util.connection.create_connection", made.connect)
    return made


@pytest.mark.parametrize(
    "host",
    [METADATA, "2852039166", "0xa9fea9fe", "0xa9.0xfe.0xa9.0xfe", "0251.0376.0251.0376", "169.254.43518",
     f"[::ffff:{METADATA}]", "[::ffff:a9fe:a9fe]", "[fe80::1]", "[fd00:ec2::254]", "[64:ff9b::a9fe:a9fe]",
     "[64:ff9b:1::a9fe:a9fe]", "[::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "127.1", "0", "[::]", "[::1]",
     "rebound.example.com", "six.example.com"],
)  # fmt: skip
def test_no_spelling_of_an_address_reaches_metadata_or_this_machine(resolver: Resolver, host: str) -> None:
    with pytest.raises(ImageError, match="images are not fetched from"):
        download(f"http://{host}/latest/meta-data/", "http://labelstudio:8080", "t0ken")
    assert resolver.sent == []


@pytest.mark.parametrize(
    "host", [f"user:pw@{METADATA}", f"ok.example.com@{METADATA}", "user:pw@ok.example.com"]
)
def test_user_info_before_the_host_is_refused_unshown(resolver: Resolver, host: str) -> None:
    with pytest.raises(ImageError, match="user name") as refused:
        download(f"http://{host}/latest/meta-data/", "http://labelstudio:8080", "t0ken")
    assert resolver.sent == [] and "pw" not in str(refused.value)


def test_a_name_that_resolves_elsewhere_is_asked(resolver: Resolver) -> None:
    with pytest.raises(ImageError, match="cannot be reached"):
        download("http://ok.example.com/a.jpg", "http://labelstudio:8080")
    assert resolver.sent


@given(host=st.text(max_size=20), path=st.text(max_size=20))
def test_any_host_is_an_image_error(host: str, path: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("urllib3.util.connection.create_connection", _unreachable)
        with pytest.raises(ImageError):
            download(f"http://{host}/{path}", "http://labelstudio:8080")


def _unreachable(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
    address[0].encode("idna")
    raise OSError("no network in this test")


Reply = Callable[[BaseHTTPRequestHandler], None]


def dripping(head: bytes, drop: bytes) -> Reply:
    """Sends `head`, and then `drop` every 50 ms for 5 s."""

    def reply(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(head)
        for _ in range(100):
            request.wfile.write(drop)
            time.sleep(0.05)

    return reply


OK = b"HTTP/1.1 200 OK\r\n"
DRIPS = {
    "status line": dripping(b"HTTP/1.1 200 O", b"K"),
    "headers": dripping(OK, b"X-A: b\r\n"),
    "one header": dripping(OK + b"X-A: ", b"b"),
    "continue": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": dripping(OK + b"Content-Length: 9999\r\n\r\n", b"x"),
    "body without a length": dripping(OK + b"\r\n", b"x"),
    "chunk size": dripping(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "silence": dripping(b"", b""),
}


@pytest.fixture
def host() -> Iterator[WebHost]:
    with WebHost() as made:
        yield made


@pytest.mark.parametrize("where", DRIPS)
def test_a_server_that_drips_is_given_up_wherever_it_does(
    host: WebHost, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(labelloop.download, "DEADLINE_S", 0.4)
    host.paths["/data/a.jpg"] = DRIPS[where]
    began = time.monotonic()
    with pytest.raises(ImageError, match="not complete after"):
        download(f"{host.url}/data/a.jpg", host.url)
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("length", [None, "5", "-1", "many", str(10**30)])
def test_a_body_without_end_is_given_up(
    host: WebHost, monkeypatch: pytest.MonkeyPatch, length: str | None
) -> None:
    monkeypatch.setattr(labelloop.download, "MAX_BYTES", 1 << 20)

    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        if length is not None:
            request.send_header("Content-Length", length)
        request.end_headers()
        for _ in range(400):
            request.wfile.write(b"x" * 65536)

    host.paths["/data/a.jpg"] = endless
    if length == "5":
        assert download(f"{host.url}/data/a.jpg", host.url) == b"xxxxx"
    else:
        with pytest.raises(ImageError):
            download(f"{host.url}/data/a.jpg", host.url)


def test_compression_within_compression_is_no_way_around_the_limit(
    host: WebHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelloop.download, "MAX_BYTES", 1 << 20)
    content = gzip.compress(gzip.compress(b"\0" * (64 << 20), 1))

    def bomb(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Encoding", "gzip, gzip")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    host.paths["/data/a.jpg"] = bomb
    with pytest.raises(ImageError, match="MiB"):
        download(f"{host.url}/data/a.jpg", host.url)
