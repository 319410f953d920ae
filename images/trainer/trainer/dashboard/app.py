"""The dashboard's server: `python -m trainer.dashboard.app`. Of the trainer, only its port is published."""

import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

import uvicorn
from fastapi import Depends, FastAPI, Request, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.middleware.sessions import SessionMiddleware

from labelloop.cookies import CookieNames
from labelloop.log_lines import SHORT_LINE, TIMES
from labelloop.settings import MissingSecret
from labelloop.throttle import Throttle
from trainer.api.limits import Limits
from trainer.dashboard import (
    compare,
    data,
    detect,
    downloads,
    effort,
    glossary,
    junk_boxes,
    label_errors,
    model,
    now,
    rounds,
    settling,
    taking,
    verify,
)
from trainer.dashboard.login import (
    Login,
    LoginError,
    NotAMember,
    TooManyAttempts,
    ask_label_studio,
    end_session,
)
from trainer.dashboard.loop import UnknownProject, WatchedLoop
from trainer.dashboard.pages import HERE, templates
from trainer.dashboard.parts import Parts
from trainer.dashboard.people import NoAnswer, StudioSession
from trainer.dashboard.security import (
    SESSION_S,
    NotLoggedIn,
    SecurityHeaders,
    checked_form,
    csrf_token,
    local_path,
    looks,
    person_of,
    shares_login,
    studio_session,
)
from trainer.dashboard.sessions import EndedSessions, WithoutEndedSessions, begin
from trainer.env import get_settings

log = logging.getLogger(__name__)

AskWho = Callable[[str, str, str, CookieNames, bool], Login | None]
Form = Annotated[dict[str, str], Depends(checked_form)]


def create_app(loop: WatchedLoop, secret: str, ask_who: AskWho = ask_label_studio) -> FastAPI:
    """The application.

    secret: signs the sessions. ask_who: as `ask_label_studio`.
    """
    parts = Parts.of(loop)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        downloads.clear_scratch(loop.settings.rounds_dir)
        parts.verifying.go_on()
        yield
        parts.stop()

    app = FastAPI(
        title="labelloop dashboard", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan
    )
    app.state.parts = parts
    ended = EndedSessions(loop.settings.rounds_dir / "logged_out.json")
    app.add_middleware(WithoutEndedSessions, ended=ended)
    app.add_middleware(
        SessionMiddleware,
        secret_key=secret,
        session_cookie=parts.cookies.dashboard,
        max_age=SESSION_S,
        same_site="lax",
    )
    app.add_middleware(Limits, larger={detect.PATH: detect.MAX_FORM_BYTES})
    app.add_middleware(SecurityHeaders)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    _add_login(app, parts, ask_who, ended)
    _add_errors(app, ended)
    pages = (
        now,
        rounds,
        model,
        effort,
        data,
        downloads,
        compare,
        label_errors,
        junk_boxes,
        settling,
        verify,
        glossary,
        detect,
        taking,
    )
    for part in pages:
        app.include_router(part.router)
    return app


