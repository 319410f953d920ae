"""What the files in a round's folder are called; docs/reference/files.md tells what each is for."""

from typing import Final

CLAIM: Final = "round.json"
"""Whose the folder is."""
SNAPSHOT: Final = "snapshot.json"
JOB: Final = "job.json"
START_WEIGHTS: Final = "start.pth"
TRAIN_IMAGES: Final = "train.jsonl"
"""The snapshot's training side, a line an image, as the training reads it."""
METRICS: Final = "metrics.jsonl"
LAST_CHECKPOINT: Final = "last.pth"
CANDIDATE: Final = "candidate"
EVALUATION: Final = "evaluation.json"
LOG: Final = "log.txt"
CANCEL: Final = "cancel"
"""Training stops where this one appears."""
RETENTION: Final = "retention.json"
"""When retention took the rest, and what can't be told without it."""

STAGES_LOCK: Final = "stages.lock"
TRAIN_LOCK: Final = "train.lock"


def predictions_file(version: str) -> str:
    """A version's boxes on the snapshot's images, which the dashboard's pages show."""
    return f"predictions-{version}.json"
