from typing import Any

import pytest

from labelloop.settings import Settings
from trainer.judging.evaluate import Evaluation
from trainer.judging.gate import decide, probability_better
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
    }
    return Evaluation.model_validate(values | fields)


def test_without_a_champion_the_candidate_is_promoted() -> None:
    verdict = decide(evaluation(3), None, False, settings())
    assert verdict.promote and verdict.p is None and "no model was in service" in verdict.reason


def test_a_clear_improvement_is_promoted_and_told_in_words() -> None:
    verdict = decide(evaluation(38), evaluation(20), True, settings())
    assert verdict.promote and verdict.delta == pytest.approx(18 / 41) and verdict.p == 1.0
    assert verdict.reason == "mAP 0.488 → 0.927 on 41 hold-out images (over 99 % sure that it is better)"


def test_a_worse_candidate_is_kept_out_whatever_the_confidence_asked_for() -> None:
    verdict = decide(evaluation(20), evaluation(38), True, settings(gate_confidence=0.0))
    assert not verdict.promote and "no improvement" in verdict.reason and verdict.p == 0.0


def test_the_same_score_is_no_improvement() -> None:
    verdict = decide(evaluation(20), evaluation(20), True, settings(gate_confidence=0.0))
    assert not verdict.promote and verdict.p == 0.5 and verdict.delta == 0.0


def test_an_improvement_that_may_be_chance_is_kept_out() -> None:
    candidate, champion = evaluation(21, first=20), evaluation(20)
    verdict = decide(candidate, champion, True, settings())
    assert not verdict.promote and "may be chance" in verdict.reason and verdict.p is not None
    assert 0.4 < verdict.p < 0.8
    assert decide(candidate, champion, True, settings(gate_confidence=verdict.p)).promote


def test_the_same_evaluations_get_the_same_verdict() -> None:
    candidate, champion = evaluation(25, first=10), evaluation(20)
    assert probability_better(candidate, champion) == probability_better(candidate, champion)


def test_images_are_paired_so_a_small_but_steady_gain_counts() -> None:
    """Unpaired, 22 against 20 of 41 would be anybody's guess; but it is the same 20 and two more."""
    assert probability_better(evaluation(22), evaluation(20)) > 0.9


def test_over_a_champion_that_knows_no_label_a_small_hold_out_suffices() -> None:
    candidate, champion = evaluation(2, images=4), evaluation(0, images=4)
    verdict = decide(candidate, champion, False, settings())
    assert verdict.promote and "knows none of the labels" in verdict.reason


def test_with_a_small_hold_out_a_champion_that_knows_labels_stays_and_the_missing_labels_are_said() -> None:
    candidate, champion = evaluation(4, images=4, labelled=20), evaluation(0, images=4, labelled=20)
    verdict = decide(candidate, champion, True, settings())
    assert not verdict.promote and "label about 5 more" in verdict.reason
    assert verdict.reason.startswith("mAP 0.000 → 1.000 on 4 hold-out images")


def test_without_any_hold_out_image_the_missing_labels_are_said() -> None:
    verdict = decide(
        evaluation(0, images=0, labelled=3), evaluation(0, images=0, labelled=3), True, settings()
    )
    assert not verdict.promote and "label about 22 more" in verdict.reason and "mAP – → –" in verdict.reason


def test_a_hold_out_without_boxes_compares_nothing() -> None:
    empty = evaluation(0, mAP=None)
    assert not decide(empty, empty, True, settings()).promote
    assert decide(empty, empty, False, settings()).promote
    assert "no hold-out image has a box" in decide(empty, empty, True, settings()).reason


def test_a_candidate_that_finds_nothing_does_not_replace_a_champion_that_knows_no_label_either() -> None:
    assert not decide(evaluation(0), evaluation(0), False, settings()).promote


def test_evaluations_of_different_hold_outs_are_not_compared() -> None:
    with pytest.raises(ValueError, match="scored on"):
        decide(evaluation(3), evaluation(3, fingerprint="other"), True, settings())
