"""Who sends a request, the security headers of every answer, and the token of every form."""

import secrets
from urllib.parse import parse_qsl

from fastapi import HTTPException, Request, status
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from labelloop import addresses
from labelloop.cookies import session_value
from trainer.dashboard.parts import Parts
from trainer.dashboard.people import Person, StudioSession

SESSION_S = 12 * 3600
MAX_FORM_BYTES = 10_000
MAX_FORM_FIELDS = 40
TOO_OLD = "this page is too old; load it anew and press the button again"

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

    Where the browser sends Label Studio's cookies here too, she is whoever has that session there, and nobody
    without one. Elsewhere she is the person of a session of ours. Label Studio is asked about her each time
    she acts, and every few seconds while she only looks.

    Raises:
        NotLoggedIn: see there. NoAnswer: Label Studio does not say.
        HTTPException: 403, a form was opened by another person.
    """
    if not shares_login(request):
        return _person_of_our_session(request)
    session = studio_session(request)
    if session is None:
        raise NotLoggedIn
    people = _parts(request).people
    person = people.lately(session) if looks(request) else people.ask(session)
    if person is None:
        raise NotLoggedIn
    _belongs_to(request, person)
    return person


def _person_of_our_session(request: Request) -> Person:
    person_id, stamp = request.session.get("person"), request.session.get("stamp")
    if not isinstance(person_id, int) or not isinstance(stamp, str):
        raise NotLoggedIn
    people = _parts(request).people
    person = people.lately(person_id) if looks(request) else people.ask(person_id)
    if person is None or not secrets.compare_digest(person.stamp, stamp):
        raise NotLoggedIn
    return person


def _belongs_to(request: Request, person: Person) -> None:
    """Keeps what our own cookie holds, the forms' token and what is to be said, to one person: to whoever
    finds another's there, or one that somebody else put into her browser, it is empty.

    Raises:
        HTTPException: 403, she acts by it.
    """
    if request.session.get("person") == person.id and "id" not in request.session:
        return
    if not looks(request):
        raise HTTPException(status.HTTP_403_FORBIDDEN, TOO_OLD)
    request.session.clear()
    request.session["person"] = person.id


def shares_login(request: Request) -> bool:
    """Whether a login at Label Studio is one here."""
    return addresses.share_cookies(_parts(request).loop.settings, request.url.hostname or "")


def studio_session(request: Request) -> StudioSession | None:
    """The session at Label Studio whose cookie the browser sent."""
    value = session_value(request.cookies.get(_parts(request).cookies.session))
    return StudioSession(value) if value else None


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


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
        form = dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS))
    except ValueError as error:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "the form cannot be read") from error
    expected = request.session.get("csrf", "")
    if not expected or not secrets.compare_digest(form.get("csrf", "").encode(), expected.encode()):
        raise HTTPException(status.HTTP_403_FORBIDDEN, TOO_OLD)
    return form


def local_path(path: str) -> str:
    """`path` if it leads to a page of the dashboard, else the first page."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if plain and "\\" not in path else "/"
