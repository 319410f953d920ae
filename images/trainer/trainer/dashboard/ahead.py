"""What the page Effort says of the images that are left: their time, and the mAP once all are labelled."""

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.dashboard.book import Effort
from trainer.dashboard.pages import View
from trainer.judging import forecast
from trainer.judging.effort import TABLES
from trainer.judging.forecast import FEWEST_IMAGES, Reached, Taken, Trained
from trainer.judging.standing import Standing

_WIDTH_95 = 2 * 1.96  # of a 95 % interval, in standard deviations


@dataclass(frozen=True)
class Ahead:
    """left: the images without an annotation. version: whose boxes the pace was measured with; None where it
    is that of all images. taken: by the recorded times. by_tables: seconds by the tables of costs, None with
    too few images. trained: so many images would be trained on. reached: with these; now: the mAP in service.
    """

    left: int
    version: str | None
    taken: Taken | None
    by_tables: dict[str, float] | None
    trained: int
    reached: Reached | None
    now: float | None


def ahead(page: View, efforts: Sequence[Effort]) -> Ahead | None:
    """What is ahead; None without an image that is left, or while Label Studio does not say."""
    status = page.project_status
    if status is None or status.tasks is None or status.labelled is None or status.tasks <= status.labelled:
        return None
    left = status.tasks - status.labelled
    recent = _recent(efforts)
    work, enough = recent.work + recent.from_twins, recent.images >= FEWEST_IMAGES
    tables = (
        {name: left * work.seconds(costs) / recent.images for name, costs in TABLES.items()}
        if enough
        else None
    )
    trained = round(status.tasks * (1 - page.loop.settings.holdout_percent / 100))
    standing = page.standing
    stand = standing.of(page.champion) if standing and page.champion else None
    return Ahead(
        left,
        recent.version,
        forecast.taken(recent.lead_times, left),
        tables,
        trained,
        forecast.reached(models(standing), trained) if standing else None,
        stand.mAP if stand else None,
    )


def _recent(efforts: Sequence[Effort]) -> Effort:
    """The work with the newest version on which a pace can stand, else all of it."""
    enough = (effort for effort in reversed(efforts) if len(effort.lead_times) >= FEWEST_IMAGES)
    return next(enough, sum(efforts, Effort(None)))


def models(standing: Standing) -> list[Trained]:
    """Those whose scores compare with each other."""
    found = []
    for stand in standing.stands:
        interval = stand.score.interval if stand.score else None
        if stand.mAP is None or stand.why:
            continue
        error = (interval[1] - interval[0]) / _WIDTH_95 if interval else 0.0
        found.append(Trained(stand.card.images, stand.mAP, error))
    return found
