from typing import Any

import pytest

from labelloop.settings import Settings
from trainer.judging.corrections import Corrections
from trainer.judging.effort import QUICK, Work
from trainer.judging.evaluate import Evaluation
from trainer.judging.gate import Verdict, decide, probability_better, probability_quicker
from trainer.judging.matches import ClassMatches

ALL_THRESHOLDS = (1 << 10) - 1
HOLDOUT = 41


def settings(**values: Any) -> Settings:
    return Settings.model_validate(
        {"gate_confidence": 0.8, "holdout_min": 5, "holdout_percent": 20, **values}
    )


def evaluation(found: int, images: int = HOLDOUT, first: int = 0, **fields: Any) -> Evaluation:
    """One box an image; the model finds those of images first, first + 1, … perfectly, and nothing else."""
    hit = [(first + n) % images for n in range(found)]
    matches = ClassMatches.model_validate(
        {"truths": [1] * images, "image": hit, "score": [0.9] * found, "hits": [ALL_THRESHOLDS] * found}
    )
    values: dict[str, Any] = {
        "version": "",
        "fingerprint": "f",
        "images": images,
        "boxes": images,
        "labelled": images * 5,
        "knows_labels": True,
        "mAP": found / images if images else None,
        "AP50": None,
        "per_class": {},
        "interval": None,
        "score_thresholds": {},
        "missing": [],
        "matches": {"ball": matches},
        "corrections": Corrections.of(
            Work(accepted=1) if number in hit else Work(drawn=1) for number in range(images)
        ),
    }
    return Evaluation.model_validate(values | fields)


def test_without_a_champion_the_candidate_is_promoted() -> None:
    verdict = decide(evaluation(3), None, False, settings())
    assert verdict.promote and verdict.p is None and "no model was in service" in verdict.reason


def seconds(candidate: Evaluation, champion: Evaluation) -> float:
    """How sure it is that the candidate's boxes are the quicker ones to correct."""
    both = (model.corrections.seconds(QUICK) for model in (candidate, champion) if model.corrections)
    return probability_quicker(*both)


def with_work(model: Evaluation, *work: Work, since: bool = False) -> Evaluation:
    return model.model_copy(update={"since" if since else "corrections": Corrections.of(work)})


def test_a_clear_improvement_is_promoted_and_told_in_words() -> None:
    verdict = decide(evaluation(38), evaluation(20), True, settings())
    assert verdict.promote and verdict.delta == pytest.approx(18 / 41) and verdict.p == 1.0
    assert list(verdict.seconds or ()) == pytest.approx([(21 * 7 + 20 * 0.5) / 41, (3 * 7 + 38 * 0.5) / 41])
    assert verdict.reason == (
        "3.8 → 1.0 s to correct an image, on 41 hold-out images; mAP 0.488 → 0.927 "
        "(over 99 % sure that it is better)"
    )


def test_a_worse_candidate_is_kept_out_whatever_the_confidence_asked_for() -> None:
    verdict = decide(evaluation(20), evaluation(38), True, settings(gate_confidence=0.0))
    assert not verdict.promote and "no improvement" in verdict.reason and verdict.p == 0.0


def test_the_same_score_is_no_improvement() -> None:
    verdict = decide(evaluation(20), evaluation(20), True, settings(gate_confidence=0.0))
    assert not verdict.promote and verdict.p == 0.5 and verdict.delta == 0.0


def test_a_persons_seconds_decide_and_not_map() -> None:
    """The candidate ranks its boxes better, but proposes so many wrong ones that drawing were quicker."""
    better = with_work(evaluation(38), *[Work(accepted=1, deleted=9)] * HOLDOUT)
    verdict = decide(better, evaluation(20), True, settings())
    assert not verdict.promote and verdict.delta and verdict.delta > 0 and "no improvement" in verdict.reason
    worse = with_work(evaluation(20), *[Work(accepted=1)] * HOLDOUT)
    assert decide(worse, evaluation(38), True, settings()).promote


def test_the_chosen_table_of_costs_is_what_counts() -> None:
    """Two looks and a deletion: 2 s by the quick table beside 3.5 s, 5.4 s by the careful one beside 4.5."""
    many, loose = [Work(accepted=2, deleted=1)] * HOLDOUT, [Work(adjusted=1)] * HOLDOUT
    candidate, champion = with_work(evaluation(20), *many), with_work(evaluation(20), *loose)
    assert decide(candidate, champion, True, settings()).promote
    assert not decide(candidate, champion, True, settings(costs="careful")).promote


def test_between_two_that_take_the_same_time_map_decides() -> None:
    work = [Work(drawn=1)] * HOLDOUT
    better, worse = with_work(evaluation(38), *work), with_work(evaluation(20), *work)
    assert decide(better, worse, True, settings()).promote
    assert not decide(worse, better, True, settings()).promote


