"""Images in a temporary database: what a set of them promises, and that memory doesn't grow with them."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.memory import traced_peak
from support.snapshot_images import image

from trainer.dataset.labelled import LabelledImages, SnapshotImage
from trainer.dataset.split import Side


def test_images_come_back_as_they_were_by_id() -> None:
    given = [image(3), image(1, Side.HOLDOUT, boxes=0), replace(image(2), file='ß "\ud800".jpg')]
    images = LabelledImages(given)
    assert list(images) == sorted(given, key=lambda image: image.id)
    assert (len(images), images.boxes) == (3, 6)
    held_out = images.of_side(Side.HOLDOUT)
    assert (list(held_out), list(held_out), len(held_out)) == ([given[1]], [given[1]], 1)
    assert given[1] in held_out and given[0] not in held_out
    assert [found.sha256 for found in images.by_sha256()] == sorted(found.sha256 for found in given)
    assert images.get(3) == given[0] and images.get(4) is None
    assert given[0] in images and image(3, boxes=1) not in images


def test_two_sets_of_the_same_images_are_equal() -> None:
    assert LabelledImages([image(1), image(2)]) == LabelledImages([image(2), image(1)])
    assert LabelledImages([image(1)]) != LabelledImages([image(1), image(2)])
    assert LabelledImages([image(1)]) != LabelledImages([image(1, boxes=1)])


def test_an_id_is_given_once() -> None:
    with pytest.raises(ValueError, match="id 1"):
        LabelledImages([image(1), image(1)])


def test_the_image_of_the_same_bytes_and_when_it_was_submitted() -> None:
    images = LabelledImages()
    images.add(image(1), submitted=12.5)
    assert images.same_bytes(image(1).sha256) == (image(1), 12.5)
    images.remove(image(1))
    assert images.same_bytes(image(1).sha256) is None


def test_threads_may_read_at_once() -> None:
    images = LabelledImages(image(number) for number in range(500))
    counts: list[int] = []
    readers = [threading.Thread(target=lambda: counts.append(sum(1 for _ in images))) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(30)
    assert counts == [500] * 4


def test_memory_does_not_grow_with_the_images() -> None:
    def peak(count: int) -> int:
        def gone_through() -> None:
            images = LabelledImages(image(number) for number in range(count))
            assert sum(len(found.labels) for found in _every_way(images)) == 3 * count * 3

        return traced_peak(gone_through)

    assert peak(3_000) < peak(300) + 100_000


def _every_way(images: LabelledImages) -> Iterator[SnapshotImage]:
    yield from images
    yield from images.of_side(Side.TRAIN)
    yield from images.by_sha256()
