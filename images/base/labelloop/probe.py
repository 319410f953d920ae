"""Asks one of our servers for its health, for a container's health check.

The check runs every few seconds, so this module imports only the standard library.
"""

import json
import os
from http.client import HTTPConnection, HTTPException
from typing import Any

from labelloop.errors import Explained

TIMEOUT_S = 4.0


class Unanswered(Explained):
    """The server does not answer, or not with a report; the message names it and its address."""


def health(setting: str, port: int, name: str, *holds: str) -> tuple[int, dict[str, Any]]:
    """HTTP status and report of GET /health from the server `name`.

    setting: the environment variable with the address it listens on; by default 127.0.0.1:port.
    holds: the keys that a report must have.

    Raises:
        Unanswered: the server does not answer, or not with a report.
    """
    host, _, listens_on = os.environ.get(setting, f"127.0.0.1:{port}").rpartition(":")
    if host in ("", "0.0.0.0", "::", "[::]"):
        host = "127.0.0.1"
    try:
        connection = HTTPConnection(host, int(listens_on), timeout=TIMEOUT_S)
        connection.request("GET", "/health")
        answer = connection.getresponse()
        report = dict(json.loads(answer.read()))
        if missing := [key for key in holds if key not in report]:
            raise ValueError(f"no {missing[0]} in its report")
        return answer.status, report
    except (OSError, HTTPException, ValueError, TypeError) as error:
        raise Unanswered(f"the {name} does not answer on {host}:{listens_on}: {error!r}") from error
