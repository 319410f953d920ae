"""Whether what was learnt at once serves, and how well clicks do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from trainer.instant.evidence import WINDOW, Pair, click_right, is_better, telling
from trainer.judging.gate import probability_quicker


def pairs(*saved: float) -> list[Pair]:
    return [
        Pair(task=number, version="i0001.0001", instant=30 - each, champion=30)
        for number, each in enumerate(saved, start=1)
    ]


def test_over_a_champion_that_knows_labels_it_is_as_sure_as_the_gate() -> None:
    """Draws of its own were wholly sure of three images that agree, without the gate's prior images."""
    for saved in ((9, 8, 10), (9, 8, 10, -12), (1, -1, 1, -1), (5, 5, -4, -5, 6)):
        sure = probability_quicker(np.array([30 - each for each in saved]), np.full(len(saved), 30))
        assert is_better(pairs(*saved), True, sure) and not is_better(pairs(*saved), True, sure + 0.001)
    assert not is_better(pairs(9, 8), True, 0.5), "two images are too few"


def test_over_one_that_knows_none_it_serves_while_it_costs_no_more() -> None:
    assert is_better(pairs(-5, 5), False, 0.8) and not is_better(pairs(-5, 4), False, 0.8)
    assert is_better(pairs(-90, *[1] * WINDOW), False, 0.8), "only the newest count"


@pytest.mark.parametrize(("right", "expected"), [(0, 4 / 36), (30, 34 / 36)])
def test_how_often_clicks_fetch_is_learnt_from_the_newest_images(right: int, expected: float) -> None:
    old = Pair(task=1, version="", clicks=99, clicks_right=50)
    newest = [Pair(task=2, version="", clicks=0)] * (WINDOW - 1)
    seen = [old, *newest, Pair(task=3, version="", clicks=30, clicks_right=right)]
    assert click_right(seen) == pytest.approx(expected)


def labelled(task: int, *made: datetime, skipped: datetime | None = None) -> dict[str, Any]:
    rows = [{"id": n, "result": [], "created_at": at.isoformat()} for n, at in enumerate(made)]
    if skipped is not None:
        rows.append({"id": 9, "result": [], "created_at": skipped.isoformat(), "was_cancelled": True})
    return {"id": task, "annotations": rows}


def test_an_image_tells_if_it_was_first_labelled_after_the_champion_was_made() -> None:
    """While the clock was ahead, champions were made in the future; then all tell."""
    made = datetime.now(UTC) - timedelta(hours=1)
    before, after = made - timedelta(minutes=1), made + timedelta(minutes=1)
    tasks = [
        labelled(1, before),
        labelled(2, after),
        labelled(3, after, before),
        labelled(4, after, skipped=before),
        labelled(5, skipped=after),
    ]
    assert [*telling(tasks, made)] == [2, 4]
    assert [*telling(tasks, made + timedelta(days=300))] == [1, 2, 3, 4]
