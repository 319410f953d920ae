import pytest

from labelloop.settings import Settings


@pytest.mark.parametrize(
    ("every", "knows_from_the_start", "rounds"),
    [
        (50, False, [3, 6, 12, 24, 48, 96, 146]),
        (50, True, [5, 10, 20, 40, 80, 130]),
        (1000, False, [3, 6, 12, 24, 48, 96, 192]),
        (4, True, [4, 8, 12]),
    ],
)
def test_rounds_start_when_the_labels_have_doubled_and_could_be_compared(
    every: int, knows_from_the_start: bool, rounds: list[int]
) -> None:
    settings = Settings(retrain_every=every, holdout_percent=20)
    found: list[int] = []
    for _ in rounds:
        knows = knows_from_the_start or bool(found)
        found.append(settings.next_round_at(found[-1] if found else 0, knows))
    assert found == rounds