def _add_login(app: FastAPI, parts: Parts, ask_who: AskWho, ended: EndedSessions) -> None:
    throttle, studio_url = Throttle(), parts.loop.settings.labelstudio_url.rstrip("/")

    def form_page(
        request: Request, code: int, wrong: str = "", email: str = "", to: str = "/"
    ) -> HTMLResponse:
        both = shares_login(request)
        values = {"csrf": csrf_token(request), "wrong": wrong, "email": email, "next": to, "both": both}
        return templates.TemplateResponse(request, "login.html", values, status_code=code)

    def wait_page(request: Request, wait_s: float, email: str, to: str) -> HTMLResponse:
        wrong = f"Too many attempts. Try again in {wait_s:.0f} seconds."
        page = form_page(request, status.HTTP_429_TOO_MANY_REQUESTS, wrong, email, to)
        page.headers["Retry-After"] = f"{wait_s:.0f}"
        return page

    @app.get("/health")
    def health() -> JSONResponse:
        return JSONResponse({"status": "UP"})

    @app.get("/login", response_class=HTMLResponse)
    def login(request: Request, next: str = "/") -> Response:
        try:
            person_of(request)
        except NotLoggedIn:
            return form_page(request, status.HTTP_200_OK, to=local_path(next))
        except NoAnswer:  # the page says so; a login would not succeed either
            pass
        return RedirectResponse(local_path(next), status.HTTP_303_SEE_OTHER)

    @app.post("/login")
    def log_in(request: Request, form: Form) -> Response:
        email, to = form.get("email", "").strip(), local_path(form.get("next", "/"))
        address = request.client.host if request.client else ""
        wait_s = throttle.attempt(email, address)
        if wait_s:
            return wait_page(request, wait_s, email, to)
        try:
            login = ask_who(studio_url, email, form.get("password", ""), parts.cookies, "keep" in form)
        except TooManyAttempts as error:
            return wait_page(request, error.seconds, email, to)
        except NotAMember:
            wrong = "You are no active member of this Label Studio. Its administrators can change that."
            return form_page(request, status.HTTP_403_FORBIDDEN, wrong, email, to)
        except LoginError as error:
            log.warning("login: %s", error)
            return form_page(request, status.HTTP_503_SERVICE_UNAVAILABLE, error.told, email, to)
        if login is None:
            wrong = "Label Studio knows no user with this e-mail address and password."
            return form_page(request, status.HTTP_401_UNAUTHORIZED, wrong, email, to)
        throttle.succeeded(email, address)
        answer = RedirectResponse(to, status.HTTP_303_SEE_OTHER)
        if shares_login(request):
            parts.people.logged_in(StudioSession(login.session), login.person)
            _hand_over(request, answer, parts.cookies, login)
        else:
            end_session(studio_url, parts.cookies, login.session)
            parts.people.logged_in(login.person.id, login.person)
            begin(request.session, login.person)
        csrf_token(request)  # made here, since every later change of the session would renew its cookie
        return answer

    @app.post("/logout")
    def log_out(request: Request, form: Form) -> Response:
        answer = RedirectResponse("/login", status.HTTP_303_SEE_OTHER)
        session = studio_session(request) if shares_login(request) else None
        if session is not None:
            parts.people.logged_out(session)
            end_session(studio_url, parts.cookies, session.value)
            answer.delete_cookie(parts.cookies.session, httponly=True, samesite="lax")
        ended.add(request.session.get("id"))
        request.session.clear()
        return answer


def _hand_over(request: Request, answer: Response, cookies: CookieNames, login: Login) -> None:
    """Gives the browser the cookie that Label Studio's own form would have given it."""
    request.session.clear()
    request.session["person"] = login.person.id
    answer.set_cookie(
        cookies.session,
        login.session,
        expires=None if login.expires is None else datetime.fromtimestamp(login.expires, UTC),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )


def _add_errors(app: FastAPI, ended: EndedSessions) -> None:
    def error_page(request: Request, code: int, text: str) -> HTMLResponse:
        return templates.TemplateResponse(
            request, "error.html", {"code": code, "text": text}, status_code=code
        )

    @app.exception_handler(NotLoggedIn)
    def ask_for_login(request: Request, error: Exception) -> Response:
        ended.add(request.session.get("id"))
        request.session.clear()
        if (
            request.method != "GET"
            or request.url.path.endswith((".svg", ".jpg"))
            or request.url.path in ("/live", "/model/look", "/verify/state", "/verify.json")
        ):
            return PlainTextResponse("log in first", status.HTTP_401_UNAUTHORIZED)
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(wanted)}", status.HTTP_303_SEE_OTHER)

    @app.exception_handler(NoAnswer)
    def unknown_person(request: Request, error: Exception) -> Response:
        text = "Label Studio, which says who may come in, does not answer. See make status."
        if not looks(request):
            text = f"Nothing was done. {text} The same can be done by make, on the host."
        return error_page(request, status.HTTP_503_SERVICE_UNAVAILABLE, text)

    @app.exception_handler(UnknownProject)
    def unknown_project(request: Request, error: Exception) -> Response:
        return error_page(request, status.HTTP_404_NOT_FOUND, str(error))

    @app.exception_handler(AnyHTTPException)
    def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, AnyHTTPException)
        return error_page(request, error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    def nonsense(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        text = "; ".join(
            f"{row['loc'][-1]}={str(row['input'])[:40]!r}: {row['msg']}" for row in error.errors()
        )
        return error_page(request, status.HTTP_400_BAD_REQUEST, text)

    @app.exception_handler(Exception)
    def broken(request: Request, error: Exception) -> Response:
        text = f"{type(error).__name__}: {error}. The log has more: make logs."
        return error_page(request, status.HTTP_500_INTERNAL_SERVER_ERROR, text)


def main() -> int:
    settings = get_settings()
    logging.basicConfig(level=settings.log_level.upper(), format=SHORT_LINE, datefmt=TIMES)
    try:
        app = create_app(WatchedLoop.connect(settings), settings.secret("dashboard_secret"))
    except MissingSecret as error:
        log.error("%s", error)
        return 2
    host, port = settings.dashboard_address
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