@pytest.mark.parametrize("images", [1, 2, 4, 5])
def test_on_a_few_images_a_tie_changes_nothing_whatever_map_says(images: int) -> None:
    """Of raccoons, two images on which both take a look were enough: mAP 0.550 → 0.676, over 99 % sure."""
    work = [Work(accepted=1)] * images
    tighter = with_work(evaluation(images, images), *work)
    looser = with_work(evaluation(1 if images > 1 else 0, images), *work)
    verdict = decide(tighter, looser, True, settings(holdout_min=1))
    assert verdict.promote is (images == 5)
    if images < 5:
        assert verdict.p == 0.5 and verdict.delta and verdict.delta > 0
        assert "with either" in verdict.reason and "no improvement (50 % sure" in verdict.reason
    twice = decide(learnt(tighter, 16, *work), learnt(looser, 8, *work), True, settings(holdout_min=1))
    assert twice.promote and f"{twice.p:.1f}" == ("1.0" if images == 5 else "0.9")


def test_an_improvement_that_may_be_chance_is_kept_out() -> None:
    candidate, champion = evaluation(21, first=20), evaluation(20)
    verdict = decide(candidate, champion, True, settings())
    assert not verdict.promote and "may be chance" in verdict.reason and verdict.p is not None
    assert 0.4 < verdict.p < 0.8
    assert decide(candidate, champion, True, settings(gate_confidence=verdict.p)).promote


def test_the_same_evaluations_get_the_same_verdict() -> None:
    candidate, champion = evaluation(25, first=10), evaluation(20)
    assert seconds(candidate, champion) == seconds(candidate, champion)
    assert probability_better(candidate, champion) == probability_better(candidate, champion)


def test_images_are_paired_so_a_small_but_steady_gain_counts() -> None:
    """Unpaired, 23 against 20 of 41 would be anybody's guess; but it is the same 20 and three more."""
    assert seconds(evaluation(23), evaluation(20)) > 0.9
    assert probability_better(evaluation(22), evaluation(20)) > 0.9


def test_one_image_makes_nobody_sure_and_a_few_alike_do() -> None:
    def sure(images: int) -> float:
        return seconds(evaluation(images, images), evaluation(0, images))

    assert sure(1) < 0.8 < sure(2) < sure(4)
    assert 1 - sure(4) == pytest.approx(seconds(evaluation(0, 4), evaluation(4, 4)), abs=0.03)


def test_better_on_four_images_is_enough() -> None:
    """Earlier releases threw it away, since they asked for five."""
    candidate, champion = (
        evaluation(found, images=4, mAP=score) for found, score in ((4, 0.333), (1, 0.267))
    )
    verdict = decide(candidate, champion, True, settings(holdout_min=1))
    assert verdict.promote and verdict.reason.startswith("5.4 → 0.5 s to correct an image, on 4 hold-out")


def test_images_labelled_since_the_snapshot_count_beside_the_hold_out() -> None:
    champion, candidate = evaluation(0, images=1), evaluation(1, images=1)
    assert not decide(candidate, champion, True, settings(holdout_min=1)).promote, "one image is chance"
    quicker = with_work(candidate, *[Work(accepted=1)] * 4, since=True)
    slower = with_work(champion, *[Work(drawn=1)] * 4, since=True)
    verdict = decide(quicker, slower, True, settings(holdout_min=5))
    assert verdict.promote and "on 1 hold-out image and 4 labelled since; mAP" in verdict.reason
    none = evaluation(0, images=0, mAP=None, boxes=0)
    verdict = decide(
        with_work(none, *[Work(accepted=1)] * 4, since=True),
        with_work(none, *[Work(drawn=1)] * 4, since=True),
        True,
        settings(holdout_min=1),
    )
    assert verdict.promote and "0 hold-out images and 4 labelled since; no mAP yet" in verdict.reason


def test_over_a_champion_that_knows_no_label_what_was_learnt_first_needs_no_proof() -> None:
    """But it goes when it is proven worse than nothing."""
    champion, candidate = evaluation(0, images=2), evaluation(1, images=2)
    slower = with_work(candidate, Work(accepted=1), Work(drawn=1, deleted=3))
    for knows, promoted in ((True, False), (False, True)):
        assert decide(slower, champion, knows, settings(holdout_min=1)).promote is promoted
    worse = with_work(candidate, *[Work(drawn=1, deleted=3)] * 2)
    assert not decide(worse, champion, False, settings(holdout_min=1)).promote


def test_over_a_champion_that_knows_no_label_a_small_hold_out_suffices() -> None:
    candidate, champion = evaluation(2, images=4), evaluation(0, images=4)
    verdict = decide(candidate, champion, False, settings())
    assert verdict.promote and "knows none of the labels" in verdict.reason


def test_with_a_small_hold_out_a_champion_that_knows_labels_stays_and_the_missing_labels_are_said() -> None:
    candidate, champion = evaluation(4, images=4, labelled=20), evaluation(0, images=4, labelled=20)
    verdict = decide(candidate, champion, True, settings())
    assert not verdict.promote and "label about 5 more" in verdict.reason
    assert verdict.reason.startswith("mAP 0.000 → 1.000: a comparison needs 5 hold-out images")


