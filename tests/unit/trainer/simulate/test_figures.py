"""The arithmetic of a simulation's summary."""

import json
from dataclasses import replace

import pytest

from trainer.judging.effort import Work
from trainer.simulate.errors import OptionError
from trainer.simulate.figures import OneRound, RunFigures, Step, single_round
from trainer.simulate.options import Options, numbers, predicted_values
from trainer.simulate.promotions import Promotion, undone
from trainer.simulate.summary import MeanReach, Spread, labels_needed, mean_reaches, reaches, summary
from trainer.simulate.table import HEADER, line, spread, tables


def step(
    labels: int, m_ap: float, version: str = "v0001", seconds: float = 0.0, order: str = "random"
) -> Step:
    return Step(
        order=order,
        seed=0,
        step=labels // 10,
        labels=labels,
        images=10,
        boxes=10,
        work=Work(accepted=5, drawn=5),
        seconds=seconds,
        by_hand_seconds=70.0,
        state="promoted",
        verdict=f"promoted {version}",
        version=version,
        mAP=m_ap,
        AP50=m_ap + 0.1,
        least_certain_first=None,
        round_seconds=60.0,
        wall_seconds=70.0,
        clicks_tried=(8, 2),
        clicks_right=(6, 1),
        spent={"round": 60.0, "scoring": 10.0},
    )


def run(order: str, seed: int, *values: float) -> RunFigures:
    steps = tuple(
        replace(step(10 * number, value, seconds=40.0), order=order, seed=seed)
        for number, value in enumerate(values, start=1)
    )
    one_round = OneRound(10, "v0001", Work(), 100.0)
    works = (Work(clicked=1),) * 4 + (Work(drawn=1),) * 100
    right = Promotion("v0001", "v0000", 10, 0.2, 0.1, 70.0, 80.0)
    return RunFigures(
        order, seed, steps, one_round, "yolox_nano", "80 classes of a.pth", works=works, promotions=(right,)
    )


def test_labels_needed_are_interpolated_at_the_first_crossing() -> None:
    curve = [(0.0, 0.0), (10.0, 0.2), (20.0, 0.4), (40.0, 0.3), (80.0, 0.6)]
    assert labels_needed(curve, 0.3) == pytest.approx(15)
    assert labels_needed(curve, 0.2) == 10
    assert labels_needed(curve, 0.5) == pytest.approx(40 + 40 * 2 / 3)
    assert labels_needed(curve, 0.0) == 0
    assert labels_needed(curve, 0.7) is None
    assert labels_needed([], 0.1) is None


def test_spread_is_over_what_is_there() -> None:
    assert Spread.of([1.0, None, 3.0, float("nan")]) == Spread(2.0, pytest.approx(2**0.5), 2)
    assert Spread.of([4.0]) == Spread(4.0, None, 1)
    assert Spread.of([None]) is None


def test_time_saved() -> None:
    figures = run("random", 0, 0.2, 0.4)
    assert figures.seconds == 80
    assert figures.by_hand_seconds == 140
    assert figures.saved_by_hand == pytest.approx(1 - 80 / 140)
    assert figures.saved_one_round == pytest.approx(0.2)
    assert figures.work == Work(accepted=10, drawn=10)


def test_the_single_round_is_the_first_with_enough_labels_and_a_trained_version() -> None:
    untrained, first, second = step(10, 0, "v0000"), step(20, 0.3, "v0001"), step(40, 0.4, "v0001")
    assert single_round([untrained, first, second], 40) is second
    assert single_round([untrained, first], 40) is first
    assert single_round([untrained], 40) is None
    assert single_round([], 40) is None


def test_orders_are_compared_seed_by_seed() -> None:
    runs = [
        run("uncertainty", 0, 0.4, 0.5),
        run("uncertainty", 1, 0.2, 0.3),
        run("random", 0, 0.2, 0.4),
        run("random", 1, 0.2, 0.4),
    ]
    (reach,) = reaches(runs, [1.0])
    assert reach.target == pytest.approx(0.4)
    assert reach.uncertainty == Spread(10.0, None, 1)
    assert reach.random == Spread(20.0, 0.0, 2)
    assert reach.ratio == Spread(0.5, None, 1)
    assert reaches(runs[:2], [1.0]) == []


