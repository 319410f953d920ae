import pytest

from labelloop.settings import Settings


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
        found.append(settings.next_round_at(found[-1] if found else 0, knows))
    assert found == rounds
