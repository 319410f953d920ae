"""What is foretold of a project's last images from its first ones."""

import numpy as np
import pytest

from trainer.judging.forecast import FEWEST_IMAGES, Trained, reached, taken


def models(*curve: tuple[int, float], holdout_sd: float = 0.0) -> list[Trained]:
    return [Trained(images, value, holdout_sd) for images, value in curve]


def test_a_curve_that_levels_out_is_followed() -> None:
    curve = [(n, 0.7 - 0.5 * (n / 10) ** -0.7) for n in (10, 20, 40, 80)]
    found = reached(models(*curve), 320)
    assert found is not None
    assert found.mAP == pytest.approx(0.7 - 0.5 * 32**-0.7, abs=0.03)
    assert found.low < 0.656 < found.high and 0.04 < found.high - found.low < 0.2


@pytest.mark.parametrize(
    ("before", "images", "then"),
    [
        ([(20, 0.446), (40, 0.547), (80, 0.573)], 205, 0.590),
        ([(20, 0.446), (40, 0.533), (80, 0.558)], 205, 0.595),
        ([(20, 0.496), (40, 0.545), (80, 0.598)], 160, 0.623),
    ],
)
def test_the_curves_that_were_measured_end_where_it_says(
    before: list[tuple[int, float]], images: int, then: float
) -> None:
    """Blood cells in two orders and raccoons, by labelled images: docs/how-to/measure-what-it-saves.md."""
    found = reached(models(*before), images)
    assert found is not None and found.low < then < found.high
    assert found.mAP == pytest.approx(then, abs=0.05)


def test_four_of_five_noisy_curves_end_in_the_range() -> None:
    generator, inside = np.random.default_rng(3), 0
    for _ in range(60):
        end, lost, speed = generator.uniform([0.3, 0.2, 0.4], [0.9, 0.3, 1.2])
        values = [end - lost * (n / 8) ** -speed for n in (8, 16, 32, 64, 256)]
        values = [value + 0.02 * generator.standard_normal() for value in values]
        found = reached(models(*zip((8, 16, 32, 64), values, strict=False)), 256)
        assert found is not None
        inside += found.low <= values[-1] <= found.high
    assert 42 <= inside <= 57


def test_a_small_hold_out_widens_the_range() -> None:
    curve = (10, 0.3), (20, 0.4), (40, 0.45)
    sharp, blurred = reached(models(*curve), 80), reached(models(*curve, holdout_sd=0.1), 80)
    assert sharp is not None and blurred is not None
    assert blurred.high - blurred.low > 2 * 1.28 * 0.1 > sharp.high - sharp.low


def test_two_sizes_are_no_curve() -> None:
    assert reached(models((10, 0.3), (20, 0.4), (20, 0.41), (0, 0.1)), 80) is None
    assert reached([], 80) is None


def test_the_time_for_the_rest() -> None:
    found = taken([10.0, 20.0] * 8, 64)
    assert found is not None
    assert (found.seconds, found.images) == (64 * 15, 16)
    assert found.error == pytest.approx(64 * 5.164 * (1 / 16 + 1 / 64) ** 0.5, rel=1e-3)
    assert taken([10.0] * (FEWEST_IMAGES - 1), 64) is None
