"""The security headers of every answer, and the token of every form."""

import secrets
from urllib.parse import parse_qsl

from fastapi import HTTPException, Request, status
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trainer.dashboard.people import People, Person

SESSION_COOKIE = "labelloop_dashboard"  # Label Studio's cookies share the host, as cookies ignore ports
SESSION_S = 12 * 3600
MAX_FORM_BYTES = 10_000

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# A chart contains its own styles. When it is opened by itself, it may use these and nothing else.
CHART_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


class SecurityHeaders:
    """ASGI middleware: sets the headers that an answer does not set itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class NotLoggedIn(Exception):
    """Nobody is logged in, or the person has since changed her password or is no longer an active member."""


def person_of(request: Request) -> Person:
    """The person who sent a request.

    Label Studio is asked about her each time she acts, and every few seconds while she only looks.

    Raises:
        NotLoggedIn: see there. NoAnswer: Label Studio does not say.
    """
    person_id, stamp = request.session.get("person"), request.session.get("stamp")
    if not isinstance(person_id, int) or not isinstance(stamp, str):
        raise NotLoggedIn
    people: People = request.app.state.parts.people
    person = people.lately(person_id) if looks(request) else people.ask(person_id)
    if person is None or not secrets.compare_digest(person.stamp, stamp):
        raise NotLoggedIn
    return person


def looks(request: Request) -> bool:
    """Whether a request changes nothing."""
    return request.method in ("GET", "HEAD")


def csrf_token(request: Request) -> str:
    """The session's token, which every form sends back."""
    return str(request.session.setdefault("csrf", secrets.token_urlsafe(24)))


async def checked_form(request: Request) -> dict[str, str]:
    """A form's fields.

    Raises:
        HTTPException: 413, the body is too large; 400, it is no form; 403, it lacks the session's token.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise HTTPException(
                status.HTTP_413_CONTENT_TOO_LARGE, f"a form has at most {MAX_FORM_BYTES} bytes"
            )
    try:
        form = dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=20))
    except ValueError as error:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "the form cannot be read") from error
    expected = request.session.get("csrf", "")
    if not expected or not secrets.compare_digest(form.get("csrf", "").encode(), expected.encode()):
        raise HTTPException(
            status.HTTP_403_FORBIDDEN, "this page is too old; load it anew and press the button again"
        )
    return form


def local_path(path: str) -> str:
    """`path` if it leads to a page of the dashboard, else the first page."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if plain and "\\" not in path else "/"
