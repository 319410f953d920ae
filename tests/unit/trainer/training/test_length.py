import pytest

from trainer.training.length import iterations_for


@pytest.mark.parametrize(
    ("images", "iterations"), [(1, 100), (10, 100), (40, 150), (160, 300), (10**6, 1500)]
)
def test_iterations_grow_with_the_root_of_the_images_between_bounds(images: int, iterations: int) -> None:
    assert iterations_for(images, 150) == iterations


def test_the_operators_number_wins() -> None:
    assert iterations_for(40, 150, override=7) == 7
