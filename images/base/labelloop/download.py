"""Downloads an image over HTTP from a host that a task names. The host is not trusted.

.netrc and cookies are not used. Redirects are followed by hand, and each is checked like the first
address. A URL is parsed once, and the connection is made from its parts. The API token is sent only over a
connection that was made from Label Studio's own URL, whatever the task's URL says. For any other host the
address of the connected socket is checked, so a name that resolves differently the second time cannot get
around the check. Addresses of a private network are allowed, as image servers are there. Loopback, link-local
and cloud metadata addresses and the stack's own network are refused, except for the hosts of IMAGE_HOSTS. A
proxy is connected to instead, and which names it leads where is its operator's affair; but it is not asked
for such addresses as literals. A download's connections are cut at its deadline, because a server that sends
its headers very slowly could otherwise hold a connection for hours.
"""

import ipaddress
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import BaseHTTPResponse, ProxyManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError, ProxyError, SSLError
from urllib3.exceptions import TimeoutError as TimedOut
from urllib3.util import make_headers, parse_url

from labelloop import urls
from labelloop.images import ImageAway, ImageError
from labelloop.outside import CertificateError, Outside
from labelloop.urls import WebAddress, shown

MAX_BYTES = 100 * 1024 * 1024
MAX_REDIRECTS = 4
TIMEOUT_S = (3.0, 15.0)
DEADLINE_S = 30.0
# Statuses, beside those from 500, of servers that may answer otherwise in a moment.
_FOR_NOW = (408, 425, 429)
_CHUNK = 1 << 16

_REFUSED_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "100.100.100.200/32",  # metadata, Alibaba
        "168.63.129.16/32",  # metadata, Azure
        "192.0.0.192/32",  # metadata, Oracle
        "fd00:ec2::254/128",  # metadata, AWS
        "64:ff9b::/96",  # IPv4 behind NAT64
        "64:ff9b:1::/48",  # IPv4 behind a local NAT64
        "2002::/16",  # IPv4 behind 6to4
    )
)
# The paths at which Label Studio serves files. The token is sent to no other path, even on the same host.
_FILES_OF_LABEL_STUDIO = re.compile(
    r"/(data|storage-data)/|/(tasks|projects)/\d+/(resolve|presign)/|/api/projects/\d+/file-proxy"
)


@dataclass(frozen=True)
class Stamp:
    """What a server said with an answer, so that it can be asked whether anything has changed since. origin:
    whose words they are.
    """

    origin: str
    etag: str = ""
    last_modified: str = ""

    def conditions(self, origin: str) -> dict[str, str]:
        """The headers of a request to an origin that is to be answered only if something has changed."""
        if origin != self.origin:
            return {}
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value}


@dataclass(frozen=True)
class Fetched:
    """An answer. content: its body; None where nothing has changed."""

    content: bytes | None
    stamp: Stamp


def download(
    url: str,
    trusted: str,
    token: str | None = None,
    outside: Outside = Outside(),  # noqa: B008
    authorization: str | None = None,
) -> bytes:
    """The body of the answer at an http(s) URL; see `fetch`."""
    content = fetch(url, trusted, token, outside, authorization=authorization).content
    assert content is not None, "only a request with conditions is answered so"
    return content


def fetch(
    url: str,
    trusted: str,
    token: str | None = None,
    outside: Outside = Outside(),  # noqa: B008
    known: Stamp | None = None,
    authorization: str | None = None,
) -> Fetched:
    """Asks for an http(s) URL.

    trusted: Label Studio's own URL. Only that origin may have any address, and only that origin receives
    `token`, on the paths at which it serves files. known: what was said with the bytes that the caller has.
    authorization: the header's whole value, in the token's place.

    Raises:
        ImageError: the host is refused, the body is too large, or the status is not 200.
        ImageAway: the host is unreachable, too slow or not well, or does not take our credentials.
    """
    name = shown(url)
    studio = urls.parse(trusted)
    authorization = authorization or (f"Token {token}" if token else None)
    address = _taken_apart(name, lambda: urls.parse(url))
    with _Deadline(DEADLINE_S) as deadline:
        for _ in range(MAX_REDIRECTS + 1):
            ours = address.origin == studio.origin
            with _pool(studio, _WATCHED, outside) if ours else _pool_outside(address, outside) as pool:
                headers = {"Accept": "image/*,*/*;q=0.5", "User-Agent": outside.user_agent}
                if known:
                    headers |= known.conditions(_name(address))
                if ours and authorization and _serves_files(address, studio):
                    headers["Authorization"] = authorization
                try:
                    answer = pool.urlopen(
                        "GET",
                        address.target if isinstance(pool, HTTPConnectionPool) else str(address),
                        headers=headers,
                        timeout=Timeout(connect=TIMEOUT_S[0], read=TIMEOUT_S[1]),
                        retries=False,
                        redirect=False,
                        preload_content=False,
                    )
                except (HTTPError, OSError, UnicodeError) as error:
                    raise _cannot_be_had(name, deadline.words(), error) from error
                with closing(answer):
                    location = answer.get_redirect_location()
                    if known and answer.status == 304:
                        return Fetched(None, known)
                    if not location:
                        return Fetched(_body(answer, name, deadline, ours), _stamp(answer, address))
            address = _led_to(name, address, location)
    raise ImageError(f"{name}: more than {MAX_REDIRECTS} redirects")


