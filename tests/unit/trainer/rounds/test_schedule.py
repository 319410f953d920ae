import pytest

from labelloop.settings import Settings
from trainer.rounds.schedule import iterations_for, next_round_at


@pytest.mark.parametrize(
    ("every", "knows_from_the_start", "rounds"),
    [
        (50, False, [10, 25, 50, 100, 150, 200]),
        (50, True, [25, 50, 100, 150]),
        (1000, False, [10, 25, 50, 100, 200, 400]),
        (6, True, [6, 12, 18]),
    ],
)
def test_rounds_start_when_the_labels_have_doubled_and_could_be_compared(
    every: int, knows_from_the_start: bool, rounds: list[int]
) -> None:
    settings = Settings(retrain_every=every, holdout_min=5, holdout_percent=20)
    found: list[int] = []
    for _ in rounds:
        knows = knows_from_the_start or bool(found)
        found.append(next_round_at(found[-1] if found else 0, knows, settings))
    assert found == rounds


@pytest.mark.parametrize(
    ("images", "iterations"), [(1, 100), (10, 100), (40, 150), (160, 300), (10**6, 1500)]
)
def test_iterations_grow_with_the_root_of_the_images_between_bounds(images: int, iterations: int) -> None:
    assert iterations_for(images, 150) == iterations


def test_the_operators_number_wins() -> None:
    assert iterations_for(40, 150, override=7) == 7
