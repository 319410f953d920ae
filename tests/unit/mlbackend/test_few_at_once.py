"""However many click, or send images, few images are in memory at once, and of large ones one."""

import base64
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import pytest
from support.backend_home import LABEL_CONFIG, Home

from labelloop.boxes import Boxes
from labelloop.images import Pixels, read_image
from labelloop.raw_boxes import RawBoxes
from mlbackend import loading

ASKING = 8


class InMemory:
    """Counts the images that are read and were not looked at yet. most: at one time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.most = 0
        self._lock = Lock()
        monkeypatch.setattr(loading, "read_image", self._read)

    def _read(self, *arguments: Any) -> Pixels:
        pixels = read_image(*arguments)
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        return pixels

    def found(self, pixels: Pixels) -> Boxes:
        """What the model sees there, after a while: nothing."""
        time.sleep(0.02)
        with self._lock:
            self.now -= 1
        return Boxes.empty()

    def raw(self, pixels: Pixels) -> RawBoxes:
        return RawBoxes.of_boxes(self.found(pixels), 4)


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> InMemory:
    return InMemory(monkeypatch)


def clicks(home: Home, number: int) -> tuple[str, dict[str, Any]]:
    """On an image of its own."""
    value = {"x": 50, "y": 50, "width": 0.5, "keypointlabels": ["pet"]}
    hint = {"id": "h", "type": "keypointlabels", "from_name": "label", "to_name": "image", "value": value}
    task = {"id": number, "data": {"image": home.add_image(f"{number}.png")}}
    body = {"tasks": [task], "project": "1.2", "label_config": LABEL_CONFIG}
    return "/predict", body | {"params": {"context": {"result": [hint]}}}


def sends(home: Home, number: int) -> tuple[str, dict[str, Any]]:
    home.add_image(f"{number}.png")
    content = (home.settings.images_dir / f"{number}.png").read_bytes()
    body = {"project": "1.2", "label_config": LABEL_CONFIG, "image": base64.b64encode(content).decode()}
    return "/detect", body


@pytest.mark.parametrize("ask", [clicks, sends])
@pytest.mark.parametrize(("batch_pixels", "most"), [(1, 1), (10_000, loading.FEW)], ids=["large", "usual"])
def test_so_many_are_in_memory(
    ask: Callable[[Home, int], tuple[str, dict[str, Any]]],
    batch_pixels: int,
    most: int,
    home: Home,
    in_memory: InMemory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loading, "BATCH_PIXELS", batch_pixels)
    home.add_version()
    home.setup()
    home.detector.raw_answer, home.detector.answer = in_memory.raw, in_memory.found
    asked = [ask(home, number) for number in range(ASKING)]

    def post(path: str, body: dict[str, Any]) -> int:
        client = home.client.application.test_client()
        client.environ_base.update(home.client.environ_base)
        return client.post(path, json=body).status_code

    with ThreadPoolExecutor(ASKING) as pool:
        assert list(pool.map(lambda one: post(*one), asked)) == [200] * ASKING
    assert 0 < in_memory.most <= most and in_memory.now == 0


def test_who_points_at_an_image_that_another_one_looks_at_waits_for_that_look(
    home: Home, in_memory: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "BATCH_PIXELS", 1)
    home.add_version()
    home.setup()
    home.detector.raw_answer = in_memory.raw
    path, body = clicks(home, 0)

    def post(_: int) -> int:
        client = home.client.application.test_client()
        client.environ_base.update(home.client.environ_base)
        return client.post(path, json=body).status_code

    with ThreadPoolExecutor(ASKING) as pool:
        assert list(pool.map(post, range(ASKING))) == [200] * ASKING
    assert home.detector.raw_sizes == [(40, 20)]
