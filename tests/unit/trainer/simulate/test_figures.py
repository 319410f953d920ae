"""The arithmetic of a simulation's summary."""

import json
from dataclasses import replace

import pytest

from trainer.judging.effort import PageWork, Work
from trainer.simulate.errors import OptionError
from trainer.simulate.figures import OneRound, RunFigures, Step, single_round
from trainer.simulate.options import Options, numbers, predicted_values
from trainer.simulate.promotions import Promotion, undone
from trainer.simulate.spread import Spread
from trainer.simulate.summary import MeanReach, labels_needed, mean_reaches, reaches, summary
from trainer.simulate.table import HEADER, line, spread, tables
from trainer.simulate.work_done import Effort, Verified


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
        effort=Effort(Work(accepted=5, drawn=5)),
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
    one_round = OneRound(10, "v0001", Work(accepted=8, drawn=12), 100.0)
    efforts = (Effort(Work(clicked=1)),) * 4 + (Effort(Work(drawn=1)),) * 100
    right = Promotion("v0001", "v0000", 10, 0.2, 0.1, 70.0, 80.0)
    return RunFigures(
        order,
        seed,
        steps,
        one_round,
        "yolox_nano",
        "80 classes of a.pth",
        efforts=efforts,
        promotions=(right,),
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
    assert document["orders"]["random"]["one_round_saved_by_hand"]["mean"] == pytest.approx(1 - 88 / 140)
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
    assert len(list(tables(document))) == 6
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
    needed = list(tables(document))[-2]
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
    former = Options("x", schedule=("10", "20", "40", "80", "160", "all"))
    assert former.counts(205) == [10, 20, 40, 80, 160, 205]
    assert replace(former, budget=50).counts(205) == [10, 20, 40, 50]
    assert former.counts(30) == [10, 20, 30]
    assert Options("x").auto and Options("x", budget=50).most(205) == 50
    assert Options("x", schedule=("20", "10")).counts(205) == [10, 20]


def test_options_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(OptionError, match="ORDERS=best"):
        Options("x", orders=("best",))
    with pytest.raises(OptionError, match="SCHEDULE=10,few"):
        Options("x", schedule=("10", "few"))
    with pytest.raises(OptionError, match="SCHEDULE=none,10: .* above 0, all, or auto or none alone"):
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


def test_what_was_verified_is_priced_by_page_crop_and_mark_and_only_its_right_boxes_count_as_saved() -> None:
    """Two images with 30 right boxes, 2 wrong and 5 missed ones; in the editor 2 were deleted, 5 drawn."""
    verified = Verified(2, 30, 2, 5, Work(accepted=30, deleted=2, drawn=5))
    pages = PageWork(crops=48, marked=3, pages=2)
    by_page = replace(step(10, 0.5), effort=Effort(Work(drawn=1), pages, verified), handed_over=1)
    row = by_page.as_row()
    # 7 s for the drawn one; 48 · 0.5 + 3 · 1 + 2 · 2 s, or 48 · 1 + 3 · 2 + 2 · 4 s
    assert row["saved_by_hand_quick"] == pytest.approx(1 - (7 + 31) / (31 * 7))
    assert row["saved_by_hand_careful"] == pytest.approx(1 - (7 + 62) / (31 * 7))
    assert (row["pages"]["crops"], row["verified"]["missed"], row["handed_over"]) == (48, 5, 1)
    whole = replace(run("random", 0), steps=(by_page,), efforts=(by_page.effort,))
    assert whole.share_verified == pytest.approx(0.2)
    assert whole.saved_first_images == whole.saved_by_tables["saved_by_hand_quick"]
    # 30 looks, 2 deleted, 6 drawn
    assert whole.saved_by_tables["saved_in_editor_quick"] == pytest.approx(1 - (15 + 2 + 42) / (36 * 7))


def test_in_short_says_what_a_release_is_judged_by() -> None:
    """Of runs that trained at 24 and at 30 labels, and were scored at 48 and at 60."""
    early = [
        replace(
            run("uncertainty", seed),
            steps=(replace(step(at, 0.4 + seed / 10), step=1), replace(step(2 * at, 0.7), step=2)),
            learning_s=(3.0, 5.0 + seed),
        )
        for seed, at in enumerate((24, 30))
    ]
    wrong = replace(early[0].promotions[0], mAP=0.05, undone_at=20)
    document = json.loads(json.dumps(summary([replace(early[0], promotions=(wrong,)), early[1]], [1.0])))
    found = document["show"]["uncertainty"]
    assert found["mAP"]["mean"] == pytest.approx(0.45) and found["trained_at"]["mean"] == 27
    assert found["saved"]["careful"] == document["orders"]["uncertainty"]["saved_by_hand_careful"]
    assert (found["learning_s"]["mean"], found["learning_most_s"]) == (4.25, 6.0)
    assert (found["promotions"]["wrong"], found["promotions"]["wrong_undone_soon"]) == (1, 1)
    shown = list(tables(document))[-1]
    cells = dict(zip(*(list(column.cells) for column in shown.columns), strict=True))
    assert shown.title == "In short"
    assert cells["mAP with 40 labels, the newest version"] == "0.450 ± 0.071 (2 seeds)"
    assert cells["time saved against all by hand, quick / careful"] == "46.4 ± 0.0 % / 37.9 ± 0.0 %"
    assert cells["rounds; promotions with a lower mAP on the test images"] == "4; 1 (25.0%)"
    assert cells["  of these undone within 20 images"] == "1"
    assert [(row["labels"], row["mAP"]["n"]) for row in document["steps"]] == [(27, 2), (54, 2)]
    recorded = {row["name"]: (row["value"], row["unit"], row["detail"]) for row in document["figures"]}
    assert recorded["uncertainty: mAP with 40 labels"] == (pytest.approx(0.45), "", "± 0.071, 2 runs")
    assert recorded["uncertainty: from a submission to boxes"] == (4.25, "s", "± 1.500, 4 submissions")
    wrong_rounds = recorded["uncertainty: rounds that promoted a version of lower mAP"]
    assert wrong_rounds == (25.0, "%", "1 of 4, 1 undone by themselves")


def test_mean_curves_are_interpolated_where_runs_trained_at_other_numbers() -> None:
    def at(order: str, *points: tuple[int, float]) -> RunFigures:
        return replace(run(order, 0), steps=tuple(step(labels, value) for labels, value in points))

    runs = [at("uncertainty", (0, 0.0), (24, 0.4), (60, 0.6)), at("random", (0, 0.0), (24, 0.2), (48, 0.4))]
    runs += [replace(at("random", (0, 0.0), (48, 0.4)), seed=1), replace(runs[0], seed=1)]
    assert mean_reaches(runs) == [
        MeanReach(24, pytest.approx(0.2), pytest.approx(12), 2),
        MeanReach(48, pytest.approx(0.4), pytest.approx(24), 2),
    ]
