"""HTTP sessions with the appliance's services. Their connections stay open between requests."""

from types import TracebackType
from typing import Self

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import BaseHTTPResponse, Retry
from urllib3.connectionpool import ConnectionPool
from urllib3.exceptions import ReadTimeoutError

from labelloop import urls


class _OnceMore(Retry):
    """Repeats a read once when the connection ends before the answer. A timeout is not repeated, since the
    caller has waited long enough.
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
    """A service redirected to another server; nothing was sent there."""


class _ServiceSession(requests.Session):
    """Sends requests to one origin only, so that no redirect can lead credentials, cookies or bodies away."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.trust_env = False
        self._url = url
        try:
            self._origin = urls.parse(url).origin
        except ValueError as error:
            raise ValueError(f"{urls.shown(url)!r} is no service's URL: {error}") from error

    def get_adapter(self, url: str) -> BaseAdapter:
        """Checks the origin here, as requests calls this before each request, also for redirects."""
        try:
            if urls.parse(url).origin == self._origin:
                return super().get_adapter(url)
            why = "no request to it goes there"
        except ValueError as error:
            why = str(error)
        raise LeadsElsewhere(f"led from {self._url} to {urls.shown(url)!r}: {why}")


def service_session(url: str) -> requests.Session:
    """A session with the service at `url`. It uses no proxy and sends nothing to any other server: a redirect
    to another scheme, host or port raises LeadsElsewhere.

    If the server closes an idle connection just as a read is sent, the read is repeated over a new
    connection, as RFC 9112, section 9.3.1 allows. Writes are not repeated; the caller decides about them.

    Raises:
        ValueError: `url` is no http(s) URL.
    """
    session = _ServiceSession(url)
    once = _OnceMore(
        total=None, connect=0, read=1, redirect=0, status=0, other=0, allowed_methods=("GET", "HEAD")
    )
    session.mount("http://", HTTPAdapter(max_retries=once))
    session.mount("https://", HTTPAdapter(max_retries=once))
    return session