def test_the_mean_curves_are_compared_over_the_seeds_of_both_orders() -> None:
    runs = [
        run("uncertainty", 0, 0.2, 0.5, 0.5),
        run("uncertainty", 1, 0.2, 0.3, 0.7),
        run("random", 0, 0.2, 0.2, 0.5),
        run("random", 1, 0.2, 0.2, 0.5),
        run("random", 2, 0.9, 0.9, 0.9),
    ]
    # With 20 labels the random order has no more than with 10.
    assert mean_reaches(runs) == [
        MeanReach(10, pytest.approx(0.2), pytest.approx(10), 2),
        MeanReach(30, pytest.approx(0.5), pytest.approx(25), 2),
    ]
    assert mean_reaches([run("uncertainty", 0, 0.1), run("random", 0, 0.2)]) == [MeanReach(10, 0.2, None, 1)]
    assert mean_reaches([run("uncertainty", 0, 0.1), run("random", 1, 0.2)]) == []


def test_summary_is_json_and_is_shown() -> None:
    document = summary([run("uncertainty", 0, 0.4, 0.5), run("random", 0, 0.2, 0.4)], [0.5, 1.0])
    document = json.loads(json.dumps(document))
    assert document["orders"]["random"]["saved_by_hand"] == {"mean": pytest.approx(3 / 7), "sd": None, "n": 1}
    assert document["orders"]["random"]["one_round_saved_by_hand"]["mean"] == pytest.approx(1 - 100 / 140)
    # 10 boxes accepted and 10 drawn of 20: by hand 140 s; 75 s by the quick table, 87 s by the careful one
    random = document["orders"]["random"]
    assert random["saved_by_hand_quick"]["mean"] == pytest.approx(1 - 75 / 140)
    assert random["saved_by_hand_careful"]["mean"] == pytest.approx(1 - 87 / 140)
    assert document["steps"][0]["saved_by_hand_careful"]["mean"] == pytest.approx(1 - 43.5 / 70)
    assert document["runs"][0]["saved_by_hand_careful"] == pytest.approx(1 - 87 / 140)
    totals = next(iter(tables(document)))
    rows = list(zip(*(list(column.cells) for column in totals.columns), strict=True))
    assert rows[1:3] == [
        ("  by the quick table", "0.464 (1 seed)", "0.464 (1 seed)"),
        ("  by the careful table", "0.379 (1 seed)", "0.379 (1 seed)"),
    ]
    # of 10 boxes of 7 s four clicked in 2.4 s or 3.6 s, six drawn
    first = "0.263 (1 seed)", "0.263 (1 seed)"
    assert rows[3:6] == [
        ("time saved on the first 10 images", *first),
        ("  by the quick table", *first),
        ("  by the careful table", "0.194 (1 seed)", "0.194 (1 seed)"),
    ]
    assert ("first clicks on an object that fetched a right box", *["0.750 (1 seed)"] * 2) in rows
    assert [(row["order"], row["labels"], row["mAP"]["mean"]) for row in document["steps"]] == [
        ("uncertainty", 10, 0.4),
        ("uncertainty", 20, 0.5),
        ("random", 10, 0.2),
        ("random", 20, 0.4),
    ]
    assert document["labels_needed_on_means"] == [
        {"labels": 10, "mAP": 0.2, "uncertainty": 10.0, "seeds": 1},
        {"labels": 20, "mAP": 0.4, "uncertainty": 10.0, "seeds": 1},
    ]
    assert len(list(tables(document))) == 5
    assert document["promotions"] == {
        "rounds": 4,
        "promoted": 2,
        "wrong": 0,
        "wrong_undone_soon": 0,
        "slower": 0,
        "slower_undone_soon": 0,
        "share_wrong": 0.0,
        "share_slower": 0.0,
    }
    went = list(tables(document))[3]
    assert [list(column.cells) for column in went.columns] == [["round", "scoring"], ["120.0", "20.0"]]
    needed = list(tables(document))[-1]
    assert list(needed.columns[1].cells) == [
        "50% of the last",
        "100% of the last",
        "mean of 1 at 10",
        "mean of 1 at 20",
    ]
    assert list(needed.columns[-1].cells) == ["1.00 (1 seed)", "0.50 (1 seed)", "1.00", "0.50"]
    assert list(tables(summary([], [1.0]))) == []


