"""What the pages have in common: the templates, the chosen project, the words of dates and numbers."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request, status
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates

from trainer.dashboard.charts import THEMES, Theme
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.people import Person
from trainer.dashboard.security import NotLoggedIn, csrf_token, person_of
from trainer.display import duration, plural

HERE = Path(__file__).parent
NAVIGATION = (
    ("/", "Now"),
    ("/rounds", "Rounds"),
    ("/model", "Model"),
    ("/effort", "Effort"),
    ("/label-errors", "Label errors"),
    ("/downloads", "Downloads"),
)

templates = Jinja2Templates(HERE / "templates")


def moment(value: str | datetime | None) -> str:
    """A time as 2026-11-22 21:15 UTC; value: ISO 8601 or a datetime with its zone."""
    if value is None:
        return ""
    parsed = datetime.fromisoformat(value) if isinstance(value, str) else value
    return parsed.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def number(value: object, form: str = ".3f") -> str:
    """Three decimals, – for what is not known."""
    return f"{value:{form}}" if isinstance(value, int | float) and math.isfinite(value) else "–"


def signed(value: object) -> str:
    return number(value, "+.3f")


def percent(value: object) -> str:
    return number(value, ".0%")


def reserved(doing: str) -> str:
    """What is said of something that only administrators may do; doing: "Rolling back"."""
    return f"{doing} is for administrators."


templates.env.filters |= {
    "moment": moment,
    "number": number,
    "signed": signed,
    "percent": percent,
    "duration": duration,
    "reserved": reserved,
}
templates.env.globals |= {"plural": plural, "navigation": NAVIGATION}
templates.env.trim_blocks = templates.env.lstrip_blocks = True


def loop_of(request: Request) -> WatchedLoop:
    loop: WatchedLoop = request.app.state.loop
    return loop


def theme_of(theme: str = "light") -> Theme:
    return THEMES.get(theme, THEMES["light"])


class View:
    """What a page's contents are gathered from. state: the parts of a dashboard that do things, app.state."""

    def __init__(self, loop: WatchedLoop, project: int | None, state: Any) -> None:
        self.loop, self.project, self.state = loop, project, state


class Page(View):
    """One request for a page: who asks, and about which project. A dependency of every page's route."""

    def __init__(
        self,
        request: Request,
        person: Annotated[Person, Depends(person_of)],
        loop: Annotated[WatchedLoop, Depends(loop_of)],
        project: int | None = None,
    ) -> None:
        super().__init__(loop, loop.choose(project), request.app.state)
        self.request, self.person = request, person

    def show(self, template: str, status_code: int = 200, **values: Any) -> HTMLResponse:
        """A whole page: a template with what base.html needs beside `values`."""
        common = {
            "user": self.person.email,
            "csrf": csrf_token(self.request),
            "projects": self.loop.projects(),
            "path": self.request.url.path,
            "said": self.request.session.pop("said", None),
        }
        return self.fragment(template, status_code, **common, **values)

    def fragment(self, template: str, status_code: int = 200, **values: Any) -> HTMLResponse:
        """A part of a page."""
        common = {
            "project": self.project,
            "administrator": self.person.administrator,
            "studio": self.studio_url,
            "task_url": self.task_url,
        }
        return templates.TemplateResponse(
            self.request, template, {**common, **values}, status_code=status_code
        )

    def require_administrator(self, doing: str) -> None:
        """doing: what only administrators may, as the beginning of a sentence: "Rolling back".

        Raises:
            HTTPException: 403, who asks is none.
        """
        if not self.person.administrator:
            raise HTTPException(status.HTTP_403_FORBIDDEN, reserved(doing))

    def require_still(self) -> None:
        """For an answer that takes its time.

        Raises:
            NotLoggedIn: who asks has another role by now, or none. NoAnswer.
        """
        if person_of(self.request).administrator is not self.person.administrator:
            raise NotLoggedIn

    @property
    def studio_url(self) -> str:
        """Label Studio's, as the browser that asks would reach it: PUBLIC_URL, or the same host's port."""
        if self.loop.settings.public_url:
            return self.loop.settings.public_url
        host = self.request.url.hostname or "localhost"
        shown = f"[{host}]" if ":" in host else host
        return f"{self.request.url.scheme}://{shown}:{self.loop.settings.labelstudio_port}"

    def task_url(self, task: int) -> str:
        return f"{self.studio_url}/projects/{self.project}/data?task={task}"


Asked = Annotated[Page, Depends()]
ChartTheme = Annotated[Theme, Depends(theme_of)]
