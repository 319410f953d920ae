"""The status of the appliance, gathered from its parts. Any of them may be down."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelloop.detector import DetectorError
from labelloop.registry import STARTING_VERSION, Card, ProjectModels, Registry, RegistryError
from labelloop.studio import Studio, StudioError
from trainer.dataset.survey import Survey
from trainer.env import TrainerSettings
from trainer.health import health
from trainer.judging.standing import Standing, standing
from trainer.peers.backend import Backend, BackendError
from trainer.peers.projects import SIMULATED, Project, sort_projects
from trainer.rounds import heartbeat
from trainer.rounds.due import labels_to_go
from trainer.rounds.owners import LeftOver, left_over
from trainer.rounds.table import CLOSED, Round, Rounds
from trainer.rounds.unpredicted import Failure, Unpredicted
from trainer.training import auto
from trainer.training.job import Job, JobError
from trainer.words import in_this_zone
from trainer.worker.adoption import why_left_alone
from trainer.worker.bucket_import import BucketState, read_state
from trainer.worker.image_index import ImageIndex, Problem
from trainer.worker.preflight import Preflight, held_out
from trainer.worker.showing import Showing

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

    start: the starting model. unpredicted: without those that failed. failed: the tasks that could not be
    given a prediction. labels_to_go: how many labels are missing until a round starts by itself; None when
    none ever does, a round is open, or there is no model that a round could start from. survey: which labels
    are not used, None before the first look. simulated: it is a simulation's, which looks after it itself.
    small_objects: what the newest round said of objects that are too small for its network, None when it said
    nothing. left_alone: why the loop does not work on it, None when it does. shows: the model_version whose
    predictions it shows instead of the champion's, None when it shows these. chosen: whether a person chose
    that. more: whether it says more than rectangles. standing: how its versions do on today's hold-out.
    no_round: why a round could not work now, and what to do first; None when it could. instant: the version
    that was learnt at once and makes boxes in place of the champion, None when that makes them itself.
    instant_shows_none: whether it shows none, since they would cost more time than they save.
    instant_refitted: whether it is the champion itself with other thresholds.
    speed: how long rounds take on this machine with the detectors that were measured; None before that.
    device: what the backend computes on, cpu or cuda:0; None when it doesn't say.
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
    failed: tuple[Failure, ...] = ()
    left_alone: str | None = None
    shows: str | None = None
    chosen: bool = False
    more: bool = False
    standing: Standing | None = None
    no_round: str | None = None
    instant: str | None = None
    instant_shows_none: bool = False
    instant_refitted: bool = False
    speed: str | None = None
    device: str | None = None

    @property
    def shows_words(self) -> str:
        """Whose predictions the project shows instead of the champion's, and why."""
        champion = self.champion.version if self.champion else "the model in service"
        if self.chosen:
            return (
                f"{self.shows}, which somebody chose in Label Studio, and not {champion}; choose {champion} "
                "there, or press Take over on the dashboard, to change that"
            )
        if self.more:
            return (
                f"{self.shows}, which says more than {champion}'s boxes could (choices, relations, other "
                f"shapes); choose {champion} in Label Studio, or press Take over on the dashboard, to "
                "change that"
            )
        return f"{self.shows}, for {champion} knows none of the project's labels yet"


@dataclass(frozen=True)
class Status:
    """The whole status.

    unreadable: image files that cannot be used; they are reported, but are no fault of the appliance.
    left_alone: the projects that the loop does not serve, each with the reason. left_over: models of projects
    that Label Studio does not have. bucket: the one that IMAGES names, once it was listed.
    """

    services: list[Service]
    projects: list[ProjectStatus]
    unreadable: list[Problem]
    problems: list[str] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    left_over: list[LeftOver] = field(default_factory=list)
    bucket: BucketState | None = None

    @property
    def well(self) -> bool:
        services = all(service.problem is None for service in self.services)
        bucket = self.bucket is None or self.bucket.problem is None
        return (
            services
            and bucket
            and not self.problems
            and not any(project.problems for project in self.projects)
        )


def gather(
    settings: TrainerSettings, studio: Studio, backend: Backend, preflight: Preflight | None = None
) -> Status:
    """Asks every service once. preflight: one that remembers what it has seen, where there is one."""
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
    preflight = preflight or Preflight(settings, studio, registry)
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
            served.get(str(project.id)) or {},
            settings,
            preflight,
            health.project_problems(beat, project.id),
        )
        for project in ours
    ]
    unreadable = ImageIndex(settings.rounds_dir, settings.images_dir).problems()
    left_alone = [f"{project.id} ({project.title}): {project.refusal}" for project in others]
    gone = [] if studio_problem else left_over(registry, [project.id for project in (*ours, *others)])
    return Status(services, projects, unreadable, problems, left_alone, gone, read_state(settings))


