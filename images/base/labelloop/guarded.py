"""Connections to hosts that a task names, and to Label Studio.

The address of the connected socket is checked, so a name that resolves differently the second time cannot get
around the check. Addresses of a private network are allowed, as image servers are there. Loopback, link-local
and cloud metadata addresses and the stack's own network are refused, except for the hosts of IMAGE_HOSTS. A
proxy is connected to instead, and which names it leads where is its operator's affair; but it is not asked
for such addresses as literals. A download's connections are cut at its deadline, because a server that sends
its headers very slowly could otherwise hold a connection for hours.
"""

import ipaddress
import os
import socket
import threading
import time
from contextlib import suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote

from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import make_headers, parse_url

from labelloop.images import ImageError
from labelloop.outside import CertificateError, Outside
from labelloop.urls import WebAddress

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


class Deadline:
    """A context that limits a download's time: at the deadline, the connections made in it are cut."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> "Deadline":
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


_deadline: ContextVar[Deadline] = ContextVar("deadline of this thread's download")


class _Watched:
    """A mixin for urllib3's connections that lets the deadline cut them."""

    def _new_conn(self) -> socket.socket:
        connected: socket.socket = super()._new_conn()  # type: ignore[misc]
        _deadline.get().watch(connected)
        return connected


class Guarded(_Watched):
    """Checks the peer's address before a byte is sent."""

    host: str

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        peer = connected.getpeername()[0]
        if refused(peer):
            connected.close()
            raise ImageError(_refusal(self.host, peer))
        return connected


class _GuardedHTTPConnection(Guarded, HTTPConnection):
    pass


class _GuardedHTTPSConnection(Guarded, HTTPSConnection):
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


Pools = tuple[type[HTTPConnectionPool], type[HTTPSConnectionPool]]
GUARDED: Pools = (_GuardedHTTPPool, _GuardedHTTPSPool)
# The pools for Label Studio, which may have any address.
WATCHED: Pools = (_WatchedHTTPPool, _WatchedHTTPSPool)


def pool_outside(address: WebAddress, outside: Outside) -> HTTPConnectionPool | ProxyManager:
    """What connects to a host that a task names: directly and guarded, or by the proxy."""
    if outside.opens(address):
        return pool(address, WATCHED, outside)
    proxy = outside.proxy_for(address)
    if proxy is None:
        return pool(address, GUARDED, outside)
    _require_allowed(address.host)
    manager = ProxyManager(proxy, proxy_headers=_proxy_headers(proxy), **_trust(outside))
    manager.pool_classes_by_scheme = dict(zip(("http", "https"), WATCHED, strict=True))
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


def pool(address: WebAddress, kinds: Pools, outside: Outside) -> HTTPConnectionPool:
    """A pool that connects to the address's host and port only; as a context manager it closes itself."""
    plain, with_tls = kinds
    if address.scheme == "http":
        return plain(address.host, address.port)
    return with_tls(address.host, address.port, **_trust(outside))
