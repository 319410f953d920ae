"""The allowed values of settings, for the services and for `make`, which checks them before anything starts.

This module needs only Python's standard library.
"""

from __future__ import annotations

MANY = 1_000_000

WHOLE_NUMBERS = {
    "PORT": (1, 65535),
    "DASHBOARD_PORT": (1, 65535),
    "MLBACKEND_PORT": (1, 65535),
    "TRAINER_PORT": (1, 65535),
    "DATABASE_PORT": (1, 65535),
    "CLUSTER_PORT": (1024, 65400),
    "LABELSTUDIO_PORT": (1, 65535),
    "THREADS": (1, 1024),
    "TRAINING_PROCESSES": (1, 64),
    "REPLICAS": (1, 5),
    "BACKENDS": (1, 8),
    "RETRAIN_EVERY": (0, MANY),
    "ITERATIONS": (0, MANY),
    "HOLDOUT_PERCENT": (1, 90),
    "HOLDOUT_MIN": (1, MANY),
    "MISSING_PERCENT": (0, 100),
    "BACKUP_EVERY_HOURS": (0, MANY),
    "BACKUP_KEEP": (1, MANY),
    "KEEP_ROUNDS": (1, MANY),
    "KEEP_VERSIONS": (1, MANY),
    "KEEP_PREDICTIONS": (1, MANY),
}
"""By name, the lowest and the highest allowed value."""

NUMBERS = {
    "SCORE_THRESHOLD": (0.0, 1.0),
    "GATE_CONFIDENCE": (0.0, 1.0),
    "IMPORT_EVERY": (0.1, 86400.0),
    "ROUND_MINUTES": (0.1, 1440.0),
    "CACHE_GB": (0.1, 100_000.0),
}
"""By name, the lowest and the highest allowed value; IMPORT_EVERY is in seconds."""

COSTS = ("quick", "careful")
"""The names of the tables of what a person's actions cost, which are in trainer.judging.effort."""

PUBLIC_URL = r"(https?://[^/\s]+)?"
"""The pattern that the whole value must match."""

USER_AGENT = "labelloop/1 (labelling appliance of its operator; fetches images to be labelled)"
"""Who we say we are to hosts of images, unless the setting USER_AGENT says something else."""
USER_AGENTS = r"[A-Za-z0-9][A-Za-z0-9 ._/:;,()+@=-]{0,198}"
IMAGE_HOSTS = r"(https?://[A-Za-z0-9._\[\]:-]+(,https?://[A-Za-z0-9._\[\]:-]+)*)?"
PROXY = r"(https?://[^/\s]+/?)?"
"""Like the two before it, the pattern that the whole value must match."""

IMAGES = r"(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s?#]*)?)?"
S3_ENDPOINT = r"(https?://[A-Za-z0-9._\[\]:-]+)?"
S3_REGION = r"([a-z0-9-]{1,40})?"
"""Of a bucket with images; the pattern that the whole value must match."""

_YES = ("1", "true", "yes", "on")
_NO = ("0", "false", "no", "off", "")
YES_OR_NO = "1, true, yes or on; or 0, false, no or off"


def yes(value: str) -> bool:
    """The value of a yes-or-no setting.

    >>> yes("1"), yes("Yes"), yes("no"), yes("")
    (True, True, False, False)

    Raises:
        ValueError: it is neither yes nor no.
    """
    if not says_yes_or_no(value):
        raise ValueError(f"{value!r} is neither: {YES_OR_NO}")
    return value.strip().lower() in _YES


def says_yes_or_no(value: str) -> bool:
    return value.strip().lower() in (*_YES, *_NO)