def _backup_problems(volumes: Path) -> list[str]:
    """The backup service's report about its schedule, from its status file, since it has no API. There is
    nothing to report before it first ran.
    """
    try:
        said = json.loads((volumes / "backups" / "status" / "schedule.json").read_bytes())
        return (
            [f"scheduled backups fail since {in_this_zone(said['since'])}: {said['error']}"]
            if said["error"]
            else []
        )
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


def _project(
    project: Project,
    models: ProjectModels,
    rounds: Rounds,
    studio: Studio,
    served: Row,
    settings: TrainerSettings,
    preflight: Preflight,
    worker_problems: list[str],
) -> ProjectStatus:
    problems = [*worker_problems]
    serving, device = served.get("version"), served.get("device")
    champion = start = None
    try:
        version = models.champion()
        champion = models.card(version) if version else None
    except RegistryError as error:
        problems.append(str(error))
    with suppress(RegistryError):
        start = models.card(STARTING_VERSION)
    failed = Unpredicted(rounds.root, project.id).failures()
    left_alone = why_left_alone(project, settings)
    showing = None
    if champion is not None:
        try:
            showing = Showing.of(studio, project, models, champion.version)
        except StudioError as error:
            problems.append(str(error))
    shown = project.model_version
    others_shown = (
        showing is not None and shown not in ("", showing.version) and showing.wanted(project) == shown
    )
    counts = _counts(studio, project.id, showing, len(failed), problems)
    survey = Survey.load(settings.rounds_dir, project.id)
    no_round = _no_round(preflight, project, counts[1], problems)
    history = rounds.history(project.id, 20)
    last = next((round_ for round_ in history if round_.state in CLOSED), None)
    mapped = project.label_map(champion) if champion else None
    instant = models.instant.serving(champion.version) if champion else None
    learnt = _card(models, instant) if instant else None
    if champion is not None and serving is not None and serving not in (champion.version, instant):
        problems.append(f"the backend serves {serving}; in service should be {instant or champion.version}")
    if device == "cpu" and settings.accelerator == "cuda":
        problems.append(
            "the model runs on the CPU, since torch finds no GPU where there should be one; `make gpu-check` "
            "says why, `make up ACCELERATOR=cpu` goes without"
        )
    speed = _speed(settings, champion, problems)
    return ProjectStatus(
        id=project.id,
        title=project.title,
        champion=champion,
        start=start,
        serving=serving,
        device=device,
        tasks=counts[0],
        labelled=counts[1],
        waiting=counts[2],
        unpredicted=counts[3],
        open_round=rounds.open_round(project.id),
        last_round=last,
        labels_to_go=None
        if left_alone or counts[1] is None
        else labels_to_go(counts[1], held_out(settings, models, survey), history, mapped, settings),
        unmapped_classes=mapped.unmapped_classes if mapped else (),
        unmatched_labels=mapped.unmatched_labels if mapped else (),
        problems=tuple(problems),
        survey=survey,
        simulated=project.description == SIMULATED,
        small_objects=_small_objects(rounds, history),
        failed=() if left_alone else tuple(failed),
        left_alone=left_alone,
        shows=shown if others_shown else None,
        chosen=project.version_chosen,
        more=showing is not None and showing.more,
        standing=standing(models, rounds, project.id),
        no_round=no_round,
        instant=instant,
        instant_shows_none=learnt is not None and learnt.shows_none,
        instant_refitted=learnt is not None and learnt.refitted,
        speed=speed,
    )


def _card(models: ProjectModels, version: str) -> Card | None:
    """None where it cannot be read."""
    with suppress(RegistryError):
        return models.card(version)
    return None


def _speed(settings: TrainerSettings, champion: Card | None, problems: list[str]) -> str | None:
    if champion is None or settings.detector != "auto":
        return None
    try:
        return auto.told(settings, champion.detector)
    except DetectorError as error:
        problems.append(str(error))
        return None


def _no_round(
    preflight: Preflight, project: Project, labelled: int | None, problems: list[str]
) -> str | None:
    """Why a round could not work now; adds to `problems` what kept it from being looked at."""
    if labelled is None:
        return "Label Studio does not say how many images are labelled; a round waits for that."
    try:
        return preflight.why_not(project, labelled)
    except StudioError as error:
        problems.append(str(error))
        return None


def _small_objects(rounds: Rounds, history: list[Round]) -> str | None:
    for round_ in history:
        with suppress(OSError, JobError):
            found = Job.load(rounds.folder(round_.id)).small_objects
            return found.words if found else None
    return None


def _counts(
    studio: Studio, project_id: int, showing: Showing | None, failed: int, problems: list[str]
) -> tuple[int | None, ...]:
    """The numbers of all tasks, labelled tasks, unlabelled tasks, and unlabelled tasks that are to get a
    prediction and have not failed.
    """
    try:
        tasks, labelled = studio.counts(project_id)
        waiting = tasks - labelled
        lacking = studio.count_lacking(project_id, showing.lacking) if showing else waiting
        return tasks, labelled, waiting, max(lacking - failed, 0)
    except StudioError as error:
        problems.append(str(error))
        return None, None, None, None
