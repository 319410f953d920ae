"""HTTP sessions to the services of the appliance, whose connections stay open between requests."""

from types import TracebackType
from typing import Self

import requests
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse, Retry
from urllib3.connectionpool import ConnectionPool
from urllib3.exceptions import ReadTimeoutError


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


def service_session() -> requests.Session:
    """A session that reads over a fresh connection when the server closes the idle one as the request comes,
    after RFC 9112, section 9.3.1; writes are left to who asks. It goes through no proxy.
    """
    session = requests.Session()
    session.trust_env = False
    once = _OnceMore(
        total=None, connect=0, read=1, redirect=0, status=0, other=0, allowed_methods=("GET", "HEAD")
    )
    session.mount("http://", HTTPAdapter(max_retries=once))
    session.mount("https://", HTTPAdapter(max_retries=once))
    return session
