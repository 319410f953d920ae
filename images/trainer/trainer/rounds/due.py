"""How far the next round is that starts by itself."""

from collections.abc import Sequence

from labelloop.labels import LabelMap
from trainer.env import TrainerSettings
from trainer.rounds.table import Round


def labels_to_go(
    labelled: int,
    held_out: int,
    history: Sequence[Round],
    mapped: LabelMap | None,
    settings: TrainerSettings,
) -> int | None:
    """How many more labelled images start a round, at least 1; None where none starts by itself, or is open.

    held_out: images of the hold-out. history: the project's rounds, the newest first. mapped: what the
    champion knows; None without a champion, which decides when the first round starts.
    """
    if not settings.retrain_every or mapped is None or (history and not history[0].closed):
        return None
    last = history[0].labelled or 0 if history else 0
    due = settings.next_round_at(last, mapped.knows_any)
    if mapped.knows_any and held_out < settings.holdout_min:
        due = max(due, settings.comparable_from)
    return max(due - labelled, 1)
