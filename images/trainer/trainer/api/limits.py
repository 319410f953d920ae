"""Refuses bad requests before they reach a route."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from fastapi import status
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 64 * 1024
_HOST = re.compile(rb"([\w.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


class Limits:
    """ASGI middleware: answers 400 to a Host header that names no host, 413 to a body over MAX_BODY_BYTES.

    larger: by path, the bytes that a body may have there.

    Without it, a body of any size would be read before the credentials are checked, and the URL of a request
    with such a host could not be parsed.
    """

    def __init__(self, app: ASGIApp, larger: Mapping[str, int] = MappingProxyType({})) -> None:
        self._app, self._larger = app, larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if any(host and not _HOST.fullmatch(host) for host in hosts):
            refusal = JSONResponse({"detail": "the Host header names no host"}, status.HTTP_400_BAD_REQUEST)
            await refusal(scope, receive, send)
            return
        taken, most = 0, self._larger.get(scope["path"], MAX_BODY_BYTES)

        async def receive_some() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                raise HTTPException(
                    status.HTTP_413_CONTENT_TOO_LARGE, f"a request has at most {most:,} bytes"
                )
            return message

        await self._app(scope, receive_some, send)
