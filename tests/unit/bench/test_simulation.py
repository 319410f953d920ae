"""From a simulation's summary to figures."""

from typing import Any

from bench.simulation import figures


def spread(mean: float, sd: float | None = None, n: int = 1) -> dict[str, Any]:
    return {"mean": mean, "sd": sd, "n": n}


def test_figures_carry_the_targets() -> None:
    totals = {"saved_by_hand": spread(0.7, 0.01, 3), "saved_one_round": spread(0.1)}
    needed = {"share": 1.0, "target": 0.5, "ratio": None}
    summary = {
        "orders": {"uncertainty": totals, "random": totals},
        "steps": [{"order": "random", "labels": 10, "mAP": spread(0.4), "share_accepted": None}],
        "labels_needed": [
            {**needed, "uncertainty": spread(90.0), "random": spread(100.0)},
            {**needed, "uncertainty": None, "random": spread(100.0)},
        ],
    }
    made = list(figures(summary, "make simulate"))
    assert [(f.name, f.value, f.met) for f in made] == [
        ("uncertainty: time saved against all by hand (± 0.010, 3 seeds)", 0.7, True),
        ("uncertainty: time saved against one round only", 0.1, None),
        ("random: time saved against all by hand (± 0.010, 3 seeds)", 0.7, None),
        ("random: time saved against one round only", 0.1, None),
        ("random, 10 labels: mAP", 0.4, None),
        ("labels to mAP 0.500, uncertainty against random order", 90.0, False),
    ]
    assert made[-1].ratio == 0.9
