"""The common parts of all pages: templates, the chosen project, and the form of dates and numbers."""

import math
import re
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request, status
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from markupsafe import Markup, escape

from labelloop import addresses
from labelloop.registry import ProjectModels, RegistryError
from trainer.dashboard import studio_links
from trainer.dashboard.charts import THEMES, Theme
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.parts import Parts
from trainer.dashboard.people import Person
from trainer.dashboard.security import NotLoggedIn, csrf_token, person_of
from trainer.dashboard.terms import term, with_terms
from trainer.health.status import ProjectStatus
from trainer.judging.standing import Pair, Standing, standing
from trainer.words import as_time, duration, in_utc, plural

HERE = Path(__file__).parent
NAVIGATION = (
    ("/", "Now"),
    ("/rounds", "Rounds"),
    ("/model", "Model"),
    ("/effort", "Effort"),
    ("/data", "Data"),
    ("/verify", "Verify"),
    ("/label-errors", "Label errors"),
    ("/downloads", "Downloads"),
)

templates = Jinja2Templates(HERE / "templates")


def moment(value: str | datetime | None) -> Markup:
    """A time as 2026-11-22 21:15 UTC, which dashboard.js turns into the reader's zone. value: ISO 8601, or a
    datetime with a time zone.

    >>> moment("2026-11-22T22:15:30+01:00")
    Markup('<time datetime="2026-11-22T21:15:30Z">2026-11-22 21:15 UTC</time>')
    """
    if value is None:
        return Markup()
    return Markup('<time datetime="{}Z">{}</time>').format(
        as_time(value).strftime("%Y-%m-%dT%H:%M:%S"), in_utc(value)
    )


def log_zone() -> str:
    """The zone of the times in logs: the trainer's, and so this process's."""
    return datetime.now().astimezone().tzname() or "UTC"


def number(value: object, form: str = ".3f") -> str:
    """A number with three decimals, or – when it is unknown."""
    return f"{value:{form}}" if isinstance(value, int | float) and math.isfinite(value) else "–"


def signed(value: object) -> str:
    return number(value, "+.3f")


def percent(value: object) -> str:
    return number(value, ".0%")


def sentence(text: str) -> str:
    """A message that begins in lower case, as those do that stand behind "error: ", as a sentence.

    >>> sentence("the trainer does not run")
    'The trainer does not run'
    """
    return text[:1].upper() + text[1:]


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
    "sentence": sentence,
    "with_code": with_code,
    "with_terms": with_terms,
    "duration": duration,
    "reserved": reserved,
    "pair": Pair.of,
}
templates.env.globals |= {"plural": plural, "navigation": NAVIGATION, "term": term, "log_zone": log_zone}
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
    def champion(self) -> str | None:
        """The version in service; None without one, and when the pointer is damaged."""
        try:
            return self.models.champion() if self.models else None
        except RegistryError:
            return None

    @property
    def project_status(self) -> ProjectStatus | None:
        """The project's status; None without a project, and while Label Studio does not answer."""
        return None if self.project is None else self.loop.project_status(self.project)

    @property
    def versions(self) -> list[str]:
        """The names of the project's versions, oldest first."""
        return self.models.versions() if self.models else []

    @cached_property
    def standing(self) -> Standing | None:
        """How the project's versions do on today's hold-out; None without a project."""
        return standing(self.models, self.loop.rounds, self.project) if self.models and self.project else None


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
