"""What a round trains: written once by the trainer, read by the training process."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from labelloop.errors import Explained
from labelloop.files import replacing, write_text
from labelloop.labels import LabelConfig, LabelMap
from labelloop.registry import STARTING_VERSION, ProjectModels, Registry
from labelloop.settings import Settings
from trainer.dataset.snapshot import Snapshot
from trainer.rounds.folder import JOB, START_WEIGHTS
from trainer.training import weights
from trainer.training.length import iterations_for

CHECKPOINT_EVERY_S = 20.0
SEED = 20


class JobError(Explained):
    """job.json cannot be read, or is another project's."""


class Job(BaseModel):
    """parent: the version whose training goes on, None when it starts from the starting weights.

    start_weights: a state_dict's file, with one row a class of start_classes in its head; start: what it is,
    in words.
    """

    project_id: int
    detector: str
    why: str
    parent: str | None
    start: str
    start_weights: str
    start_classes: list[str]
    iterations: int
    threads: int
    accelerator: Literal["cpu", "cuda"]
    seed: int = SEED
    checkpoint_every_s: float = CHECKPOINT_EVERY_S

    @classmethod
    def load(cls, round_dir: Path) -> "Job":
        """Raises JobError when the file is damaged."""
        path = round_dir / JOB
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise JobError(f"{path} is damaged ({why}); `make retrain` starts a new round") from error


def write_job(round_dir: Path, settings: Settings, project_id: int, snapshot: Snapshot) -> Job:
    """Decides what to train from what, and writes job.json; a folder that has one keeps it.

    The champion's training goes on when it is the same detector with the same classes, in any order; else the
    starting weights are taken, from v0000 when that is the same detector.

    Raises:
        JobError: the folder's is damaged, or another project's.
        weights.WeightsError: the detector's starting weights cannot be had.
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
    detector, why = _detector(models, settings, snapshot.label_config)
    parent = _parent(models, detector, snapshot.label_config)
    origin = parent or (STARTING_VERSION if _is(models, STARTING_VERSION, detector) else None)
    if origin is not None:
        card = models.card(origin)
        start_weights, start_classes = models.folder(origin) / "weights.pth", card.classes
        # A trained version's card says what it started from; told here too, the chain grows with each round.
        start = f"{origin} ({card.start_weights})" if origin == STARTING_VERSION else origin
    else:
        found = weights.find(detector, settings)
        start_weights, start_classes, start = round_dir / START_WEIGHTS, found.classes, found.source
        with replacing(start_weights) as temporary:
            weights.save(found.state, temporary)
    job = Job(
        project_id=project_id,
        detector=detector,
        why=why,
        parent=parent,
        start=start,
        start_weights=str(start_weights),
        start_classes=start_classes,
        iterations=iterations_for(
            snapshot.labelled, weights.reference_iterations(detector, settings), settings.iterations
        ),
        threads=settings.threads,
        accelerator=settings.accelerator,
    )
    write_text(round_dir / JOB, job.model_dump_json(indent=2) + "\n")
    return job


def _detector(models: ProjectModels, settings: Settings, config: LabelConfig) -> tuple[str, str]:
    """What the settings ask for. Where the weights for that went away, the champion's detector, if its
    training can go on from a version, rather than the one that needs no weights.
    """
    chosen, why = weights.choose(settings)
    champion = models.champion()
    if chosen == settings.detector or chosen != weights.FALLBACK or champion is None:
        return chosen, why
    present = models.card(champion).detector
    if _parent(models, present, config) or _is(models, STARTING_VERSION, present):
        return present, f"the champion {champion} is one; {why}"
    return chosen, why


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
