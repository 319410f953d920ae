"""From a simulation's summary to figures."""

from typing import Any

import pytest
from bench.simulation import figures


def spread(mean: float, sd: float | None = None, n: int = 1) -> dict[str, Any]:
    return {"mean": mean, "sd": sd, "n": n}


def summary(**changes: Any) -> dict[str, Any]:
    empty = {"orders": {}, "steps": [], "labels_needed": [], "labels_needed_on_means": []}
    return {"options": {"seeds": [0, 1, 2]}, **empty, **changes}


def test_figures_carry_the_targets() -> None:
    totals = {"saved_by_hand": spread(0.7, 0.01, 3), "saved_one_round": spread(0.1)}
    needed = {"share": 1.0, "target": 0.5, "uncertainty": spread(90.0), "random": spread(100.0)}
    document = summary(
        orders={"uncertainty": totals, "random": totals},
        steps=[{"order": "random", "labels": 10, "mAP": spread(0.4), "share_accepted": None}],
        labels_needed=[{**needed, "ratio": spread(0.9, 0.02, 3)}, {**needed, "ratio": spread(0.7, 0.05, 3)}],
        labels_needed_on_means=[
            {"labels": 80, "mAP": 0.55, "uncertainty": 60.0, "seeds": 3},
            {"labels": 160, "mAP": 0.6, "uncertainty": None, "seeds": 3},
        ],
    )
    made = list(figures(document, "make simulate"))
    assert [(f.name, f.value, f.met) for f in made] == [
        ("uncertainty: time saved against all by hand (± 0.010, 3 seeds)", 0.7, True),
        ("uncertainty: time saved against one round only", 0.1, None),
        ("random: time saved against all by hand (± 0.010, 3 seeds)", 0.7, None),
        ("random: time saved against one round only", 0.1, None),
        ("random, 10 labels: mAP", 0.4, None),
        ("labels to mAP 0.500, uncertainty / random (± 0.020, 3 seeds)", 0.9, False),
        ("labels to mAP 0.500, uncertainty / random (± 0.050, 3 seeds)", 0.7, True),
        ("labels to mAP 0.550, mean curves of 3 seeds, uncertainty / random", 60.0, None),
    ]
    assert made[-1].ratio == 0.75


@pytest.mark.parametrize(("ratio", "reached"), [(spread(0.5, 0.01, 2), 2), (None, 0)])
def test_fewer_labels_that_not_every_seed_shows_are_a_missed_target(
    ratio: dict[str, Any] | None, reached: int
) -> None:
    """The means of both orders, over the seeds that each has, say 50 against 100."""
    row = {"share": 1.0, "target": 0.5, "uncertainty": spread(50.0), "random": spread(100.0), "ratio": ratio}
    [made] = figures(summary(labels_needed=[row]), "make simulate")
    assert made.name == "labels to mAP 0.500, uncertainty / random: reached by labelling in"
    assert (made.value, made.unit, made.met) == (reached, "of 3 seeds", False)
