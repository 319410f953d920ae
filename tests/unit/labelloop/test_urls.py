"""A URL means one thing: to who checks it, to who connects, and to Python's own parser."""

import socket
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st
from urllib3.util import parse_url

from labelloop import urls
from labelloop.download import download
from labelloop.images import ImageError
from labelloop.settings import Settings
from labelloop.task_images import image_name, resolve_task_image

STUDIO = "http://labelstudio:8080"
PIECES = [
    *("http", "https", "://", ":", "/", "//", "\\", "@", "?", "#", "%", ".", "..", ";", "&", "=", "[", "]"),
    *(" ", "\t", "\n", "\r", "\0", "\x0b", "\x1f", "\x7f", "\x85", "\xa0", "\u2028", "\u3000", "\u200b"),
    *("evil.example", "labelstudio", "labelstudio:8080", "8080", "80", "data/a.jpg", "user:pw@", "[::1]"),
    *("%5c", "%2f", "%40", "%00", "%2e%2e/", "\uff45vil", "\u2100", "\u2044", "\uff0f", "\uff20", "\u3002"),
    *("LABELSTUDIO", "\u212aabelstudio", "\xdf", "\ud800", "\ufeff", "-", "0x7f.1"),
]
URLS = st.lists(st.sampled_from(PIECES) | st.text(max_size=2), max_size=9).map("".join) | st.lists(
    st.sampled_from(PIECES), max_size=9
).map(lambda pieces: "http://" + "".join(pieces))
ATTACK = r"http://evil.example\@labelstudio:8080/data/x.jpg"


@given(url=URLS)
@example(ATTACK)
def test_what_is_accepted_reads_the_same_to_every_parser(url: str) -> None:
    try:
        address = urls.parse(url)
    except ValueError:
        return
    for text in (url, str(address)):
        python, connects = urlsplit(text), parse_url(text)
        sent = parse_url(requests.Request("GET", text).prepare().url or "")
        assert {parts.scheme for parts in (python, connects, sent)} == {address.scheme}
        assert {parts.port or urls.PORTS[address.scheme] for parts in (python, connects, sent)} == {
            address.port
        }
        assert {connects.host, sent.host} == {address.host}
        if (python.hostname or "").isascii():
            assert (python.hostname or "").lower() == address.host.strip("[]")
        assert python.username is None and connects.auth is None
    assert urls.parse(str(address)) == address
    assert address.target.startswith("/") and address.target.isascii() and " " not in address.target


@given(base=st.sampled_from([STUDIO + "/tasks/5/resolve/", "http://images.example/a"]), location=URLS)
@example(STUDIO, ATTACK)
def test_a_redirect_leads_where_a_browser_would_go_or_nowhere(base: str, location: str) -> None:
    with suppress(ValueError):
        followed = urls.follow(urls.parse(base), location)
        if "//" not in location and ":" not in location:
            assert followed.origin == urls.parse(base).origin


class Wire:
    """Connects nowhere; keeps which host and port each request went to, and whether with the token."""

    def __init__(self) -> None:
        self.peers: list[tuple[str, int]] = []
        self.shown_to: set[tuple[str, int]] = set()

    def connect(self, address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
        address[0].encode("idna")
        self.peers.append(address)
        ours, theirs = socket.socketpair()
        theirs.close()
        shown_to = self.shown_to

        class Connected(socket.socket):
            def getpeername(self) -> Any:
                return ("8.8.8.8", address[1])

            def sendall(self, data: Any, *flags: int) -> None:
                if b"t0ken" in bytes(data):
                    shown_to.add(address)

        return Connected(fileno=ours.detach())


@given(url=URLS)
@example(ATTACK)
@example("/data/a.jpg")
@example(r"/\evil.example/data/a.jpg")
@example("//evil.example/data/a.jpg")
def test_whatever_a_task_holds_the_token_goes_to_label_studio_alone(url: str) -> None:
    wire = Wire()
    settings = Settings(labelstudio_url=STUDIO, api_token="t0ken")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("urllib3.util.connection.create_connection", wire.connect)
        for ask in (lambda: resolve_task_image(url, settings), lambda: download(url, STUDIO, "t0ken")):
            with suppress(ImageError):
                ask()
    assert wire.shown_to <= {("labelstudio", 8080)}


def test_the_wire_of_these_tests_sees_a_token_that_is_sent() -> None:
    wire = Wire()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("urllib3.util.connection.create_connection", wire.connect)
        with pytest.raises(ImageError, match="cannot be reached"):
            download(f"{STUDIO}/data/a.jpg", STUDIO, "t0ken")
    assert wire.shown_to == {("labelstudio", 8080)}


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (ATTACK, r"the character '\\\\'; write it as %5C"),
        ("http://h/a\tb", r"'\\t'; write it as %09"),
        ("http://h/a\u2028b", "the character"),
        (" http://h/", "no host"),
        ("http://a b/", "no host"),
        ("http://me:pw@h/", "user name"),
        ("http://@h/", "user name"),
        ("http:///a", "no host"),
        ("http://:80/", "no host"),
        ("http://h:99999/", "port"),
        ("ftp://h/", "ftp scheme; only http and https"),
        ("/data/a.jpg", "no scheme"),
    ],
)
def test_what_is_refused_says_why_and_shows_no_secret(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        urls.parse(url)
    assert "pw" not in str(refused.value)


def test_parts() -> None:
    address = urls.parse("HTTPS://Images.Example/a b/../ü.jpg?x=1&y=a b#f")
    assert address.origin == ("https", "images.example", 443)
    assert address.target == "/%C3%BC.jpg?x=1&y=a%20b" and address.path == "/%C3%BC.jpg"
    assert str(address) == "https://images.example/%C3%BC.jpg?x=1&y=a%20b"
    assert urls.parse("http://[::1]:81/").origin == ("http", "[::1]", 81)


def test_shown_is_short_and_bare() -> None:
    assert urls.shown("https://me:pw@host:1/a/b.jpg?sig=1#x") == "https://host:1/a/b.jpg"
    assert urls.shown("https://host/me@home.jpg") == "https://host/me@home.jpg"
    assert urls.shown("photos/me@home.jpg") == "photos/me@home.jpg"
    assert len(urls.shown("https://host/" + "x" * 999)) <= 200


@pytest.mark.parametrize("url", ["http://[::1/a?sig=s3cret", "http://me:s3cret@[::1/a", "http://me:s3cret@host:port/a",
                                 "http://me:s3cret\\@host/a", "//me:s3cret@host:x/a?sig=s3cret"])  # fmt: skip
def test_no_message_shows_what_stands_before_the_host_or_behind_the_path(url: str) -> None:
    settings = Settings(labelstudio_url=STUDIO, api_token="t0ken")
    with pytest.raises(ImageError) as refused:
        resolve_task_image(url, settings)
    assert "s3cret" not in str(refused.value) + image_name(url)
