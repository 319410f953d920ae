"""Downloads: bounded, and never led to an address or a token they should not have."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import labelloop.download
import labelloop.guarded
from labelloop.download import download, fetch
from labelloop.guarded import refused
from labelloop.images import ImageAway, ImageError
from labelloop.settings import Settings
from labelloop.task_images import resolve_task_image

Reply = Callable[[BaseHTTPRequestHandler], None]


class Host:
    """A web server on 127.0.0.1; `authorizations` holds the path and the credentials of each request."""

    def __init__(self) -> None:
        self.paths: dict[str, Reply] = {}
        self.authorizations: list[tuple[str, str | None]] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                host.authorizations.append((self.path, self.headers["Authorization"]))
                host.paths.get(self.path.partition("?")[0], status(404))(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


def body(content: bytes, **headers: str) -> Reply:
    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        for name, value in {"Content_Length": str(len(content)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(content)
        request.close_connection = True

    return reply


def redirect(target: str) -> Reply:
    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", target)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return reply


def status(code: int) -> Reply:
    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return reply


@pytest.fixture
def studio() -> Iterator[Host]:
    host = Host()
    yield host
    host.server.shutdown()
    host.server.server_close()


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Another host; as it is on 127.0.0.1 too, its port is let through."""
    host = Host()
    real = socket.socket.getpeername

    class Open(labelloop.guarded.Guarded):
        def _new_conn(self) -> socket.socket:
            connected: socket.socket = super(labelloop.guarded.Guarded, self)._new_conn()  # type: ignore[misc]
            peer, port = real(connected)[:2]
            if port != host.server.server_port and refused(peer):
                connected.close()
                raise ImageError(f"{peer} refused")
            return connected

    monkeypatch.setattr(labelloop.guarded.Guarded, "_new_conn", Open._new_conn)
    yield host
    host.server.shutdown()
    host.server.server_close()


def test_label_studios_own_files(studio: Host) -> None:
    studio.paths["/data/a.jpg"] = body(b"image")
    assert download(f"{studio.url}/data/a.jpg", studio.url, "t0ken") == b"image"
    assert studio.authorizations == [("/data/a.jpg", "Token t0ken")]


def test_the_token_goes_to_label_studios_file_paths_alone(studio: Host) -> None:
    studio.paths["/api/users"] = body(b"image")
    download(f"{studio.url}/api/users", studio.url, "t0ken")
    assert studio.authorizations == [("/api/users", None)]


def test_the_token_never_reaches_a_foreign_host(studio: Host, foreign: Host) -> None:
    foreign.paths["/data/a.jpg"] = body(b"image")
    studio.paths["/tasks/5/resolve/"] = redirect(f"{foreign.url}/data/a.jpg?signature=1")
    assert download(f"{foreign.url}/data/a.jpg", studio.url, "t0ken") == b"image"
    assert download(f"{studio.url}/tasks/5/resolve/?fileuri=x", studio.url, "t0ken") == b"image"
    assert [authorization for _, authorization in foreign.authorizations] == [None, None]
    assert studio.authorizations[0][1] == "Token t0ken"


DISGUISES = ["http://{foreign}\\@{studio}/data/a.jpg", "http://{foreign}\\\\@{studio}/data/a.jpg",
             "http://{foreign}/\\@{studio}/data/a.jpg", "http:\\\\{foreign}\\@{studio}/data/a.jpg",
             "http://{foreign}\t@{studio}/data/a.jpg", "http://{foreign}\n\\@{studio}/data/a.jpg",
             "http://{studio}@{foreign}/data/a.jpg", "http://{studio}\\@{foreign}/data/a.jpg",
             "http://{foreign}#@{studio}/data/a.jpg", "http://{foreign}?@{studio}/data/a.jpg",
             "//{foreign}/data/a.jpg", "//{foreign}\\@{studio}/data/a.jpg", "\\\\{foreign}/data/a.jpg",
             "/\\{foreign}/data/a.jpg", "/\t/{foreign}/data/a.jpg", "///{foreign}/data/a.jpg"]  # fmt: skip


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("way", ["task", "redirect of Label Studio", "redirect of a foreign host"])
def test_no_spelling_of_a_url_sends_the_token_to_a_foreign_host(
    studio: Host, foreign: Host, disguise: str, way: str
) -> None:
    """The credentials that the foreign host was shown are looked at, not what anybody read into the URL."""
    url = disguise.format(foreign=foreign.url[7:], studio=studio.url[7:])
    studio.paths["/tasks/5/resolve/"] = foreign.paths["/start"] = redirect(url.replace("\n", "\n "))
    settings = Settings(labelstudio_url=studio.url, api_token="t0ken")
    ways = {"redirect of Label Studio": "/tasks/5/resolve/?fileuri=x", "task": url}
    with suppress(ImageError):
        resolve_task_image(ways.get(way, f"{foreign.url}/start"), settings)
    assert {authorization for _, authorization in foreign.authorizations} <= {None}