def _taken_apart(name: str, parse: Callable[[], WebAddress]) -> WebAddress:
    try:
        return parse()
    except ValueError as error:
        raise ImageError(f"{name}: {error}") from error


def _led_to(name: str, address: WebAddress, location: str) -> WebAddress:
    try:
        return urls.follow(address, location)
    except ValueError as error:
        raise ImageError(f"{name}: leads to {shown(location)!r}: {error}") from error


def _serves_files(address: WebAddress, studio: WebAddress) -> bool:
    path = address.path.removeprefix(studio.path.rstrip("/"))
    return _FILES_OF_LABEL_STUDIO.match(path) is not None


def _body(answer: BaseHTTPResponse, name: str, deadline: "_Deadline", ours: bool) -> bytes:
    if deadline.words():  # urllib3 takes the lines before a cut for complete headers
        raise ImageAway(f"{name}: {deadline.words()}")
    if answer.status != 200:
        words = f"{name}: answered {answer.status} {answer.reason}{_hint(answer.status, ours)}"
        if answer.status in _FOR_NOW or answer.status >= 500:
            raise ImageAway(words, _seconds(answer.headers.get("retry-after", "")))
        raise ImageAway(words, None) if answer.status in (401, 403) else ImageError(words)
    declared = answer.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > MAX_BYTES:
        raise ImageError(f"{name}: {int(declared) >> 20} MiB; at most {MAX_BYTES >> 20} MiB are read")
    body = bytearray()
    try:
        while chunk := answer.read1(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > MAX_BYTES:
                raise ImageError(f"{name}: larger than {MAX_BYTES >> 20} MiB")
            if deadline.words():
                raise ImageAway(f"{name}: {deadline.words()}")
    except OSError as error:
        raise ImageAway(f"{name}: {deadline.words() or f'broke off: {error}'}") from error
    except Exception as error:  # urllib3's errors have a base class of their own
        if isinstance(error, ImageError):
            raise
        raise ImageAway(f"{name}: {deadline.words() or f'broke off: {type(error).__name__}'}") from error
    if deadline.words():  # without a length, a cut looks like the end of the body
        raise ImageAway(f"{name}: {deadline.words()}")
    if declared.isdigit() and not answer.headers.get("content-encoding") and len(body) < int(declared):
        raise ImageAway(f"{name}: broke off after {len(body)} of {declared} bytes")
    return bytes(body)


def _name(address: WebAddress) -> str:
    """An origin in words."""
    return f"{address.scheme}://{address.host}:{address.port}"


def _stamp(answer: BaseHTTPResponse, address: WebAddress) -> Stamp:
    headers = answer.headers
    return Stamp(_name(address), headers.get("etag", ""), headers.get("last-modified", ""))


def _seconds(retry_after: str) -> float:
    """What the header of that name says in seconds; 0.0 if it says nothing, or a date."""
    return float(retry_after) if retry_after.isdigit() else 0.0


def _cannot_be_had(name: str, too_late: str, error: Exception) -> ImageError:
    if not too_late and isinstance(error, SSLError | UnicodeError):
        return ImageError(f"{name}: {_why(error)}")
    return ImageAway(f"{name}: {too_late or _why(error)}")


def _hint(status: int, ours: bool) -> str:
    if not ours or status not in (401, 403, 404):
        return ""
    if status == 404:
        return "; Label Studio has no such file, or no storage connected that holds it"
    return (
        "; the API token of .env is not (or no longer) valid for this project: `make up` provisions it again"
    )


def _why(error: Exception) -> str:
    """The error without the URL that urllib3 puts into its messages."""
    if isinstance(error, SSLError):
        return "its certificate is not trusted; CA_BUNDLE names further ones"
    if isinstance(error, ProxyError):
        return f"the proxy did not lead there ({type(error.original_error).__name__})"
    if isinstance(error, NewConnectionError):
        return "cannot be reached"
    if isinstance(error, TimedOut):
        return f"did not answer within {TIMEOUT_S[0]:.0f} s (connect) or {TIMEOUT_S[1]:.0f} s (read)"
    if isinstance(error, ProtocolError | OSError):
        return "cannot be reached"
    return f"cannot be fetched ({type(error).__name__})"


def refused(address: str) -> bool:
    """Whether downloads from this IP address are refused, for hosts that a task names."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    special = ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved
    networks = (*_REFUSED_NETWORKS, *_own_network())
    return special or any(ip in network for network in networks if network.version == ip.version)


def _own_network() -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    """The stack's own network, on which no host of images is."""
    subnet = os.environ.get("STACK_SUBNET")
    return (ipaddress.ip_network(subnet, strict=False),) if subnet else ()


class _Deadline:
    """A context that limits a download's time: at the deadline, the connections made in it are cut."""

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
        """Cuts this connection at the deadline. A duplicate is kept, since TLS takes over the socket."""
        with self._lock:
            self._sockets.append(connected.dup())
        if self.words():
            self._cut()

    def words(self) -> str:
        """Says that the time is over; empty before that."""
        return f"not complete after {self._seconds:.0f} s" if time.monotonic() >= self._ends else ""

    def _cut(self) -> None:
        with self._lock:
            for connected in self._sockets:
                with suppress(OSError):
                    connected.shutdown(socket.SHUT_RDWR)


_deadline: ContextVar[_Deadline] = ContextVar("deadline of this thread's download")


class _Watched:
    """A mixin for urllib3's connections that lets the deadline cut them."""

    def _new_conn(self) -> socket.socket:
        connected: socket.socket = super()._new_conn()  # type: ignore[misc]
        _deadline.get().watch(connected)
        return connected


class _Guarded(_Watched):
    """Checks the peer's address before a byte is sent."""

    host: str

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        peer = connected.getpeername()[0]
        if refused(peer):
            connected.close()
            raise ImageError(_refusal(self.host, peer))
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


_Pools = tuple[type[HTTPConnectionPool], type[HTTPSConnectionPool]]
_GUARDED: _Pools = (_GuardedHTTPPool, _GuardedHTTPSPool)
# The pools for Label Studio, which may have any address.
_WATCHED: _Pools = (_WatchedHTTPPool, _WatchedHTTPSPool)


def _pool_outside(address: WebAddress, outside: Outside) -> HTTPConnectionPool | ProxyManager:
    """What connects to a host that a task names: directly and guarded, or by the proxy."""
    if outside.opens(address):
        return _pool(address, _WATCHED, outside)
    proxy = outside.proxy_for(address)
    if proxy is None:
        return _pool(address, _GUARDED, outside)
    _require_allowed(address.host)
    manager = ProxyManager(proxy, proxy_headers=_proxy_headers(proxy), **_trust(outside))
    manager.pool_classes_by_scheme = dict(zip(("http", "https"), _WATCHED, strict=True))
    return manager


def _require_allowed(host: str) -> None:
    """Raises ImageError for names and literal addresses that no proxy is to be asked for."""
    literal = host.strip("[]")
    with suppress(ValueError, OSError):
        # As a resolver reads it: 127.1, 2130706433 and 0x7f000001 are addresses, too.
        literal = socket.inet_ntoa(socket.inet_aton(literal))
    try:
        closed = refused(literal)
    except ValueError:
        closed = literal == "localhost" or literal.endswith(".localhost")
    if closed:
        raise ImageError(_refusal(host, literal))


def _refusal(host: str, address: str) -> str:
    return (
        f"{host}: has the address {address}, which images are not fetched from; put the file into "
        "volumes/images instead, or name the host in IMAGE_HOSTS"
    )


def _proxy_headers(proxy: str) -> dict[str, str]:
    """Name and password for the proxy, where its URL has them."""
    credentials = parse_url(proxy).auth
    return make_headers(proxy_basic_auth=unquote(credentials)) if credentials else {}


def _trust(outside: Outside) -> dict[str, Any]:
    """Arguments for connections with TLS."""
    try:
        extra = outside.extra_certificates
    except CertificateError as error:
        raise ImageError(str(error)) from error
    return {"cert_reqs": "CERT_REQUIRED", "ca_certs": DEFAULT_CA_BUNDLE_PATH, "ca_cert_data": extra}


def _pool(address: WebAddress, kinds: _Pools, outside: Outside) -> HTTPConnectionPool:
    """A pool that connects to the address's host and port only; as a context manager it closes itself."""
    plain, with_tls = kinds
    if address.scheme == "http":
        return plain(address.host, address.port)
    return with_tls(address.host, address.port, **_trust(outside))
