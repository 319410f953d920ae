"""How images go through the model: in batches, one pass at a time, within bounds."""

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.backend_home import PATIENCE_S, Home, wait_until

import mlbackend.loading
from labelloop import decoding
from labelloop.boxes import Boxes
from labelloop.images import Pixels


def test_images_go_through_the_model_in_whole_batches(home: Home) -> None:
    home.setup()
    home.detector.batches.clear()
    home.results(*(home.add_image(f"{n}.png") for n in range(20)))
    assert [len(batch) for batch in home.detector.batches] == [4, 4, 4, 4, 4]


def test_a_single_image_has_its_turn_between_the_batches_of_many(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first batch of many lasts until the single image has been read and only lacks its turn."""
    single_is_read, decode = threading.Event(), mlbackend.loading._decode

    def noted(item: Any) -> Any:
        made = decode(item)
        if item.name.endswith("single.png"):
            single_is_read.set()
        return made

    def answer(image: Pixels) -> Boxes:
        assert single_is_read.wait(PATIENCE_S)
        return Boxes.empty()

    home.setup()
    urls = [home.add_image(f"{n}.png") for n in range(16)]
    single = home.add_image("single.png", size=(30, 10))
    home.detector.batches.clear()
    home.detector.pause_s = 0.3
    home.detector.answer = answer
    monkeypatch.setattr(mlbackend.loading, "_decode", noted)
    many = threading.Thread(target=home.results, args=urls)
    many.start()
    wait_until(lambda: bool(home.detector.batches))
    home.results(single)
    many.join()
    assert len(home.detector.batches) == 5
    assert [(30, 10)] in home.detector.batches[1:-1]


def test_batches_are_bounded_by_pixels(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlbackend.loading, "BATCH_PIXELS", 2000)
    home.setup()
    home.detector.batches.clear()
    sizes = [(40, 20), (40, 20), (40, 20), (100, 100), (40, 20)]
    home.results(*(home.add_image(f"{n}.png", size=size) for n, size in enumerate(sizes)))
    assert [len(batch) for batch in home.detector.batches] == [2, 1, 1, 1]


def test_of_images_beyond_the_bound_one_is_held_for_all_requests(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlbackend.loading, "BATCH_PIXELS", 2000)
    urls = [home.add_image(f"{n}.png", size=(100, 100)) for n in range(3)]
    home.setup()
    held: list[int] = []
    inside = 0
    decode = mlbackend.loading._decode

    def counted(item: Any) -> Any:
        nonlocal inside
        inside += 1
        held.append(inside)
        return decode(item)

    def answer(image: Pixels) -> Boxes:
        nonlocal inside
        time.sleep(0.01)
        inside -= 1
        return Boxes.empty()

    monkeypatch.setattr(mlbackend.loading, "_decode", counted)
    home.detector.answer = answer
    threads = [threading.Thread(target=home.results, args=urls) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held == [1] * 9


def test_an_image_that_ended_the_backend_twice_is_named_and_the_others_get_their_boxes(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    deadly, good = home.add_image("deadly.png"), home.add_image("good.png")
    home.results(good)
    key = decoding.key_of(home.settings.images_dir / "deadly.png")
    for number in range(2):
        (tmp_path / f"labelloop-{os.getuid()}" / f"{key}.{number}").touch()
    results = home.results(deadly, good)
    assert ["result" in result for result in results] == [False, True]
    assert "was ended 2 times" in home.project_health()["unreadable"][0]["reason"]


def test_one_forward_pass_at_a_time(home: Home) -> None:
    home.setup()
    home.detector.pause_s = 0.02
    urls = [home.add_image(f"{n}.png") for n in range(20)]
    threads = [threading.Thread(target=home.results, args=urls) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not home.detector.overlapped
    assert sum(len(batch) for batch in home.detector.batches) == 80 + 1


def test_a_forward_pass_that_fails_is_a_clear_error(home: Home) -> None:
    home.setup()

    def fail(image: Pixels) -> Boxes:
        raise RuntimeError("out of memory")

    home.detector.answer = fail
    answer = home.predict(home.add_image("a.png"))
    assert (answer.status_code, answer.json) == (
        500,
        {"error": "RuntimeError: out of memory; see `make logs`"},
    )
    home.detector.answer = lambda image: Boxes.empty()
    assert home.predict(home.add_image("a.png")).status_code == 200