def test_spaces_and_letters_in_a_path_are_encoded(studio: Host) -> None:
    studio.paths["/data/a%20%C3%BC.jpg"] = body(b"image")
    assert download(f"{studio.url}/data/a ü.jpg", studio.url, "t0ken") == b"image"


def test_redirects_are_followed_from_where_they_stand(studio: Host) -> None:
    studio.paths["/data/deep/a.jpg"] = redirect("../b.jpg?x=1")
    studio.paths["/data/b.jpg"] = redirect(f"{studio.url}/data/c.jpg")
    studio.paths["/data/c.jpg"] = body(b"image")
    assert download(f"{studio.url}/data/deep/a.jpg", studio.url, "t0ken") == b"image"
    assert [path for path, _ in studio.authorizations] == [
        "/data/deep/a.jpg",
        "/data/b.jpg?x=1",
        "/data/c.jpg",
    ]
    assert {authorization for _, authorization in studio.authorizations} == {"Token t0ken"}


@pytest.mark.parametrize(
    "path", ["/api/data/", "/x/tasks/5/resolve/", "/data/../api/users/", "/api/users/?a=/data/"]
)
def test_only_a_path_that_begins_as_label_studios_files_do_gets_the_token(studio: Host, path: str) -> None:
    with pytest.raises(ImageError, match="404"):
        download(studio.url + path, studio.url, "t0ken")
    assert studio.authorizations[0][1] is None


@pytest.mark.parametrize("port", ["same", "other"])
def test_this_machine_is_not_asked_unless_it_is_label_studio(studio: Host, port: str) -> None:
    url = studio.url if port == "same" else "http://127.0.0.1:1"
    trusted = "http://labelstudio:8080"
    with pytest.raises(ImageError, match=r"127\.0\.0\.1"):
        download(f"{url}/data/a.jpg", trusted, "t0ken")
    assert studio.authorizations == []


def test_no_redirect_to_this_machine_or_to_metadata(studio: Host, foreign: Host) -> None:
    foreign.paths["/a"] = redirect("http://127.0.0.1:1/b")
    foreign.paths["/b"] = redirect("http://localhost:1/latest/meta-data/")
    foreign.paths["/c"] = redirect("file:///etc/passwd")
    foreign.paths["/d"] = redirect("http://:1/")
    foreign.paths["/e"] = redirect("http://[::ffff:127.0.0.1]:1/")
    for path in "abcde":
        with pytest.raises(ImageError):
            download(f"{foreign.url}/{path}", "http://labelstudio:8080")


def test_redirects_end(studio: Host) -> None:
    studio.paths["/a"] = redirect("/a")
    with pytest.raises(ImageError, match="redirects"):
        download(f"{studio.url}/a", studio.url)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.8.8", "0.0.0.0", "169.254.169.254", "::1", "::", "fe80::1%eth0",
     "::ffff:169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192",
     "224.0.0.1", "255.255.255.255", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"],
)  # fmt: skip
def test_refused_addresses(address: str) -> None:
    assert refused(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "10.0.0.5", "192.168.1.7", "172.20.0.3", "fd12::5"])
def test_addresses_where_images_may_live(address: str) -> None:
    assert not refused(address)


