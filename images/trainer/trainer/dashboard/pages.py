"""The common parts of all pages: templates, the chosen project, and the form of dates and numbers."""

import math
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request, status
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from markupsafe import Markup, escape

from labelloop import addresses
from labelloop.registry import ProjectModels
from trainer.dashboard import studio_links
from trainer.dashboard.charts import THEMES, Theme
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.parts import Parts
from trainer.dashboard.people import Person
from trainer.dashboard.security import NotLoggedIn, csrf_token, person_of
from trainer.words import duration, plural

HERE = Path(__file__).parent
NAVIGATION = (
    ("/", "Now"),
    ("/rounds", "Rounds"),
    ("/model", "Model"),
    ("/effort", "Effort"),
    ("/data", "Data"),
    ("/label-errors", "Label errors"),
    ("/downloads", "Downloads"),
)

templates = Jinja2Templates(HERE / "templates")


def moment(value: str | datetime | None) -> str:
    """A time as 2026-11-22 21:15 UTC. value: ISO 8601, or a datetime with a time zone."""
    if value is None:
        return ""
    parsed = datetime.fromisoformat(value) if isinstance(value, str) else value
    return parsed.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def number(value: object, form: str = ".3f") -> str:
    """A number with three decimals, or – when it is unknown."""
    return f"{value:{form}}" if isinstance(value, int | float) and math.isfinite(value) else "–"


def signed(value: object) -> str:
    return number(value, "+.3f")


def percent(value: object) -> str:
    return number(value, ".0%")


def with_code(text: str) -> Markup:
    """A sentence in which what stands in backticks is shown as what one types.

    >>> with_code("`make up` starts <it>")
    Markup('<code>make up</code> starts &lt;it&gt;')
    """
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def reserved(doing: str) -> str:
    """The message about something that only administrators may do. doing: as in "Rolling back"."""
    return f"{doing} is for administrators."


templates.env.filters |= {
    "moment": moment,
    "number": number,
    "signed": signed,
    "percent": percent,
    "with_code": with_code,
    "duration": duration,
    "reserved": reserved,
}
templates.env.globals |= {"plural": plural, "navigation": NAVIGATION}
templates.env.trim_blocks = templates.env.lstrip_blocks = True


def parts_of(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


def theme_of(theme: str = "light") -> Theme:
    return THEMES.get(theme, THEMES["light"])


class View:
    """The sources of a page's contents. project: the one that is shown, None without any."""

    def __init__(self, parts: Parts, project: int | None) -> None:
        self.parts, self.project = parts, project

    @property
    def loop(self) -> WatchedLoop:
        return self.parts.loop

    @property
    def models(self) -> ProjectModels | None:
        """The models of the project; None without a project."""
        return None if self.project is None else self.loop.models(self.project)

    @property
    def versions(self) -> list[str]:
        """The names of the project's versions, oldest first."""
        return self.models.versions() if self.models else []


class Page(View):
    """One request for a page: the person, and the project. Every page's route depends on it."""

    def __init__(
        self,
        request: Request,
        person: Annotated[Person, Depends(person_of)],
        parts: Annotated[Parts, Depends(parts_of)],
        project: int | None = None,
    ) -> None:
        super().__init__(parts, parts.loop.choose(project))
        self.request, self.person = request, person

    def show(self, template: str, status_code: int = 200, **values: Any) -> HTMLResponse:
        """A whole page: a template with `values` and what base.html needs."""
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
            "label_url": studio_links.stream(self.data_url),
            "waiting_url": studio_links.waiting(self.data_url),
            "labelled_url": studio_links.labelled(self.data_url),
        }
        return templates.TemplateResponse(
            self.request, template, {**common, **values}, status_code=status_code
        )

    def require_administrator(self, doing: str) -> None:
        """Refuses anybody else. doing: the action as the beginning of a sentence: "Rolling back".

        Raises:
            HTTPException: 403, the person is no administrator.
        """
        if not self.person.administrator:
            raise HTTPException(status.HTTP_403_FORBIDDEN, reserved(doing))

    def require_still(self) -> None:
        """Checks, during a long answer, that the person may still receive it.

        Raises:
            NotLoggedIn: the person's role has changed, or the membership has ended.
            NoAnswer: Label Studio does not say who the person is.
        """
        if person_of(self.request).administrator is not self.person.administrator:
            raise NotLoggedIn

    @property
    def studio_url(self) -> str:
        """Label Studio's URL for the person's browser."""
        asked = self.request.url
        return addresses.labelstudio_url(self.loop.settings, asked.scheme, asked.hostname or "localhost")

    @property
    def data_url(self) -> str:
        """The project's images in Label Studio."""
        return f"{self.studio_url}/projects/{self.project}/data"

    def task_url(self, task: int) -> str:
        return f"{self.data_url}?task={task}"


Asked = Annotated[Page, Depends()]
ChartTheme = Annotated[Theme, Depends(theme_of)]
