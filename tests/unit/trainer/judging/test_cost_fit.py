"""The costs of actions, fitted to times that are made from known ones."""

from dataclasses import fields

import numpy as np
import pytest

from labelloop.ranges import COSTS
from labelloop.settings import Settings
from trainer.judging.cost_fit import FEWEST, Timed, fit
from trainer.judging.effort import ACTIONS, CAREFUL, QUICK, SOURCES, TABLES, Costs, Work

TRUE = Costs(draw=5.0, adjust=6.0, relabel=2.5, delete=3.0, accept=1.2, click=1.0)
IMAGE_S = 8.0


def images(
    count: int, noise: float = 0.0, often: float = 1.5, costs: Costs = TRUE, seed: int = 7
) -> list[Timed]:
    """Work in `count` images, and its times. noise: as a share of each time."""
    generator = np.random.default_rng(seed)
    made = []
    for *row, clicked in generator.poisson([4.0, often, often, often, often, often], (count, 6)).tolist():
        work = Work(*row, clicked=clicked)
        time = IMAGE_S + work.seconds(costs)
        made.append((work, float(time * np.exp(noise * generator.standard_normal()))))
    return made


def test_exact_times_give_back_the_costs() -> None:
    found = fit(images(60), QUICK)
    assert found is not None
    for action in ACTIONS:
        assert getattr(found.costs, action) == pytest.approx(getattr(TRUE, action), abs=0.1)
    assert found.image == pytest.approx(IMAGE_S, abs=0.3)
    assert found.images == 60
    assert found.off == pytest.approx(0, abs=0.2)


def test_pauses_and_noise_move_it_little_and_its_error_says_how_much() -> None:
    """A fifth of noise; every twelfth image was open for four minutes more."""
    made = images(400, noise=0.2)
    made = [(work, lead + 240 * (number % 12 == 0)) for number, (work, lead) in enumerate(made)]
    found = fit(made, QUICK)
    assert found is not None
    for action in ACTIONS:
        assert abs(getattr(found.costs, action) - getattr(TRUE, action)) < 3 * found.errors[action]
        assert 0.05 < found.errors[action] < 0.8
    assert abs(found.image - IMAGE_S) < 3 * found.image_error
    assert 2 < found.off < 10
    half = fit(made[:100], QUICK)
    assert half is not None and half.errors["draw"] > 1.5 * found.errors["draw"]


@pytest.mark.parametrize("table", [QUICK, CAREFUL])
def test_an_action_that_nobody_took_keeps_the_tables_cost_with_a_wide_error(table: Costs) -> None:
    made = [(Work(accepted=work.accepted, drawn=work.drawn), 30.0) for work, _ in images(100)]
    found = fit(made, table)
    assert found is not None
    assert found.costs.relabel == pytest.approx(table.relabel)
    assert found.errors["relabel"] == pytest.approx(table.relabel)
    assert found.costs.click == table.click


def test_its_errors_are_those_that_it_makes() -> None:
    """Of 30 projects with 60 images each, whose costs are far from the table's."""
    true, within, of = Costs(draw=8, adjust=6, relabel=2.5, delete=2.5, accept=2), 0, 0
    for seed in range(30):
        found = fit(images(60, 0.2, 1.0, true, seed), QUICK)
        assert found is not None
        for action, error in found.errors.items():
            within += abs(getattr(found.costs, action) - getattr(true, action)) < 2 * error
            of += 1
    assert 0.85 <= within / of <= 1


def test_no_cost_is_below_nothing() -> None:
    """The more boxes are accepted, the quicker the image: a slope below 0 becomes none."""
    made = [(Work(accepted=number % 20), 60.0 - number % 20) for number in range(200)]
    found = fit(made, QUICK)
    assert found is not None and found.costs.accept == 0


def test_with_few_images_there_is_none() -> None:
    assert fit(images(FEWEST - 1), QUICK) is None
    assert fit(images(FEWEST), QUICK) is not None
    assert fit([], QUICK) is None


def test_what_is_saved_has_an_error() -> None:
    found = fit(images(200, noise=0.2), QUICK)
    assert found is not None
    assert found.saved(Work()) == (0, 0)
    seconds, error = found.saved(Work(accepted=100))
    assert seconds == pytest.approx(100 * (found.costs.draw - found.costs.accept))
    assert 0 < error < 100 * (found.errors["draw"] + found.errors["accept"])
    assert found.saved(Work(drawn=100)) == pytest.approx((0, 0), abs=1e-6)


def test_the_tables_are_those_that_were_published() -> None:
    assert dict(TABLES) == {
        "quick": Costs(draw=7, adjust=3.5, delete=1, accept=0.5, relabel=3.5, click=1.9),
        "careful": Costs(draw=7, adjust=4.5, delete=2, accept=1.7, relabel=3, click=1.9),
    }
    assert tuple(TABLES) == COSTS and Settings.model_fields["costs"].default in TABLES
    assert set(SOURCES) == set(ACTIONS) == {field.name for field in fields(Costs)}