def test_wrong_promotions_are_counted_with_those_that_were_undone_in_time() -> None:
    right = Promotion("v0001", "v0000", 10, 0.5, 0.4, 50.0, 60.0)
    slower = replace(right, version="v0002", labels=20, seconds=61.0)
    worse = replace(right, version="v0003", labels=40, mAP=0.3)
    kept = undone(undone([right, slower, worse], "v0002", 41), "v0003", 60)
    assert [row.undone_at for row in kept] == [None, 41, 60]
    assert [row.undone_soon for row in kept] == [False, False, True]
    both = run("random", 0, *[0.1] * 40), replace(run("random", 1, *[0.1] * 20), promotions=tuple(kept))
    document = summary(both, [1.0])
    assert document["promotions"] == {
        "rounds": 60,
        "promoted": 4,
        "wrong": 1,
        "wrong_undone_soon": 1,
        "slower": 1,
        "slower_undone_soon": 0,
        "share_wrong": 1 / 60,
        "share_slower": 1 / 60,
    }
    shown = next(table for table in tables(document) if table.title == "Rounds")
    assert list(zip(*(list(column.cells) for column in shown.columns), strict=True))[2:] == [
        ("of them lower mAP on the test images than the former", "1, 1.7% of the rounds", "1"),
        ("of them slower to correct there than the former", "1, 1.7% of the rounds", "0"),
    ]


def test_a_step_is_one_flat_row() -> None:
    row = step(10, 0.5).as_row()
    assert (row["accepted"], row["drawn"], row["share_accepted"]) == (5, 5, 1.0)
    assert "work" not in row
    assert (row["saved_by_hand_quick"], row["saved_by_hand_careful"]) == pytest.approx(
        (1 - 37.5 / 70, 1 - 43.5 / 70)
    )
    shown = line(step(10, 0.5, seconds=35.0))
    assert "promoted v0001" in shown
    heads = HEADER.index("saved"), HEADER.index("mAP")
    assert shown[heads[0] : heads[1]].split()[:3] == ["50%", "46%", "38%"]
    assert HEADER[heads[0] : heads[1]].split() == ["saved", "quick", "careful"]
    assert spread({"mean": 0.51234, "sd": 0.01, "n": 3}) == "0.512 ± 0.010 (3 seeds)"


def test_the_schedule_ends_at_the_budget_or_with_the_training_set() -> None:
    assert Options("x").counts(205) == [10, 20, 40, 80, 160, 205]
    assert Options("x", budget=50).counts(205) == [10, 20, 40, 50]
    assert Options("x").counts(30) == [10, 20, 30]
    assert Options("x", schedule=("20", "10")).counts(205) == [10, 20]


def test_options_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(OptionError, match="ORDERS=best"):
        Options("x", orders=("best",))
    with pytest.raises(OptionError, match="SCHEDULE=10,few"):
        Options("x", schedule=("10", "few"))
    with pytest.raises(OptionError, match="SCHEDULE=none,10: needed numbers above 0, all, or none alone"):
        Options("x", schedule=("none", "10"))
    assert Options("x", schedule=("none",), budget=10).counts(205) == [10]
    with pytest.raises(OptionError, match="SEEDS=: needed one or more"):
        Options("x", seeds=())
    with pytest.raises(OptionError, match="SEEDS=1,1: needed one or more, each another"):
        Options("x", seeds=(1, 1))
    with pytest.raises(OptionError, match="SEEDS=a"):
        numbers("a", "SEEDS")
    with pytest.raises(OptionError, match="PREDICTED=raccoon"):
        predicted_values(["raccoon"])
    assert predicted_values(["raccoon=cat,dog"]) == {"raccoon": "cat,dog"}
