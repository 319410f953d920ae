"""Which image is handed out next: what teaches most, and before a model knows that, by lot."""

import numpy as np

from labelloop.order import lot, prediction_score


def score(*scores: float, weights: float | list[float] = 1.0) -> float:
    return prediction_score(np.array(scores, np.float32), np.array(weights, np.float32))


def test_what_teaches_more_is_asked_for_first() -> None:
    """The least sure box, more such boxes, boxes of rarer labels."""
    assert 0 < score(0.5) < score(0.3) < score(0.9) < score(0.99) < 1
    assert score(*[0.5] * 300) < score(*[0.5] * 3) < score(0.5)
    assert score(0.5, 0.9, weights=[3.0, 0.5]) < score(0.5, 0.9, weights=[0.5, 3.0])


def test_noise_does_not_count() -> None:
    assert score(0.5, *[0.04] * 300, float("nan")) == score(0.5)


def test_an_image_without_candidates_has_a_real_score() -> None:
    assert score() == score(0.01) == 1.0


def test_a_lot_is_that_of_the_data_and_tells_nothing_of_it() -> None:
    data = [{"image": f"/data/upload/{number}.jpg", "seed": seed} for seed in (0, 1) for number in range(50)]
    lots = [lot(row) for row in data]
    assert all(0 <= drawn < 1 for drawn in lots) and len(set(lots)) == len(lots)
    assert np.argsort(lots[:50]).tolist() != np.argsort(lots[50:]).tolist()
    assert lot({"seed": 0, "image": "/data/upload/0.jpg"}) == lots[0]
