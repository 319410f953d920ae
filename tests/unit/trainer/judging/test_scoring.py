"""Every model is scored on today's hold-out once, and no number is of another one."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from support.killed import Killed
from support.made_scores import History, Judge, evaluation, snapshot_of
from support.shapes import LABEL_CONFIG
from support.versions import add_version

from labelloop.registry import ProjectModels, Registry, RegistryError
from trainer.dataset.snapshot import Snapshot
from trainer.env import TrainerSettings
from trainer.judging import scores, standing
from trainer.judging.evaluate import Evaluation
from trainer.judging.scoring import digest_of, score_all, take_over
from trainer.judging.standing import NOT_YET, Pair, Standing
from trainer.rounds.table import Rounds

FIRST = snapshot_of(range(1, 21), range(101, 106))
SECOND = snapshot_of(range(1, 41), range(101, 111))
FOUND = {
    "v0000": {"ball": 1, "crate": 1},
    "v0001": {"ball": 4, "crate": 2},
    "v0002": {"ball": 6, "crate": 6},
    "candidate of 00003": {"ball": 2, "crate": 3},
}


@pytest.fixture
def untrained(tmp_path: Path) -> History:
    """No round yet; v0000 is in service."""
    models = Registry(tmp_path / "models").project(1)
    models.promote(add_version(models, tmp_path / "made"))
    return History(models, Rounds(tmp_path / "rounds"))


@pytest.fixture
def history(untrained: History) -> History:
    """A round on each snapshot that promoted its candidate; v0002 is in service."""
    made = untrained
    made.round(FIRST, {"ball": 3, "crate": 2}, {"ball": 1})
    made.round(SECOND, FOUND["v0002"], FOUND["v0001"])
    return made


def now(history: History) -> Standing:
    return standing.standing(history.models, history.rounds, 1)


def score(history: History, judge: Judge) -> int:
    return score_all(history.models, history.rounds, 1, judge)


def mAP(found: Standing) -> dict[str, float | None]:
    return {stand.key: stand.mAP for stand in found.stands}


def test_all_are_scored_on_the_newest_hold_out_however_they_were_promoted(history: History) -> None:
    before = now(history)
    assert mAP(before) == {"v0002": None, "v0001": None, "v0000": None}
    assert {stand.why for stand in before.stands} == {NOT_YET}
    assert before.words == (
        "scored on today's hold-out (that of round 2): 0 of 3 versions; 3 follow when the trainer is idle"
    )
    judge = Judge(FOUND)
    assert score(history, judge) == 1 and judge.asked == ["v0000"], "round 2 has scored the other two"
    after = now(history)
    assert mAP(after) == {
        version: evaluation("", SECOND, FOUND[version]).mAP for version in ("v0002", "v0001", "v0000")
    }
    pair = Pair.of(history.models.card("v0001"))
    assert pair and pair.before == pytest.approx(0.104, abs=0.01) and pair.after > 0.45, "on five images"
    assert str(Pair.of(history.models.card("v0002"))) == "0.307 → 0.604 on 10 images"
    assert after.words == "scored on today's hold-out (10 images, that of round 2): 3 of 3 versions"
    [row] = scores.load(history.models, "v0000", history.models.card("v0000").weights_sha256).scores
    assert row.interval is not None and row.images == 10 and row.digest == digest_of(SECOND)


def test_no_pair_of_model_and_hold_out_is_scored_twice(history: History) -> None:
    judge = Judge(FOUND)
    score(history, judge)
    assert score(history, judge) == 0
    history.round(SECOND, {"ball": 2, "crate": 3}, FOUND["v0002"], promote=False)
    found = now(history)
    assert found.round is not None and found.round.id == 3
    assert "0 of 4 versions, 1 of which the gate refused; 4 follow when the trainer is idle" in found.words
    assert score(history, judge) == 0 and judge.asked == ["v0000"], (
        "the third round's images are the second's"
    )
    assert mAP(now(history)) == {
        "v0002": evaluation("", SECOND, FOUND["v0002"]).mAP,
        "round-00003": evaluation("", SECOND, {"ball": 2, "crate": 3}).mAP,
        "v0001": evaluation("", SECOND, FOUND["v0001"]).mAP,
        "v0000": evaluation("", SECOND, FOUND["v0000"]).mAP,
    }


def test_the_champion_comes_first_then_the_newest_and_refused_candidates_are_among_them(
    history: History,
) -> None:
    history.round(SECOND, {"ball": 2, "crate": 3}, FOUND["v0002"], promote=False)
    third = snapshot_of(range(1, 61), range(101, 116))
    history.round(third, {"ball": 9, "crate": 9}, FOUND["v0002"], promote=False)
    history.models.promote("v0001")
    judge = Judge(FOUND)
    score(history, judge)
    assert judge.asked == ["v0001", "candidate of 00003", "v0000"], "round 4 scored v0002 and its candidate"
    assert [stand.name for stand in now(history).stands][:2] == ["v0001", "the candidate of round 4"]


def test_a_kill_costs_the_model_that_it_was_at_alone(history: History) -> None:
    history.round(snapshot_of(range(1, 61), range(101, 116)), {"ball": 9}, FOUND["v0002"], promote=False)
    judge = Judge(FOUND)

    def killed(folder: Path, snapshot: Snapshot) -> Evaluation:
        if folder.name == "v0000":
            raise Killed
        return judge(folder, snapshot)

    with pytest.raises(Killed):
        score_all(history.models, history.rounds, 1, killed)
    assert judge.asked == ["v0001"] and now(history).words.endswith(
        "3 of 4 versions, 1 of which the gate refused; 1 follows when the trainer is idle"
    )
    assert score(history, judge) == 1 and judge.asked == ["v0001", "v0000"]


def test_a_snapshot_that_an_open_round_took_is_not_todays_yet(history: History) -> None:
    opened, _ = history.rounds.request(1, "a test")
    folder = history.rounds.folder(opened.id)
    folder.mkdir()
    snapshot_of(range(1, 61), range(101, 116)).write(folder)
    found = now(history)
    assert found.round is not None and found.round.id == 2


def test_a_model_of_other_labels_is_scored_on_those_that_it_knows(history: History) -> None:
    third = snapshot_of(range(1, 61), range(101, 111))
    history.round(third, {"ball": 5}, {"ball": 2, "crate": 2}, classes=("ball", "star"))
    history.round(third, {"ball": 6, "crate": 6}, {"ball": 5}, classes=("ball", "crate"))
    score(history, Judge(FOUND))
    stand = now(history).of("v0003")
    assert stand is not None and stand.score is not None
    assert stand.score.labels == ["ball"] and stand.score.unknown == ["crate"]
    # The round itself counts the crates, which v0003 was never taught, as missed: half of this.
    assert (
        stand.mAP == evaluation("", third, {"ball": 5}).per_class["ball"] == pytest.approx(0.505, abs=0.001)
    )
    assert stand.score.interval is not None and stand.score.interval[0] < 0.5 < stand.score.interval[1]
    assert stand.why == "on the labels it knows, ball of ball, crate"


def test_a_model_that_knows_none_of_the_labels_says_so_and_is_not_run(history: History) -> None:
    third = snapshot_of(range(1, 61), range(101, 121))
    history.round(third, {}, {"ball": 2, "crate": 2}, classes=("star", "moon"), promote=False)
    history.round(third, {"ball": 2}, {"ball": 2}, promote=False)
    judge = Judge(FOUND)
    score(history, judge)
    stand = next(stand for stand in now(history).stands if stand.key == "round-00003")
    assert stand.why == "it knows none of the labels (ball, crate)" and stand.mAP is None
    assert "candidate of 00003" not in judge.asked
    assert "4 of 5 versions, 2 of which the gate refused; 1 could not be" in now(history).words


def test_a_model_that_was_trained_on_some_of_the_images_says_so(history: History) -> None:
    """As after a split.json was lost: image 40, which rounds 2 and 3 trained on, is held out now."""
    third = snapshot_of(range(1, 61), range(101, 111))
    history.round(third, {"ball": 5}, FOUND["v0002"], start_weights="v0002")
    fourth = snapshot_of([*range(1, 40), *range(41, 70)], [40, *range(101, 111)])
    history.round(fourth, {"ball": 5}, FOUND["v0002"], start_weights="v0003")
    score(history, Judge(FOUND))
    found = now(history)
    seen = {stand.key: stand.score.seen for stand in found.stands if stand.score}
    assert seen == {"v0004": 1, "v0003": 1, "v0002": 1, "v0001": 0, "v0000": 0}, "v0004 goes on from v0003"
    stand = found.of("v0002")
    assert stand is not None and stand.why == "trained on 1 of these 11 images, so it is too high"


def test_what_can_no_longer_be_checked_is_not_claimed(history: History) -> None:
    (history.rounds.folder(1) / "snapshot.json").unlink()
    score(history, Judge(FOUND))
    assert [stand.name for stand in now(history).unchecked] == ["v0001"]
    assert [stand.name for stand in now(history).trained_on_some] == []


def test_another_model_with_the_name_of_a_former_one_has_no_score(history: History) -> None:
    """As after a backup was restored, and another v0002 was trained."""
    score(history, Judge(FOUND))
    card = history.models.card("v0002").model_copy(update={"weights_sha256": "other"})
    history.models.replace_card("v0002", card)
    stand = now(history).of("v0002")
    assert stand is not None and stand.why == NOT_YET


def test_a_model_that_cannot_be_loaded_is_told_and_tried_again_later(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(folder: Path, snapshot: Snapshot) -> Evaluation:
        raise RegistryError(f"{folder.name}/weights.pth is damaged")

    assert score_all(history.models, history.rounds, 1, damaged) == 1
    stand = now(history).of("v0000")
    assert stand is not None
    assert stand.why == "could not be scored, and is tried again: v0000/weights.pth is damaged"
    judge = Judge(FOUND)
    assert score(history, judge) == 0
    monkeypatch.setattr(standing, "AGAIN_AFTER", timedelta(0))
    assert score(history, judge) == 1 and judge.asked == ["v0000"]


def test_a_damaged_snapshot_is_told_and_stops_nothing(history: History) -> None:
    (history.rounds.folder(2) / "snapshot.json").write_text("[]")
    judge = Judge(FOUND)
    assert score(history, judge) == 0 and judge.asked == []
    [why] = {stand.why for stand in now(history).stands}
    assert why.startswith("could not be scored, and is tried again: the snapshot of round 2 is damaged")


def test_a_score_under_names_that_were_changed_meanwhile_does_not_count(history: History) -> None:
    judge = Judge(FOUND)

    def renamed_meanwhile(folder: Path, snapshot: Snapshot) -> Evaluation:
        SECOND.write(history.rounds.folder(2))  # as `labelloop rename` does
        return judge(folder, snapshot)

    score_all(history.models, history.rounds, 1, renamed_meanwhile)
    stand = now(history).of("v0000")
    assert stand is not None and stand.why == NOT_YET
    assert score(history, judge) == 1


def test_a_hold_out_without_an_image_is_no_hold_out(untrained: History) -> None:
    history = untrained
    assert now(history).words == "there is no hold-out before the first round"
    empty = snapshot_of([1, 2, 3], [])
    opened, _ = history.rounds.request(1, "a test")
    history.rounds.folder(opened.id).mkdir()
    empty.write(history.rounds.folder(opened.id))
    history.rounds.cancel(opened.id)
    judge = Judge(FOUND)
    score(history, judge)
    [stand] = now(history).stands
    assert stand.why == "the hold-out has no image yet" and judge.asked == []


def test_a_round_that_is_over_keeps_both_scores_at_once(history: History) -> None:
    closed = history.rounds.get(2)
    take_over(history.models, history.rounds, closed)
    assert mAP(now(history)) == {
        "v0002": evaluation("", SECOND, FOUND["v0002"]).mAP,
        "v0001": evaluation("", SECOND, FOUND["v0001"]).mAP,
        "v0000": None,
    }


def test_the_process_leaves_its_result_with_the_version(
    models: ProjectModels, loop_settings: TrainerSettings, child_processes: None
) -> None:
    history = History(models, Rounds(loop_settings.rounds_dir))
    others = LABEL_CONFIG.replace('"ball"', '"star"').replace('"crate"', '"moon"')
    history.round(snapshot_of([1, 2], [3, 4], others), {}, {}, classes=("star", "moon"))
    (history.rounds.folder(1) / "evaluation.json").unlink()
    command = [sys.executable, "-m", "trainer.judging.scoring", "1", "v0000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "v0000: it knows none of the labels (star, moon)"
    found = now(history)
    assert [(stand.key, stand.why) for stand in found.stands] == [
        ("v0001", NOT_YET),
        ("v0000", "it knows none of the labels (star, moon)"),
    ]


def test_a_version_that_was_removed_keeps_its_score_and_gets_no_other(history: History) -> None:
    score(history, Judge(FOUND))
    history.models.remove("v0001")
    found = now(history)
    stand = found.of("v0001")
    assert stand is not None and stand.mAP == evaluation("", SECOND, FOUND["v0001"]).mAP
    assert found.words.endswith("2 of 2 versions"), "of those that are there"
    third = snapshot_of(range(1, 61), range(101, 116))
    history.round(third, {"ball": 9}, FOUND["v0002"])
    assert now(history).of("v0001") is None
    judge = Judge(FOUND)
    score(history, judge)
    assert judge.asked == ["v0000"]


def test_a_promotion_without_a_comparison_has_no_score_before_it(history: History) -> None:
    card = history.models.card("v0001")
    assert str(Pair.of(card.model_copy(update={"metrics": {"mAP": 0.5, "delta": None}}))) == "0.500"
    assert Pair.of(card.model_copy(update={"metrics": {}})) is None