def test_size_is_limited(studio: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelloop.download, "MAX_BYTES", 1 << 20)
    studio.paths["/declared"] = body(b"x" * 10, Content_Length=str(1 << 30))
    studio.paths["/undeclared"] = body(b"x" * (2 << 20))
    import gzip

    bomb = gzip.compress(b"\0" * (8 << 20))
    studio.paths["/bomb"] = body(bomb, Content_Encoding="gzip")
    for path in ("declared", "undeclared", "bomb"):
        with pytest.raises(ImageError, match="MiB"):
            download(f"{studio.url}/{path}", studio.url)


def test_a_body_that_breaks_off_is_an_error(studio: Host) -> None:
    studio.paths["/short"] = body(b"x" * 10, Content_Length="100")
    with pytest.raises(ImageError, match="broke off"):
        download(f"{studio.url}/short", studio.url)


def test_a_body_that_drips_is_given_up(studio: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelloop.download, "DEADLINE_S", 0.5)

    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        for _ in range(100):
            request.wfile.write(b"x")
            request.wfile.flush()
            time.sleep(0.1)

    studio.paths["/drip"] = drip
    began = time.monotonic()
    with pytest.raises(ImageError, match="not complete"):
        download(f"{studio.url}/drip", studio.url)
    assert time.monotonic() - began < 8


def test_chunked_bodies(studio: Host) -> None:
    def chunked(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for part in (b"im", b"age"):
            request.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        request.wfile.write(b"0\r\n\r\n")

    studio.paths["/chunked"] = chunked
    assert download(f"{studio.url}/chunked", studio.url) == b"image"


def test_errors_name_the_host_and_no_secret(studio: Host) -> None:
    url = f"{studio.url}/data/gone.jpg?X-Amz-Signature=s3cret"
    with pytest.raises(ImageError) as gone:
        download(url, studio.url, "t0ken")
    assert "404" in str(gone.value) and "/data/gone.jpg" in str(gone.value)
    with pytest.raises(ImageError) as down:
        download("http://127.0.0.1:9/a?sig=s3cret", "http://127.0.0.1:9")
    assert "cannot be reached" in str(down.value)
    with pytest.raises(ImageError, match="user name") as user:
        download("http://user:pw@127.0.0.1:9/a?sig=s3cret", "http://127.0.0.1:9")
    for error in (gone, down, user):
        assert "s3cret" not in str(error.value) and "pw" not in str(error.value)


def test_wrong_token_says_what_to_do(studio: Host) -> None:
    studio.paths["/data/a.jpg"] = status(401)
    with pytest.raises(ImageError, match="API token"):
        download(f"{studio.url}/data/a.jpg", studio.url, "old")


def test_what_a_server_said_of_one_file_is_not_asked_about_another(studio: Host) -> None:
    """A link that now leads to an older file is not unchanged. A new key in the query changes nothing."""

    def dated(content: bytes, day: int) -> Reply:
        when = f"Thu, {day:02d} Jan 2026 00:00:00 GMT"

        def reply(request: BaseHTTPRequestHandler) -> None:
            since = request.headers["If-Modified-Since"]
            if since and since >= when:
                request.send_response(304)
                request.end_headers()
                return
            body(content, Last_Modified=when)(request)

        return reply

    studio.paths |= {"/new.png": dated(b"new", 29), "/old.png": dated(b"old", 1)}
    studio.paths["/latest.png"] = redirect("/new.png?key=1")
    first = fetch(f"{studio.url}/latest.png", studio.url)
    assert first.content == b"new" and "new.png" not in first.stamp.place
    studio.paths["/latest.png"] = redirect("/new.png?key=2")
    assert fetch(f"{studio.url}/latest.png", studio.url, known=first.stamp).content is None
    studio.paths["/latest.png"] = redirect("/old.png")
    assert fetch(f"{studio.url}/latest.png", studio.url, known=first.stamp).content == b"old"


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("\u00b2", 0.0), ("9" * 5000, 0.0), ("-1", 0.0), ("soon", 0.0)]
)
def test_a_server_that_is_away_may_say_anything_of_when_it_is_back(
    studio: Host, header: str, seconds: float
) -> None:
    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(503)
        request.send_header("Retry-After", header)
        request.send_header("Content-Length", "0")
        request.end_headers()

    studio.paths["/a.png"] = reply
    with pytest.raises(ImageAway, match="answered 503") as away:
        fetch(f"{studio.url}/a.png", studio.url)
    assert away.value.retry_after == seconds
