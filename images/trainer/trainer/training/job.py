"""A round's training job: written once by the trainer, read by the training process."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from labelloop.errors import Explained
from trainer.rounds.folder import JOB
from trainer.training.small_objects import SmallObjects

CHECKPOINT_EVERY_S = 20.0
SEED = 20


class JobError(Explained):
    """job.json cannot be read, or belongs to another project."""


class Job(BaseModel):
    """parent: the version whose training continues; None when it begins from the starting weights.

    start_weights: the file of a state_dict, from LABELLOOP_HOME on, whose head has one row for each class of
    start_classes. start: its origin, in words. look: the test_size of the look
    (trainer.training.working_size); None for a
    detector that has one, and in the jobs of earlier releases. precision: on a GPU, whether 16 bits may be
    used. loader_workers: processes that load images; None leaves that to the recipe. small_objects: how large
    the objects are to the network; None in the jobs of earlier releases. pace: the share of the detector's
    learning rate at which the parent's training goes on; None without a parent, and in the jobs of earlier
    releases: then what the start knows decides.
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
    look: int | None = None
    precision: Literal["auto", "fp32"] = "auto"
    loader_workers: int | None = None
    small_objects: SmallObjects | None = None
    pace: float | None = None

    @classmethod
    def load(cls, round_dir: Path) -> "Job":
        """The job in a round's folder. Raises JobError when its file is damaged."""
        path = round_dir / JOB
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise JobError(f"{path} is damaged ({why}); `make retrain` starts a new round") from error
