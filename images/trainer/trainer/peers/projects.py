"""The projects that the loop works on: those in which bounding boxes are drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Self

from labelloop.errors import Explained
from labelloop.labels import LabelConfig, LabelConfigError, LabelMap, parse_label_config
from labelloop.registry import Card
from labelloop.studio import Studio

SIMULATED = "Made by `labelloop simulate`, which deletes it when it ends."
# The verdict on a round whose project is gone.
NO_PROJECT = "cancelled: its project was deleted in Label Studio, or draws no boxes any more"
DEMO = "Made by `make demo`; `make demo REMOVE=1` removes it."


class NoProject(Explained):
    """It is unclear which project is meant; the message lists the projects."""


@dataclass(frozen=True)
class MLBackend:
    """An ML backend that is connected to a project. interactive: whether Label Studio asks it when somebody
    clicks; it does so unless that is turned off in the project's settings.
    """

    url: str
    title: str
    interactive: bool = True


@dataclass(frozen=True)
class Project:
    """A Label Studio project, as it was when Label Studio was asked.

    label_config: its XML. model_version: the version whose predictions its pages show, "" for none.
    version_chosen: whether a person chose that version. backends: the ML backends that are connected, the
    oldest first.
    """

    id: int
    title: str
    description: str
    created_at: datetime
    label_config: str
    model_version: str
    version_chosen: bool = False
    backends: tuple[MLBackend, ...] = ()

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """The project in Label Studio's answer."""
        return cls(
            id=int(row["id"]),
            title=str(row.get("title") or ""),
            description=str(row.get("description") or ""),
            created_at=datetime.fromisoformat(row["created_at"]),
            label_config=str(row.get("label_config") or ""),
            model_version=str(row.get("model_version") or ""),
            version_chosen=bool(row.get("model_version_chosen")),
            backends=tuple(
                MLBackend(
                    str(backend.get("url") or "").rstrip("/"),
                    str(backend.get("title") or ""),
                    bool(backend.get("interactive", True)),
                )
                for backend in row.get("ml_backends") or []
            ),
        )

    @cached_property
    def labels(self) -> LabelConfig:
        """Its label config, parsed.

        Raises:
            LabelConfigError: no boxes are drawn in it.
        """
        return parse_label_config(self.label_config)

    @cached_property
    def refusal(self) -> str | None:
        """Why the loop leaves it alone, with the line of its label config; None if it serves it."""
        try:
            _ = self.labels
        except LabelConfigError as error:
            return str(error)
        return None

    @property
    def draws_boxes(self) -> bool:
        return self.refusal is None

    @property
    def asks_at_clicks(self) -> bool:
        """Whether anybody is asked for a box when somebody clicks; a simulated person asks by herself."""
        return self.description == SIMULATED or any(backend.interactive for backend in self.backends)

    @property
    def clicks(self) -> bool:
        """Whether a click on an object fetches a box: by the label config, and by the project's settings.

        Raises:
            LabelConfigError: no boxes are drawn in it.
        """
        return self.labels.marks.clicks and self.asks_at_clicks

    @property
    def uid(self) -> str:
        """The name by which Label Studio tells an ML backend the project: "<id>.<seconds since 1970>"."""
        return f"{self.id}.{int(self.created_at.timestamp())}"

    @property
    def retrains_itself(self) -> bool:
        """Whether new labels start rounds. Simulation and demo request rounds themselves, at set counts."""
        return self.description not in (SIMULATED, DEMO)

    @property
    def may_be_adopted(self) -> bool:
        """Whether the worker may connect the ML backend. Simulations need none, the demo connects its own."""
        return self.description not in (SIMULATED, DEMO)

    def label_map(self, card: Card) -> LabelMap:
        """The labels of this project that a version's classes become.

        Raises:
            LabelConfigError: no boxes are drawn in it.
        """
        return LabelMap.build(card.classes, self.labels, trained=card.trained)


def fetch(studio: Studio, project_id: int) -> Project:
    """Asks Label Studio for a project. Raises StudioError: it does not answer, or has no such project."""
    return Project.of(studio.project(project_id))


def all_projects(studio: Studio) -> list[Project]:
    """Label Studio's projects, by id."""
    return sorted(map(Project.of, studio.projects()), key=lambda project: project.id)


def sort_projects(studio: Studio) -> tuple[list[Project], list[Project]]:
    """Label Studio's projects, by id: those in which boxes are drawn, and those that are left alone."""
    projects = all_projects(studio)
    return [p for p in projects if p.draws_boxes], [p for p in projects if not p.draws_boxes]


def detection_projects(studio: Studio) -> list[Project]:
    """Label Studio's projects with a RectangleLabels control, by id."""
    return sort_projects(studio)[0]


def choose(projects: Sequence[Project], wanted: int | None) -> Project:
    """The project with id `wanted`. Without an id, the only project; a demo beside another does not count.

    Raises:
        NoProject: there is none, or several and none is named.
    """
    listed = ", ".join(f"{p.id} ({p.title})" for p in projects) or "none"
    if wanted is not None:
        found = next((p for p in projects if p.id == wanted), None)
        if found is None:
            raise NoProject(f"there is no project {wanted} in which boxes are drawn; there are: {listed}")
        return found
    mine = [p for p in projects if p.description != DEMO] or projects
    if len(mine) != 1:
        raise NoProject(
            f"choose a project with PROJECT=<id>; there are: {listed}"
            if projects
            else "Label Studio has no project with <RectangleLabels>; `make up` makes one from LABEL_CONFIG"
        )
    return mine[0]
