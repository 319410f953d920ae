"""Decides what a round trains, from which weights and for how long, once before its training begins."""

import logging
import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from labelloop.detector import load_detector_config
from labelloop.files import replacing, write_text
from labelloop.labels import LabelConfig, LabelMap
from labelloop.registry import STARTING_VERSION, ProjectModels, Registry
from labelloop.settings import Settings
from trainer.dataset.snapshot import Snapshot
from trainer.rounds.folder import JOB, START_WEIGHTS
from trainer.system.memory import usable_gb
from trainer.training import weights
from trainer.training.bundle import save_weights
from trainer.training.job import Job, JobError
from trainer.training.length import iterations_for, reference_iterations
from trainer.training.pace import SLOWEST, going_on
from trainer.training.recipe import fit_look
from trainer.training.small_objects import SmallObjects, measure
from trainer.training.working_size import choose, looks, take_look

log = logging.getLogger(__name__)


def write_job(round_dir: Path, settings: Settings, project_id: int, snapshot: Snapshot) -> Job:
    """Decides what to train from which weights, and writes job.json. A folder that has one keeps it.

    The champion's training continues if it is the same detector with the same classes, in any order, and
    looks at images at the size that suits the labelled boxes. Otherwise training begins from the starting
    weights, taken from v0000 if that is the same detector.

    Raises:
        JobError: the folder's job.json is damaged, or belongs to another project.
        weights.WeightsError: the detector's starting weights are unavailable.
        DetectorError: DETECTOR names no config.
    """
    if (round_dir / JOB).exists():
        kept = Job.load(round_dir)
        if kept.project_id != project_id:
            raise JobError(
                f"{round_dir / JOB} is of project {kept.project_id}, not of {project_id}; "
                "`make retrain` starts a new round"
            )
        return kept
    models = Registry(settings.models_dir).project(project_id)
    choice = _choose(models, settings, snapshot.label_config)
    detector = choice.detector
    parent = _parent(models, detector, snapshot.label_config)
    before = None if parent is None else _look_of(models, parent, detector, settings)
    look = _look(snapshot, detector, settings, before)
    if parent and look and look != before and _is(models, STARTING_VERSION, detector):
        log.info(
            "Training begins anew: %s looked at images at %s px, this looks at %d px", parent, before, look
        )
        parent = None
    origin = parent or (STARTING_VERSION if _is(models, STARTING_VERSION, detector) else None)
    if origin is not None:
        card = models.card(origin)
        start_weights, start_classes = models.folder(origin) / "weights.pth", card.classes
        # Only v0000's origin is repeated: repeating a trained version's would make the text grow each round.
        start = f"{origin} ({card.start_weights})" if origin == STARTING_VERSION else origin
    else:
        found = choice.weights(settings)
        start_weights, start_classes, start = round_dir / START_WEIGHTS, found.classes, found.source
        with replacing(start_weights) as temporary:
            save_weights(found.state, temporary)
    job = Job(
        project_id=project_id,
        detector=detector,
        why=choice.why,
        parent=parent,
        start=start,
        start_weights=str(_below(start_weights, settings.labelloop_home)),
        start_classes=start_classes,
        iterations=iterations_for(
            snapshot.labelled, reference_iterations(detector, settings, look), settings.iterations
        ),
        threads=settings.threads,
        accelerator=settings.accelerator,
        look=look,
        small_objects=_small_objects(snapshot, detector, settings, look),
        pace=None if parent is None else _pace(models, parent, snapshot),
    )
    if job.small_objects and job.small_objects.words:
        log.warning("%s", job.small_objects.words)
    write_text(round_dir / JOB, job.model_dump_json(indent=2) + "\n")
    return job


def _below(path: Path, home: Path) -> Path:
    """The path from `home`, which may be elsewhere on another machine that trains; as it is where it isn't
    below.
    """
    return path.relative_to(home) if path.is_relative_to(home) else path


def _look(snapshot: Snapshot, detector: str, settings: Settings, before: int | None) -> int | None:
    """The test_size at which the round's model looks at images; None for a detector that has one look.

    before: the look of the version whose training goes on.
    """
    config = load_detector_config(detector, settings)
    if len(looks(config)) == 1:
        return None
    memory_gb = usable_gb()
    look, wanted = (choose(snapshot.images, config, before, most) for most in (memory_gb, math.inf))
    if look != wanted:
        log.warning(
            "Objects are small: the model would look at images at %s px, but looks at %s px, since the "
            "trainer may take no more than %.1f GB of memory; the detector's config says how much that needs",
            wanted, look, memory_gb,
        )  # fmt: skip
    return look


def _look_of(models: ProjectModels, version: str, detector: str, settings: Settings) -> int | None:
    """The look of a version; earlier releases, whose cards do not say it, had the detector's own alone."""
    return models.card(version).look or looks(load_detector_config(detector, settings))[0]


def _pace(models: ProjectModels, parent: str, snapshot: Snapshot) -> float:
    """The share of the detector's learning rate, by what the parent has seen of these labels."""
    card = models.card(parent)
    published = _published_classes(models, card.detector)
    if not LabelMap.build(published, snapshot.label_config, trained=False).unmatched_labels:
        return SLOWEST
    return going_on(card.images, len(snapshot.train))


def _published_classes(models: ProjectModels, detector: str) -> list[str]:
    """The classes of the weights from which a project's versions of a detector began: v0000's, or, where
    DETECTOR was changed since, those that are published.
    """
    if _is(models, STARTING_VERSION, detector):
        return models.card(STARTING_VERSION).classes
    return [] if detector == weights.FALLBACK else weights.coco_classes()


def _small_objects(
    snapshot: Snapshot, detector: str, settings: Settings, look: int | None
) -> SmallObjects | None:
    config = load_detector_config(detector, settings)
    take_look(config, look)
    fit_look(config)
    return measure(snapshot.images, config)


def _choose(models: ProjectModels, settings: Settings, config: LabelConfig) -> weights.Choice:
    """The detector that the settings ask for.

    DETECTOR=auto means the champion's, whatever it would be for a new project, unless that is the fallback or
    can no longer be trained. If the weights of another one are no longer available, the champion's is chosen,
    too, provided that its training can go on from a version. It is better than the fallback.
    """
    champion = models.champion()
    if champion is None:
        return weights.choose(settings)
    present = models.card(champion).detector
    goes_on = bool(_parent(models, present, config)) or _is(models, STARTING_VERSION, present)
    if settings.detector == "auto" and present != weights.FALLBACK and _has_config(present, settings):
        kept = f"{champion}, in service, is one; DETECTOR=auto changes no project's detector"
        if goes_on:
            return weights.Choice(present, kept)
        with suppress(weights.WeightsError):
            return weights.Choice(present, kept, weights.find(present, settings))
    choice = weights.choose(settings)
    if choice.detector == settings.detector or choice.detector != weights.FALLBACK or not goes_on:
        return choice
    return replace(choice, detector=present, why=f"{champion}, in service, is one; {choice.why}")


def _has_config(detector: str, settings: Settings) -> bool:
    return (settings.configs_dir / "detectors" / f"{detector}.py").is_file()


def _is(models: ProjectModels, version: str, detector: str) -> bool:
    return version in models.versions() and models.card(version).detector == detector


def _parent(models: ProjectModels, detector: str, config: LabelConfig) -> str | None:
    champion = models.champion()
    if champion is None:
        return None
    card = models.card(champion)
    found = LabelMap.build(card.classes, config, trained=True)
    same = not found.unmapped_classes and not found.unmatched_labels
    return champion if card.trained and card.detector == detector and same else None
