"""HTTP sessions to the services of the appliance, whose connections stay open between requests."""

from types import TracebackType
from typing import Self

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import BaseHTTPResponse, Retry
from urllib3.connectionpool import ConnectionPool
from urllib3.exceptions import ReadTimeoutError

from labelloop import urls


class _OnceMore(Retry):
    """Reads are asked for once more when the connection ends before the answer. A timeout is not: it has been
    waited for.
    """

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Self:
        if isinstance(error, ReadTimeoutError):
            raise error
        return super().increment(method, url, response, error, _pool, _stacktrace)


class LeadsElsewhere(requests.RequestException):
    """A service's answer leads to another server; nothing was sent there."""


class _ServiceSession(requests.Session):
    """Sends to one origin, whatever answers lead to: credentials, cookies and bodies are for it alone."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.trust_env = False
        self._url = url
        try:
            self._origin = urls.parse(url).origin
        except ValueError as error:
            raise ValueError(f"{urls.shown(url)!r} is no service's URL: {error}") from error

    def get_adapter(self, url: str) -> BaseAdapter:
        """Asked before each request, those of redirects too."""
        try:
            if urls.parse(url).origin == self._origin:
                return super().get_adapter(url)
            why = "no request to it goes there"
        except ValueError as error:
            why = str(error)
        raise LeadsElsewhere(f"led from {self._url} to {urls.shown(url)!r}: {why}")


def service_session(url: str) -> requests.Session:
    """A session with the service at `url`, that sends nothing to any other: a redirect to another scheme,
    host or port raises LeadsElsewhere. It goes through no proxy.

    It reads over a fresh connection when the server closes the idle one as the request comes, after RFC 9112,
    section 9.3.1; writes are left to who asks.

    Raises:
        ValueError: no http(s) URL.
    """
    session = _ServiceSession(url)
    once = _OnceMore(
        total=None, connect=0, read=1, redirect=0, status=0, other=0, allowed_methods=("GET", "HEAD")
    )
    session.mount("http://", HTTPAdapter(max_retries=once))
    session.mount("https://", HTTPAdapter(max_retries=once))
    return session
