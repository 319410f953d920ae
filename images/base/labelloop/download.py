"""Downloading an image over HTTP from a host that a task names, without being led astray by it.

No proxy, no .netrc, no cookies. Redirects are followed by hand, each checked like the first address. What is
checked is the address that the socket is connected to, so a name that resolves differently the second time
gains nothing. Addresses of a private network are allowed (image servers live there); this machine, link-local
and cloud metadata addresses are not. When its time is over, a download's connections are cut: a server that
drips the lines of its headers would otherwise be listened to for hours.
"""

import ipaddress
import re
import socket
import threading
import time
from contextlib import suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from labelloop.images import ImageError

MAX_BYTES = 100 * 1024 * 1024
MAX_REDIRECTS = 4
TIMEOUT_S = (3.0, 15.0)
DEADLINE_S = 30.0
_CHUNK = 1 << 16

_REFUSED_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "100.100.100.200/32",  # metadata, Alibaba
        "168.63.129.16/32",  # metadata, Azure
        "192.0.0.192/32",  # metadata, Oracle
        "fd00:ec2::254/128",  # metadata, AWS
        "64:ff9b::/96",  # IPv4 behind NAT64
        "64:ff9b:1::/48",  # and behind a local one
        "2002::/16",  # IPv4 behind 6to4
    )
)
# What Label Studio serves files under; the token goes nowhere else, not even on its own host.
_FILES_OF_LABEL_STUDIO = re.compile(
    r"/(data|storage-data)/|/(tasks|projects)/\d+/(resolve|presign)/|/api/projects/\d+/file-proxy"
)


def shown(url: str) -> str:
    """The URL as messages may carry it: cut short, without credentials and query (a pre-signed URL's key)."""
    parts = urlsplit(url)
    if parts.scheme == "data":
        return "data: URI"
    host = parts.netloc.rpartition("@")[2]
    return (f"{parts.scheme}://{host}{parts.path}" if parts.scheme else f"{host}{parts.path}")[:200]


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port, the scheme's own port filled in. ValueError for a port that is no number."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), port


def download(url: str, trusted: str, token: str | None = None) -> bytes:
    """The body behind a http(s) URL.

    trusted: Label Studio's own URL; only that origin may have any address, and only it is shown `token`, for
    the paths it serves files under.

    Raises:
        ImageError: refused, unreachable, too slow, too large, or an answer other than 200.
    """
    name = shown(url)
    with _Deadline(DEADLINE_S) as deadline, _session(trusted) as session:
        for _ in range(MAX_REDIRECTS + 1):
            ours = _check(url, name, trusted)
            headers = {"Accept": "image/*,*/*;q=0.5"}
            if ours and token and _FILES_OF_LABEL_STUDIO.search(urlsplit(url).path):
                headers["Authorization"] = f"Token {token}"
            try:
                with session.get(
                    url, headers=headers, timeout=TIMEOUT_S, stream=True, allow_redirects=False
                ) as answer:
                    if not answer.is_redirect:
                        return _body(answer, name, deadline, ours)
                    url = urljoin(url, answer.headers["location"])
            except (requests.RequestException, UnicodeError) as error:
                raise ImageError(f"{name}: {deadline.words() or _why(error)}") from error
    raise ImageError(f"{name}: more than {MAX_REDIRECTS} redirects")


def _check(url: str, name: str, trusted: str) -> bool:
    """Whether the URL is Label Studio's own."""
    try:
        scheme, host, _ = asked = origin(url)
    except ValueError as error:
        raise ImageError(f"{name}: not a URL: {error}") from error
    if scheme not in ("http", "https") or not host:
        raise ImageError(f"{name}: leads to {shown(url)!r}; only http and https are followed")
    return asked == origin(trusted)


