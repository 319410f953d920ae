"""Decides whose predictions a project shows: the champion's, or those that others have made.

Label Studio shows the predictions of one version of a project, its model_version. It sets that itself to the
first predictions that are imported, and to the title of the first ML backend that is connected. The champion
takes its place where it is worth more: where there are no other predictions, or once it knows a label of the
project. A version that a person chose in Label Studio stays, and so does one whose predictions say more than
the champion's rectangles could: choices, values of regions, relations, other shapes.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice

from labelloop.connection import TITLE
from labelloop.instant import champion_of, is_instant
from labelloop.registry import ProjectModels
from labelloop.studio import Row, Studio
from labelloop.task_filters import UNLABELLED, with_prediction_of
from trainer.dataset.origin import earlier_name
from trainer.peers.projects import Project

SAMPLE = 20
RECTANGLES = "rectanglelabels"


@dataclass(frozen=True)
class Showing:
    """What is decided by.

    version: what serves, the champion or an instant version. knows: whether it knows a label of the project,
    and so proposes boxes. ours: the names under which our own predictions are stored or shown. others: the
    versions of other predictions, the most numerous first; not asked for if the champion knows a label. more:
    whether the predictions of others that are shown say more than rectangles. few: the tasks that get a
    prediction; None for all. An instant version is superseded within minutes, so it looks at those alone that
    people get next.
    """

    version: str
    knows: bool
    ours: frozenset[str]
    others: tuple[str, ...] = ()
    more: bool = False
    few: tuple[int, ...] | None = None

    @classmethod
    def of(cls, studio: Studio, project: Project, models: ProjectModels, version: str) -> "Showing":
        """version: what serves.

        Raises:
            StudioError: Label Studio does not answer or refuses. RegistryError: the champion has no card.
            LabelConfigError: the project has no boxes.
        """
        ours = frozenset(our_names(models))
        if project.label_map(models.card(version)).knows_any:
            shown = project.model_version
            asks = shown not in ("", *ours) and not project.version_chosen
            return cls(version, True, ours, more=asks and _say_more(studio, project.id, shown))
        return cls(version, False, ours, _other_versions(studio, project.id, ours))

    @property
    def lacking(self) -> Row:
        """Which unlabelled tasks are to get a prediction of the champion. While it knows no label, a task
        with predictions of others gets none.
        """
        few = None if self.few is None else [*self.few]
        return {"version": self.version, "alone": bool(self.others), "among": few}

    def wanted(self, project: Project) -> str:
        """The model_version that the project should have.

        project: as Label Studio has it now.
        """
        shown = project.model_version
        if project.version_chosen and shown != self._champion:
            return shown
        if shown and shown not in self.ours and (self.more or not self.knows):
            return shown
        if self.knows:
            return self.version
        return self.others[0] if self.others else self.version

    def given_back(self, project: Project) -> bool:
        """Whether a person chose what serves, or the champion in whose place an instant version serves. From
        then on the project follows the champion again.
        """
        return project.version_chosen and project.model_version in (self.version, self._champion)

    @property
    def _champion(self) -> str | None:
        """The champion in whose place an instant version serves; None where it serves itself."""
        return champion_of(self.version) if is_instant(self.version) else None


def _say_more(studio: Studio, project_id: int, version: str) -> bool:
    """Whether predictions of `version` have regions that are no rectangles. The first SAMPLE tasks tell."""
    tasks = studio.iter_tasks(
        project_id,
        UNLABELLED,
        with_prediction_of(version),
        fields="all",
        omit="annotations,drafts",
        page_size=SAMPLE,
    )
    return any(
        not isinstance(region, Mapping) or region.get("type") != RECTANGLES
        for task in islice(tasks, SAMPLE)
        for prediction in task.get("predictions") or []
        if prediction.get("model_version") == version
        for region in prediction.get("result") or []
    )


def _other_versions(studio: Studio, project_id: int, ours: Collection[str]) -> tuple[str, ...]:
    """The versions of predictions that are not ours, the most numerous first; "" for those without one."""
    counts: dict[str, int] = {}
    for row in studio.model_versions(project_id):
        name = str(row["model_version"] or "")
        if name not in ours:
            counts[name] = counts.get(name, 0) + int(row["count"])
    return tuple(sorted(counts, key=lambda name: -counts[name]))


def our_names(models: ProjectModels) -> set[str]:
    """The names under which this appliance's predictions are stored or shown: the project's versions, those
    under former labels, and the title of our ML backend.
    """
    versions = [*models.ever(), *models.instant.ever()]
    return {*versions, *map(earlier_name, versions), TITLE}
