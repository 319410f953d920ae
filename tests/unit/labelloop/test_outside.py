"""Hosts outside: who we say we are, the proxy, the company's certificates, and the hosts that are opened."""

import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.web_host import WebHost

from labelloop.download import download
from labelloop.guarded import refused
from labelloop.images import ImageError
from labelloop.outside import Outside, without_proxy
from labelloop.settings import Settings
from labelloop.task_images import resolve_task_image
from labelloop.urls import parse

STUDIO = "http://labelstudio:8080"


def picture(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "7")
    request.end_headers()
    request.wfile.write(b"picture")


def picky(request: BaseHTTPRequestHandler) -> None:
    """Refuses clients that don't say who they are, as some hosts do."""
    known = "labelloop" in request.headers["User-Agent"] or "ann@x.org" in request.headers["User-Agent"]
    if known and "Authorization" not in request.headers:
        return picture(request)
    return request.send_error(403)


@pytest.fixture
def host() -> Iterator[WebHost]:
    with WebHost() as made:
        made.paths["/a.jpg"] = picky
        yield made


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("NO_PROXY", "no_proxy", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    return Settings(labelloop_home=tmp_path, labelstudio_url=STUDIO, api_token="t0ken")


def test_only_a_host_that_is_named_with_its_port_may_be_on_this_machine(
    host: WebHost, settings: Settings
) -> None:
    with pytest.raises(ImageError, match="or name the host in IMAGE_HOSTS"):
        resolve_task_image(f"{host.url}/a.jpg", settings)
    opened = settings.model_copy(update={"image_hosts": f"http://minio.lan:9000,{host.url}"})
    assert resolve_task_image(f"{host.url}/a.jpg", opened) == b"picture", "and it got no token"
    with WebHost() as other:
        other.paths["/a.jpg"] = picture
        with pytest.raises(ImageError, match="images are not fetched from"):
            resolve_task_image(f"{other.url}/a.jpg", opened)
        host.paths["/led.jpg"] = lambda request: _redirect(request, f"{other.url}/a.jpg")
        with pytest.raises(ImageError, match="images are not fetched from"):
            resolve_task_image(f"{host.url}/led.jpg", opened)


def _redirect(request: BaseHTTPRequestHandler, target: str) -> None:
    request.send_response(302)
    request.send_header("Location", target)
    request.send_header("Content-Length", "0")
    request.end_headers()


def test_the_stacks_own_network_is_no_place_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not refused("10.213.0.3"), "as any server on a LAN"
    monkeypatch.setenv("STACK_SUBNET", "10.213.0.0/24")
    assert refused("10.213.0.3") and refused("::ffff:10.213.0.3") and not refused("10.213.1.3")


def test_who_we_are_can_be_changed(host: WebHost, settings: Settings) -> None:
    opened = Outside(image_hosts=host.url, user_agent="curious")
    with pytest.raises(ImageError, match="answered 403"):
        download(f"{host.url}/a.jpg", STUDIO, outside=opened)
    named = Outside(image_hosts=host.url, user_agent="labels/1 (ann@x.org)")
    assert download(f"{host.url}/a.jpg", STUDIO, outside=named) == b"picture"


class Proxy:
    """An HTTP proxy on 127.0.0.1 that answers by itself; `asked` holds the requests' first lines."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                proxy.asked.append((self.path, self.headers["Proxy-Authorization"]))
                picture(self)

            def do_CONNECT(self) -> None:
                proxy.asked.append((f"CONNECT {self.path}", self.headers["Proxy-Authorization"]))
                self.send_error(403)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://user:p%40ss@127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_proxy_is_asked_with_its_password_and_says_so_when_it_refuses(settings: Settings) -> None:
    with Proxy() as proxy:
        outside = Outside(http_proxy=proxy.url, https_proxy=proxy.url)
        assert download("http://images.example/a.jpg", STUDIO, "t0ken", outside) == b"picture"
        with pytest.raises(ImageError, match="the proxy did not lead there") as told:
            download("https://images.example/a.jpg", STUDIO, "t0ken", outside)
    assert "ss@" not in str(told.value)
    basic = "Basic dXNlcjpwQHNz"
    assert proxy.asked == [("http://images.example/a.jpg", basic), ("CONNECT images.example:443", basic)]


def test_label_studio_and_exempt_hosts_are_asked_without_a_proxy(host: WebHost, settings: Settings) -> None:
    with Proxy() as proxy:
        outside = Outside(http_proxy=proxy.url)
        host.paths["/data/upload/a.jpg"] = picture
        assert download(f"{host.url}/data/upload/a.jpg", host.url, "t0ken", outside) == b"picture"
        opened = Outside(http_proxy=proxy.url, image_hosts=host.url)
        assert download(f"{host.url}/a.jpg", STUDIO, "t0ken", opened) == b"picture"
    assert proxy.asked == []


@pytest.mark.parametrize(
    "place", ["127.0.0.1", "127.1", "2130706433", "localhost", "[::1]", "169.254.169.254"]
)
def test_no_proxy_is_asked_for_this_machine(settings: Settings, place: str) -> None:
    with Proxy() as proxy, pytest.raises(ImageError, match="images are not fetched from"):
        download(f"http://{place}/a.jpg", STUDIO, outside=Outside(http_proxy=proxy.url))
    assert proxy.asked == []


@pytest.mark.parametrize(
    ("no_proxy", "exempt"),
    [
        ("", False),
        ("*", True),
        ("images.example", True),
        (".example", True),
        ("example", True),
        ("other.example, images.example:80", True),
        ("ages.example", False),
        ("images.example:81", False),
    ],
)
def test_no_proxy_is_read_as_other_programs_do(settings: Settings, no_proxy: str, exempt: bool) -> None:
    outside = Outside(http_proxy="http://proxy:3128", no_proxy=no_proxy)
    assert (outside.proxy_for(parse("http://images.example/a.jpg")) is None) == exempt


def test_no_proxy_may_name_a_network(settings: Settings) -> None:
    outside = Outside(http_proxy="http://proxy:3128", no_proxy="10.0.0.0/8,x")
    assert outside.proxy_for(parse("http://10.1.2.3/a.jpg")) is None
    assert outside.proxy_for(parse("http://11.1.2.3/a.jpg")) == "http://proxy:3128"


def test_the_stacks_own_names_are_added_once() -> None:
    names = without_proxy(["localhost", "http://mlbackend:9090"], " .corp , localhost")
    assert names == "localhost,mlbackend,.corp"


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that only its own authority vouches for: itself."""
    folder = tmp_path_factory.mktemp("company")
    subject = ["-subj", "/CN=company", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *files]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return folder


@pytest.mark.parametrize("by", ["CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_companys_own_certificates_are_trusted_when_they_are_named(
    company: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    with WebHost() as host:
        host.paths["/a.jpg"] = picture
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(company / "ca.pem", company / "key.pem")
        server = host._server
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = host.url.replace("http://", "https://")
        opened = settings.model_copy(update={"image_hosts": url})
        with pytest.raises(ImageError, match="certificate is not trusted; CA_BUNDLE names further ones"):
            resolve_task_image(f"{url}/a.jpg", opened)
        if by == "CA_BUNDLE":
            opened = opened.model_copy(update={"ca_bundle": company / "ca.pem"})
        else:
            monkeypatch.setenv(by, str(company / "ca.pem"))
        assert resolve_task_image(f"{url}/a.jpg", opened) == b"picture"


def test_a_file_of_certificates_that_is_not_there_is_named(settings: Settings) -> None:
    lost = settings.model_copy(
        update={"ca_bundle": Path("configs/lost.pem"), "image_hosts": "https://127.0.0.1:1"}
    )
    with pytest.raises(ImageError, match=r"configs/lost\.pem: No such file"):
        resolve_task_image("https://127.0.0.1:1/a.jpg", lost)


def test_one_file_holds_the_usual_certificates_and_the_companys(company: Path, tmp_path: Path) -> None:
    outside = Outside(ca_files=(company / "ca.pem",))
    outside.write_certificates(tmp_path / "all.pem")
    loaded = ssl.create_default_context(cafile=str(tmp_path / "all.pem")).get_ca_certs()
    subjects = [str(certificate["subject"]) for certificate in loaded]
    assert len(subjects) > 50 and any("company" in subject for subject in subjects)