def _body(answer: requests.Response, name: str, deadline: "_Deadline", ours: bool) -> bytes:
    if deadline.words():  # where headers are cut, the lines before the cut are taken for all of them
        raise ImageError(f"{name}: {deadline.words()}")
    if answer.status_code != 200:
        raise ImageError(
            f"{name}: answered {answer.status_code} {answer.reason}{_hint(answer.status_code, ours)}"
        )
    declared = answer.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > MAX_BYTES:
        raise ImageError(f"{name}: {int(declared) >> 20} MiB; at most {MAX_BYTES >> 20} MiB are read")
    body = bytearray()
    try:
        while chunk := answer.raw.read1(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > MAX_BYTES:
                raise ImageError(f"{name}: larger than {MAX_BYTES >> 20} MiB")
            if deadline.words():
                raise ImageError(f"{name}: {deadline.words()}")
    except OSError as error:
        raise ImageError(f"{name}: {deadline.words() or f'broke off: {error}'}") from error
    except Exception as error:  # urllib3 has its own tree of errors
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{name}: {deadline.words() or f'broke off: {type(error).__name__}'}") from error
    if deadline.words():  # a cut looks like the end of a body without a length
        raise ImageError(f"{name}: {deadline.words()}")
    if declared.isdigit() and not answer.headers.get("content-encoding") and len(body) < int(declared):
        raise ImageError(f"{name}: broke off after {len(body)} of {declared} bytes")
    return bytes(body)


def _hint(status: int, ours: bool) -> str:
    if not ours or status not in (401, 403, 404):
        return ""
    if status == 404:
        return "; Label Studio has no such file, or no storage connected that holds it"
    return (
        "; the API token of .env is not (or no longer) valid for this project: `make up` provisions it again"
    )


def _why(error: requests.RequestException | UnicodeError) -> str:
    """The error without the URL that requests puts into its messages."""
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    if isinstance(error, requests.Timeout):
        return f"did not answer within {TIMEOUT_S[0]:.0f} s (connect) or {TIMEOUT_S[1]:.0f} s (read)"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached"
    return f"cannot be fetched ({type(error).__name__})"


def refused(address: str) -> bool:
    """Whether a host that a task names may not have this IP address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    special = ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved
    return special or any(ip in network for network in _REFUSED_NETWORKS if network.version == ip.version)


class _Deadline:
    """A download's time, as a context: when it is over, the connections made in it are cut."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> "_Deadline":
        self._before = _deadline.set(self)
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        _deadline.reset(self._before)
        self._timer.cancel()
        with self._lock:
            for connected in self._sockets:
                connected.close()
            self._sockets.clear()

    def watch(self, connected: socket.socket) -> None:
        """A duplicate is kept, for TLS takes the socket itself over."""
        with self._lock:
            self._sockets.append(connected.dup())
        if self.words():
            self._cut()

    def words(self) -> str:
        """Empty while there is time left."""
        return f"not complete after {self._seconds:.0f} s" if time.monotonic() >= self._ends else ""

    def _cut(self) -> None:
        with self._lock:
            for connected in self._sockets:
                with suppress(OSError):
                    connected.shutdown(socket.SHUT_RDWR)


_deadline: ContextVar[_Deadline] = ContextVar("deadline of this thread's download")


class _Watched:
    """Mixed into urllib3's connections: lets the deadline cut them."""

    def _new_conn(self) -> socket.socket:
        connected: socket.socket = super()._new_conn()  # type: ignore[misc]
        _deadline.get().watch(connected)
        return connected


class _Guarded(_Watched):
    """Looks at the peer before a byte is sent."""

    host: str

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        peer = connected.getpeername()[0]
        if refused(peer):
            connected.close()
            raise ImageError(
                f"{self.host}: has the address {peer}, which images are not fetched from; "
                "put the file into volumes/images instead"
            )
        return connected


class _GuardedHTTPConnection(_Guarded, HTTPConnection):
    pass


class _GuardedHTTPSConnection(_Guarded, HTTPSConnection):
    pass


class _WatchedHTTPConnection(_Watched, HTTPConnection):
    pass


class _WatchedHTTPSConnection(_Watched, HTTPSConnection):
    pass


class _GuardedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _GuardedHTTPConnection


class _GuardedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedHTTPSConnection


class _WatchedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _WatchedHTTPConnection


class _WatchedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPSConnection


class _GuardedAdapter(HTTPAdapter):
    pools: dict[str, type[HTTPConnectionPool]] = {"http": _GuardedHTTPPool, "https": _GuardedHTTPSPool}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self.pools


class _WatchedAdapter(_GuardedAdapter):
    """For Label Studio, which may have any address."""

    pools = {"http": _WatchedHTTPPool, "https": _WatchedHTTPSPool}


def _session(trusted: str) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", _GuardedAdapter())
    session.mount("https://", _GuardedAdapter())
    parts = urlsplit(trusted)
    session.mount(f"{parts.scheme}://{parts.netloc}/", _WatchedAdapter())
    return session
