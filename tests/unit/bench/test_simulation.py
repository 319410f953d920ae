"""From a simulation to its summary, and from that to figures."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from bench import first_images, simulation
from bench.options import Options
from bench.simulation import figures


def spread(mean: float, sd: float | None = None, n: int = 1) -> dict[str, Any]:
    return {"mean": mean, "sd": sd, "n": n}


def summary(**changes: Any) -> dict[str, Any]:
    empty = {"orders": {}, "steps": [], "labels_needed": [], "labels_needed_on_means": []}
    return {"options": {"seeds": [0, 1, 2]}, **empty, **changes}


def test_figures_carry_the_targets() -> None:
    """Those by both tables of costs stand side by side; a summary from before there were two has none."""
    totals = {"saved_by_hand": spread(0.7, 0.01, 3), "saved_one_round": spread(0.1)}
    by_tables = {
        "saved_by_hand_quick": spread(0.67),
        "saved_one_round_quick": spread(0.2),
        "saved_first_images_quick": spread(0.4),
        "saved_by_hand_careful": spread(0.53),
        "first_click_right": spread(0.6),
        "learning_most_s": spread(16.0),
        "saved_one_round_careful": spread(0.15),
    }
    needed = {"share": 1.0, "target": 0.5, "uncertainty": spread(90.0), "random": spread(100.0)}
    document = summary(
        orders={"uncertainty": totals | by_tables, "random": totals},
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
        ("uncertainty: time saved against all by hand, quick costs", 0.67, None),
        ("uncertainty: time saved against one round only, quick costs", 0.2, None),
        ("uncertainty: time saved on the first ten images, quick costs", 0.4, None),
        ("uncertainty: time saved against all by hand, careful costs", 0.53, None),
        ("uncertainty: time saved against one round only, careful costs", 0.15, None),
        ("uncertainty: first clicks that fetched a right box", 0.6, None),
        ("uncertainty: a submission to boxes that learnt from it, at most", 16.0, False),
        ("random: time saved against all by hand (± 0.010, 3 seeds)", 0.7, None),
        ("random: time saved against one round only", 0.1, None),
        ("random, 10 labels: mAP", 0.4, None),
        ("labels to mAP 0.500, uncertainty / random (± 0.020, 3 seeds)", 0.9, False),
        ("labels to mAP 0.500, uncertainty / random (± 0.050, 3 seeds)", 0.7, True),
        ("labels to mAP 0.550, mean curves of 3 seeds, uncertainty / random", 60.0, None),
    ]
    assert made[-1].ratio == 0.75


def test_wrong_promotions_are_held_against_five_in_a_hundred_and_each_has_to_be_undone() -> None:
    counted = {"rounds": 40, "promoted": 9, "wrong": 2, "wrong_undone_soon": 2, "share_wrong": 0.05}
    counted |= {"slower": 3, "slower_undone_soon": 2, "share_slower": 0.075}
    made = list(figures(summary(promotions=counted), "make simulate"))
    assert [(f.value, f.unit, f.met) for f in made] == [
        (0.05, "", True),
        (2, "of 2", True),
        (0.075, "", False),
        (2, "of 3", False),
    ]
    assert made[0].name == "promotions of 40 rounds that the test images call wrong, by mAP"
    assert made[1].name == "of these undone within 20 images: wrong, by mAP"
    none = counted | {"wrong": 0, "share_wrong": 0.0, "slower": 0, "share_slower": 0.0}
    assert [f.met for f in figures(summary(promotions=none), "make simulate")] == [True, True]


def test_what_was_verified_is_told_with_what_it_missed_and_what_it_saved() -> None:
    shown = {
        "share_verified": spread(0.25),
        "verified": {"images": 10, "right": 90, "wrong": 3, "missed": 10},
        "in_editor": {"quick": spread(0.6), "careful": spread(0.5)},
        "mAP": spread(0.58, 0.01, 3),
    }
    totals = {"saved_by_hand": spread(0.7), "saved_one_round": spread(0.1)}
    document = summary(orders={"random": totals}, show={"random": shown})
    assert [(f.name, f.value, f.unit) for f in figures(document, "make simulate")][2:] == [
        ("random: images submitted from the page Verify", 0.25, ""),
        ("random: their boxes that are wrong", 3, "of 93"),
        ("random: objects missed in them", 10, "of 100"),
        ("random: time saved had every image been opened, quick costs", 0.6, ""),
        ("random: time saved had every image been opened, careful costs", 0.5, ""),
        ("random: mAP with 40 labels, the newest version (± 0.010, 3 seeds)", 0.58, ""),
    ]
    nothing = shown | {"share_verified": spread(0.0), "mAP": None}
    document = summary(orders={"random": totals}, show={"random": nothing})
    assert len(list(figures(document, "make simulate"))) == 2


def test_the_first_images_are_held_against_those_of_a_person_who_draws() -> None:
    ours = {"runs": [{"seconds_first_images_quick": 60.0, "seconds_first_images_careful": 90.0}]}
    drawn = {"runs": [{"seconds_first_images_quick": 120.0, "seconds_first_images_careful": 120.0}]}
    quick, careful = first_images.figures(ours, drawn, "make simulate")
    assert (quick.ratio, quick.met, careful.ratio, careful.met) == (0.5, True, 0.75, False)
    assert quick.command == "make simulate, against the same with CLICKS=0 AT_ONCE=0"
    assert careful.name == "a person's time on the first 10 images, careful costs"


@pytest.mark.parametrize(("ratio", "reached"), [(spread(0.5, 0.01, 2), 2), (None, 0)])
def test_fewer_labels_that_not_every_seed_shows_are_a_missed_target(
    ratio: dict[str, Any] | None, reached: int
) -> None:
    """The means of both orders, over the seeds that each has, say 50 against 100."""
    row = {"share": 1.0, "target": 0.5, "uncertainty": spread(50.0), "random": spread(100.0), "ratio": ratio}
    [made] = figures(summary(labels_needed=[row]), "make simulate")
    assert made.name == "labels to mAP 0.500, uncertainty / random: reached by labelling in"
    assert (made.value, made.unit, made.met) == (reached, "of 3 seeds", False)


class Stack:
    """Whose simulation fails after a while."""

    port = 1

    def __init__(self, home: Path) -> None:
        self.home = home
        self.calls: list[str] = []

    def run(self, target: str, **options: object) -> None:
        self.calls.append(target)

    def start(self, target: str, **settings: object) -> "subprocess.Popen[str]":
        program = "cd volumes/rounds; echo {} > simulate-1.json; echo {} > simulate-1.jsonl; exit 1"
        (self.home / "volumes" / "rounds").mkdir(parents=True)
        return subprocess.Popen(["sh", "-c", program], cwd=self.home, stdout=subprocess.PIPE, text=True)


def test_a_simulation_that_fails_leaves_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Stack(tmp_path / "stack")
    monkeypatch.setattr(simulation, "throw_away_stack", lambda home: stack)
    (tmp_path / "coco" / "images").mkdir(parents=True)
    options = Options(coco=tmp_path / "coco", out=tmp_path / "out")
    with pytest.raises(RuntimeError, match="make simulate ended with 1"):
        list(simulation.run(options))
    assert sorted(path.name for path in options.out.iterdir()) == ["simulate-1.json", "simulate-1.jsonl"]
    assert stack.calls == ["up", "down"]