def test_without_any_hold_out_image_the_missing_labels_are_said() -> None:
    verdict = decide(
        evaluation(0, images=0, labelled=3), evaluation(0, images=0, labelled=3), True, settings()
    )
    assert not verdict.promote and "label about 22 more" in verdict.reason and "no mAP yet" in verdict.reason


def test_a_hold_out_without_boxes_compares_nothing() -> None:
    empty = evaluation(0, mAP=None, boxes=0)
    assert not decide(empty, empty, True, settings()).promote
    assert decide(empty, empty, False, settings()).promote
    assert "no hold-out image has a box" in decide(empty, empty, True, settings()).reason


def test_a_candidate_that_finds_nothing_does_not_replace_a_champion_that_knows_no_label_either() -> None:
    assert not decide(evaluation(0), evaluation(0), False, settings()).promote
    few = evaluation(0, images=3)
    assert decide(few, few, False, settings(holdout_min=1)).promote, "three images cannot tell"
    assert not decide(few, few, True, settings(holdout_min=1)).promote


def test_evaluations_of_different_images_are_not_compared() -> None:
    with pytest.raises(ValueError, match="scored on"):
        decide(evaluation(3), evaluation(3, fingerprint="other"), True, settings())
    more = with_work(evaluation(3), Work(), since=True)
    with pytest.raises(ValueError, match="scored on 42 images, the champion on 41"):
        decide(more, evaluation(3), True, settings())
    with pytest.raises(ValueError, match="nobody has counted"):
        decide(evaluation(3, corrections=None), evaluation(3), True, settings())


@pytest.mark.parametrize("images", [0, 3])
def test_a_tie_without_a_box_on_the_hold_out_is_judged_by_what_was_labelled_since(images: int) -> None:
    """Of three labelled images none is on the hold-out, and a first candidate may propose nothing yet."""
    none = ClassMatches.model_validate({"truths": [0] * images, "image": [], "score": [], "hits": []})
    empty = evaluation(0, images=images, boxes=0, mAP=None, matches={"ball": none})
    both = with_work(empty, *[Work(drawn=2)] * 3, since=True)
    verdict = decide(both, both, True, settings(holdout_min=1))
    assert not verdict.promote and verdict.p == 0.5
    assert "no improvement (50 % sure that it is better)" in verdict.reason


def learnt(model: Evaluation, images: int, *work: Work) -> Evaluation:
    return with_work(model, *work).model_copy(update={"trained_on": images})


@pytest.mark.parametrize(
    ("images", "promote", "p"), [(5, False, 0.73), (6, True, 0.83), (10, True, 0.96), (100, True, 0.96)]
)
def test_more_images_are_a_ground_of_their_own(images: int, promote: bool, p: float) -> None:
    """Of boards with defects, a version of three images was kept over those of 5, 10 and 20: on hold-outs of
    one, two and four images these took less time, but not by enough, or by chance more.
    """
    candidate = learnt(evaluation(1, images=1), images, Work(accepted=1))
    champion = learnt(evaluation(0, images=1), 5, Work(drawn=1))
    verdict = decide(candidate, champion, True, settings(holdout_min=1))
    assert (verdict.promote, round(verdict.p or 0, 2)) == (promote, p)
    assert (f"; it has learnt from {images} images, not 5" in verdict.reason) is (images > 5)


def test_one_worse_image_does_not_hold_back_what_has_learnt_from_twice_as_many_but_eight_do() -> None:
    def verdict(count: int) -> Verdict:
        candidate = learnt(evaluation(0, images=count), 20, *[Work(adjusted=1)] * count)
        champion = learnt(evaluation(0, images=count), 10, *[Work(accepted=1)] * count)
        return decide(candidate, champion, True, settings(holdout_min=1, gate_confidence=0.7))

    assert verdict(1).promote and not verdict(8).promote
    assert "no improvement (0 % sure" in verdict(8).reason


def test_more_images_decide_nothing_between_two_that_take_the_same_time_on_many_images() -> None:
    same = [Work(accepted=1)] * HOLDOUT
    verdict = decide(learnt(evaluation(20), 80, *same), learnt(evaluation(20), 40, *same), True, settings())
    assert not verdict.promote and "learnt from" not in verdict.reason


def test_fewer_images_and_starting_models_are_no_ground() -> None:
    few = with_work(evaluation(1, images=1), Work(accepted=1))
    none = with_work(evaluation(0, images=1), Work(drawn=1))
    for ours, theirs in ((10, 20), (10, 0)):
        verdict = decide(
            few.model_copy(update={"trained_on": ours}),
            none.model_copy(update={"trained_on": theirs}),
            True,
            settings(holdout_min=1),
        )
        assert not verdict.promote and round(verdict.p or 0, 2) == 0.73
