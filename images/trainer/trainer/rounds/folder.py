"""The names of the files in a round's folder; docs/reference/files.md says what each is for."""

from typing import Final

CLAIM: Final = "round.json"
"""The round that owns the folder."""
SNAPSHOT: Final = "snapshot.json"
JOB: Final = "job.json"
START_WEIGHTS: Final = "start.pth"
TRAIN_IMAGES: Final = "train.jsonl"
"""The snapshot's training side as the training reads it, one line per image."""
METRICS: Final = "metrics.jsonl"
LAST_CHECKPOINT: Final = "last.pth"
CANDIDATE: Final = "candidate"
SINCE: Final = "since.json"
"""The images that were labelled after the snapshot, when candidate and champion were compared."""
EVALUATION: Final = "evaluation.json"
TRIAL: Final = "trial.json"
"""How the promoted version and the one before it do on images that were labelled after the promotion."""
LOG: Final = "log.txt"
CANCEL: Final = "cancel"
"""Training stops when this file appears."""
RETENTION: Final = "retention.json"
"""When retention removed the data, and the facts that cannot be derived without it."""

RENDEZVOUS: Final = ".crew"
"""Where processes that train a round together on one machine find each other."""
OUTCOME: Final = "outcome.json"
"""How training on a cluster ended, as a member there tells its driver."""
CLUSTER_DRIVER: Final = "log-cluster.txt"
"""The output of the process that has a cluster train the round."""

STAGES_LOCK: Final = "stages.lock"
TRAIN_LOCK: Final = "train.lock"

SEEN: Final = "seen"
"""Beside a project's versions: what these have seen on its labelled images, and the labels of then."""


def member_log(number: int) -> str:
    """The output of the second process, or a later one, of those that train a round together."""
    return f"log-{number}.txt"


def predictions_file(version: str) -> str:
    """A version's boxes on the snapshot's images, which the dashboard's pages show."""
    return f"predictions-{version}.json"
