"""The status of the appliance, gathered from its parts. Any of them may be down."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelloop.labels import LabelMap
from labelloop.registry import STARTING_VERSION, Card, ProjectModels, Registry, RegistryError
from labelloop.settings import Settings
from labelloop.studio import LABELLED, UNLABELLED, Studio, StudioError, where, without_prediction_of
from trainer.dataset.survey import Survey
from trainer.health import health
from trainer.peers.backend import Backend, BackendError
from trainer.peers.projects import SIMULATED, Project, sort_projects
from trainer.rounds import heartbeat
from trainer.rounds.owners import LeftOver, left_over
from trainer.rounds.table import CLOSED, Round, Rounds
from trainer.training.job import Job, JobError
from trainer.worker.image_index import ImageIndex, Problem

Row = dict[str, Any]


@dataclass(frozen=True)
class Service:
    """One service. problem: why it is unhealthy, None when it is healthy."""

    name: str
    url: str
    problem: str | None


@dataclass(frozen=True)
class ProjectStatus:
    """One project. Counts are of tasks (one image each), and None where Label Studio did not answer.

    start: the starting model. labels_to_go: how many labels are missing until a round starts by itself; None
    when none ever does or a round is open. survey: which labels are not used, None before the first look.
    simulated: it is a simulation's, which looks after it itself.
    small_objects: what the newest round said of objects that are too small for its network, None when it said
    nothing.
    """

    id: int
    title: str
    champion: Card | None
    start: Card | None
    serving: str | None
    tasks: int | None
    labelled: int | None
    waiting: int | None
    unpredicted: int | None
    open_round: Round | None
    last_round: Round | None
    labels_to_go: int | None
    unmapped_classes: tuple[str, ...]
    unmatched_labels: tuple[str, ...]
    problems: tuple[str, ...]
    survey: Survey | None = None
    simulated: bool = False
    small_objects: str | None = None


@dataclass(frozen=True)
class Status:
    """The whole status.

    unreadable: image files that cannot be used; they are reported, but are no fault of the appliance.
    left_alone: the projects that the loop does not serve, each with the reason. left_over: models of projects
    that Label Studio does not have.
    """

    services: list[Service]
    projects: list[ProjectStatus]
    unreadable: list[Problem]
    problems: list[str] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    left_over: list[LeftOver] = field(default_factory=list)

    @property
    def well(self) -> bool:
        services = all(service.problem is None for service in self.services)
        return services and not self.problems and not any(project.problems for project in self.projects)


def gather(settings: Settings, studio: Studio, backend: Backend) -> Status:
    """Asks every service once."""
    served, backend_problem = _ask_backend(backend)
    beat = heartbeat.read(settings.rounds_dir)
    worker_problems = health.worker_problems(beat)
    problems: list[str] = []
    ours: list[Project] = []
    others: list[Project] = []
    studio_problem = None
    try:
        ours, others = sort_projects(studio)
        if not ours:
            problems.append(
                "Label Studio has no project with <RectangleLabels>; `make up` makes one from LABEL_CONFIG"
            )
    except StudioError as error:
        studio_problem = str(error)
    if beat is not None and beat.fresh:
        problems += [f"{chore}: {error}" for chore, error in beat.errors.items()]
    problems += _backup_problems(settings.volumes_dir)
    services = [
        Service("labelstudio", settings.labelstudio_url, studio_problem),
        Service("mlbackend", settings.mlbackend_url, backend_problem),
        Service("trainer", settings.trainer_url, "; ".join(worker_problems) or None),
    ]
    rounds, registry = Rounds(settings.rounds_dir), Registry(settings.models_dir)
    problems += health.full_disks(settings)
    problems += [
        f"the table of rounds was damaged and is begun anew: earlier rounds are in {path.name} and not shown "
        "any more; delete that file once you know"
        for path in rounds.damaged()
    ]
    projects = [
        _project(
            project,
            registry.project(project.id),
            rounds,
            studio,
            (served.get(str(project.id)) or {}).get("version"),
            settings,
        )
        for project in ours
    ]
    unreadable = ImageIndex(settings.rounds_dir, settings.images_dir).problems()
    known = {problem.path for problem in unreadable}
    for project in ours:
        unreadable += _unreadable_elsewhere(studio, project.id, served.get(str(project.id)) or {}, known)
    left_alone = [f"{project.id} ({project.title}): {project.refusal}" for project in others]
    gone = [] if studio_problem else left_over(registry, [project.id for project in (*ours, *others)])
    return Status(services, projects, unreadable, problems, left_alone, gone)


def _backup_problems(volumes: Path) -> list[str]:
    """The backup service's report about its schedule, from its status file, since it has no API. There is
    nothing to report before it first ran.
    """
    try:
        said = json.loads((volumes / "backups" / "status" / "schedule.json").read_bytes())
        return [f"scheduled backups fail since {said['since']}: {said['error']}"] if said["error"] else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _ask_backend(backend: Backend) -> tuple[dict[str, Row], str | None]:
    try:
        answer = backend.health()
    except BackendError as error:
        return {}, str(error)
    projects = answer.get("projects") or {}
    if answer.get("status") == "UP":
        return projects, None
    return projects, f"{backend.url}/health: {answer.get('reason') or answer.get('detail') or answer}"


def _unreadable_elsewhere(studio: Studio, project: int, served: Row, known: set[str]) -> list[Problem]:
    """The images that the backend could not read for a project's tasks, e.g. uploads, unless the task is
    gone.

    known: files that are listed already.
    """
    rows = [
        row
        for row in served.get("unreadable") or []
        if not any(str(row.get("url")).endswith(f"images/{path}") for path in known)
    ]
    numbers = [row["task"] for row in rows if isinstance(row.get("task"), int)]
    there: set[int] | None = None
    with suppress(StudioError):
        asked = studio.iter_tasks(project, where("id", "in_list", numbers, "List")) if numbers else ()
        there = {int(task["id"]) for task in asked}
    return [
        Problem(str(row.get("url")), f"project {project}, task {row.get('task')}: {row.get('reason')}")
        for row in rows
        if there is None or row.get("task") in there or row.get("task") not in numbers
    ]


def _project(
    project: Project,
    models: ProjectModels,
    rounds: Rounds,
    studio: Studio,
    serving: str | None,
    settings: Settings,
) -> ProjectStatus:
    problems: list[str] = []
    champion = start = None
    try:
        version = models.champion()
        champion = models.card(version) if version else None
    except RegistryError as error:
        problems.append(str(error))
    with suppress(RegistryError):
        start = models.card(STARTING_VERSION)
    counts = _counts(studio, project.id, champion, problems)
    history = rounds.history(project.id, 20)
    last = next((round_ for round_ in history if round_.state in CLOSED), None)
    mapped = project.label_map(champion) if champion else None
    if champion is not None and serving is not None and serving != champion.version:
        problems.append(f"the backend serves {serving}, the champion is {champion.version}")
    return ProjectStatus(
        id=project.id,
        title=project.title,
        champion=champion,
        start=start,
        serving=serving,
        tasks=counts[0],
        labelled=counts[1],
        waiting=counts[2],
        unpredicted=counts[3],
        open_round=rounds.open_round(project.id),
        last_round=last,
        labels_to_go=_labels_to_go(counts[1], history, mapped, settings),
        unmapped_classes=mapped.unmapped_classes if mapped else (),
        unmatched_labels=mapped.unmatched_labels if mapped else (),
        problems=tuple(problems),
        survey=Survey.load(settings.rounds_dir, project.id),
        simulated=project.description == SIMULATED,
        small_objects=_small_objects(rounds, history),
    )


def _small_objects(rounds: Rounds, history: list[Round]) -> str | None:
    for round_ in history:
        with suppress(OSError, JobError):
            found = Job.load(rounds.folder(round_.id)).small_objects
            return found.words if found else None
    return None


def _counts(
    studio: Studio, project_id: int, champion: Card | None, problems: list[str]
) -> tuple[int | None, ...]:
    """The numbers of all tasks, labelled tasks, unlabelled tasks, and unlabelled tasks without the champion's
    prediction.
    """
    try:
        waiting = studio.count_tasks(project_id, UNLABELLED)
        unpredicted = (
            studio.count_tasks(project_id, UNLABELLED, without_prediction_of(champion.version))
            if champion
            else waiting
        )
        return studio.count_tasks(project_id), studio.count_tasks(project_id, LABELLED), waiting, unpredicted
    except StudioError as error:
        problems.append(str(error))
        return None, None, None, None


def _labels_to_go(
    labelled: int | None, history: list[Round], mapped: LabelMap | None, settings: Settings
) -> int | None:
    if not settings.retrain_every or labelled is None or (history and not history[0].closed):
        return None
    last = history[0].labelled or 0 if history else 0
    return max(settings.next_round_at(last, mapped is not None and mapped.knows_any) - labelled, 1)
