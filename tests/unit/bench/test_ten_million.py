"""The two models behind docs/explanation/ten-million-images.md, and that the page has their tables."""

from pathlib import Path

import pytest
from bench import ten_million
from bench.ten_million import at_most, images_a_second, share_met

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "ten-million-images.md"


@pytest.mark.parametrize("gpus", [1, 2, 5, 100])
@pytest.mark.parametrize("in_flight", [1, 2, 16, 400])
@pytest.mark.parametrize("stored", [50.0, 1000.0, 30000.0])
def test_what_was_played_comes_near_the_bound_and_not_above_it(
    gpus: int, in_flight: int, stored: float
) -> None:
    played, bound = images_a_second(gpus, 300.0, stored, in_flight), at_most(gpus, 300.0, stored, in_flight)
    assert 0.85 * bound < played <= bound * 1.05


def test_one_request_at_a_time_does_one_thing_after_the_other() -> None:
    assert images_a_second(100, 300.0, 600.0, 1) == pytest.approx(200.0, rel=0.05)


def test_models_that_agree_need_no_more_than_the_first_tasks_and_strangers_need_all() -> None:
    assert share_met(0.001, 0.0005, 1.0) == 1.0
    assert share_met(0.1, 0.01, 0.0) == pytest.approx(0.1, abs=0.02)
    assert share_met(1.0, 0.0005, 0.3) == 1.0


@pytest.mark.parametrize("table", [ten_million.gpu_table, ten_million.order_table])
def test_the_page_has_the_table(table: object) -> None:
    assert callable(table)
    assert "\n".join(table()) in PAGE.read_text()
