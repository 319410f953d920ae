"""Who or what asked for a round: as the table keeps it, and in words."""

import re

from trainer.words import plural

BUTTON = "button"
RETRAIN = "make retrain"
_AUTOMATIC = " (automatic)"
_ON_THE_DASHBOARD = "dashboard, "
_ONCE = re.compile(r"RETRAIN_EVERY=\d+")
_IN_WORDS = {
    BUTTON: "Start Training was pressed in Label Studio",
    RETRAIN: "make retrain was typed on the host",
    "make demo": "make demo asked",
    "api": "a program asked, by the trainer's API",
}


def automatic(labelled: int, before: int) -> str:
    """What the table keeps of a round that nobody asked for. labelled: how many images are now. before: how
    many were at the last round; 0 before the first.

    >>> automatic(60, 10), automatic(10, 0)
    ('50 new labelled images since the last round (automatic)', 'the first 10 labelled images (automatic)')
    """
    if before:
        return f"{plural(labelled - before, 'new labelled image')} since the last round{_AUTOMATIC}"
    return f"the first {plural(labelled, 'labelled image')}{_AUTOMATIC}"


def on_the_dashboard(person: str) -> str:
    return f"{_ON_THE_DASHBOARD}{person}"[:100]


def in_words(requested_by: str) -> str:
    """Why a round began, for a person.

    >>> in_words("dashboard, ann@example.org"), in_words("RETRAIN_EVERY=50")
    ('ann@example.org asked, on the dashboard', 'enough new labelled images (automatic)')
    """
    if requested_by.startswith(_ON_THE_DASHBOARD):
        return f"{requested_by.removeprefix(_ON_THE_DASHBOARD)} asked, on the dashboard"
    if _ONCE.fullmatch(requested_by):  # earlier releases kept the setting alone
        return f"enough new labelled images{_AUTOMATIC}"
    return _IN_WORDS.get(requested_by, requested_by)
