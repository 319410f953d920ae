"""A real mmdet model, small and untrained, from the registry through gunicorn to an answer."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from support.backend_home import LABEL_CONFIG, PASSWORD, TRAINER_PASSWORD, wait_until
from support.detectors import add_tiny_yolox
from support.ports import free_port

from labelloop.registry import Card, Registry

pytest.importorskip("mmcv.ops", reason="mmcv-full is not installed")

WORK_TREE = Path(__file__).parents[2]
CLASSES = ["cat", "car"]
AUTH = ("labelstudio", PASSWORD)


class Gunicorn:
    """The backend as the image starts it."""

    def __init__(self, home: Path) -> None:
        self.bind = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.bind}"
        self.log = home / "gunicorn.log"
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "LABELLOOP_HOME": str(home),
            "MLBACKEND_BIND": self.bind,
            "BACKEND_PASSWORD": PASSWORD,
            "TRAINER_PASSWORD": TRAINER_PASSWORD,
            "SCORE_THRESHOLD": "0",
            "THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        config = WORK_TREE / "configs" / "gunicorn" / "mlbackend.py"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", str(config)],
            env=self.environment,
            stdout=self.log.open("wb"),
            stderr=subprocess.STDOUT,
        )

    def check(self) -> subprocess.CompletedProcess[str]:
        """The container's health check."""
        command = [sys.executable, "-m", "mlbackend.probe"]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)

    def predict(self, *urls: str) -> Any:
        tasks = [{"id": index, "data": {"image": url}} for index, url in enumerate(urls)]
        body = {"tasks": tasks, "project": "1.1", "label_config": LABEL_CONFIG, "params": {}}
        answer = requests.post(f"{self.url}/predict", json=body, auth=AUTH, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def serves(self, version: str) -> bool:
        project = requests.get(f"{self.url}/health", timeout=5).json()["projects"].get("1", {})
        return bool(project.get("version") == version)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    images = tmp_path / "volumes" / "images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(20):
        pixels = rng.integers(0, 255, (60 + index, 90, 3), np.uint8)
        Image.fromarray(pixels).save(images / f"{index}.png")
    return tmp_path


@pytest.fixture
def backend(home: Path) -> Iterator[Gunicorn]:
    started = Gunicorn(home)
    yield started
    started.process.kill()
    started.process.wait()
    print(started.log.read_text()[-4000:])


def regions(prediction: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Without the ids, which are drawn anew each time."""
    sides = ("x", "y", "width", "height")
    return sorted((r["score"], *(r["value"][side] for side in sides)) for r in prediction["result"])


def test_from_no_model_to_predictions_to_the_next_version(home: Path, backend: Gunicorn) -> None:
    wait_until(lambda: "the trainer writes" in backend.check().stdout, 60)
    assert backend.check().returncode == 1
    add_tiny_yolox(home / "volumes" / "models", CLASSES, 0)
    wait_until(lambda: backend.check().returncode == 0, 60)
    assert backend.check().stdout == "serves v0000 (project 1)\n"

    urls = [f"/data/local-files/?d=images/{index}.png" for index in range(20)]
    answer = backend.predict(*urls)
    assert answer["model_version"] == "v0000"
    assert len(answer["results"]) == 20
    for index, prediction in enumerate(answer["results"]):
        assert prediction["result"], "an untrained model at threshold 0 sees something everywhere"
        for region in prediction["result"]:
            assert region["original_height"] == 60 + index
            value = region["value"]
            assert value["x"] >= 0 and value["x"] + value["width"] <= 100.001
            assert value["y"] >= 0 and value["y"] + value["height"] <= 100.001
            assert set(value["rectanglelabels"]) <= {"pet", "car"}

    alone = backend.predict(urls[3])["results"][0]
    together = answer["results"][3]
    assert len(alone["result"]) == len(together["result"])
    assert np.allclose(regions(alone), regions(together), atol=1e-2)

    version = add_tiny_yolox(home / "volumes" / "models", CLASSES, 1)
    wait_until(lambda: backend.serves(version), 30)
    assert backend.predict(urls[0])["model_version"] == "v0001"


def test_weights_that_do_not_load_are_named_and_the_previous_version_serves(
    home: Path, backend: Gunicorn
) -> None:
    models = home / "volumes" / "models"
    add_tiny_yolox(models, CLASSES, 0)
    wait_until(lambda: backend.check().returncode == 0, 60)
    torn = models / "torn.pth"
    torn.write_bytes(b"not weights")
    project = Registry(models).project(1)
    config = (project.folder("v0000") / "config.py").read_text()
    project.promote(project.write(Card(detector="tiny", classes=CLASSES), config, torn))
    wait_until(
        lambda: "error" in requests.get(f"{backend.url}/health", timeout=5).json()["projects"]["1"], 30
    )
    state = requests.get(f"{backend.url}/health", timeout=5).json()["projects"]["1"]
    assert state["version"] == "v0000"
    assert "v0001/weights.pth" in state["error"]
    assert backend.predict("/data/local-files/?d=images/0.png")["model_version"] == "v0000"


def test_stopping_lets_a_running_batch_finish(home: Path, backend: Gunicorn) -> None:
    add_tiny_yolox(home / "volumes" / "models", CLASSES, 0)
    wait_until(lambda: backend.check().returncode == 0, 60)
    answers: list[Any] = []
    urls = [f"/data/local-files/?d=images/{index % 20}.png" for index in range(200)]
    asking = threading.Thread(target=lambda: answers.append(backend.predict(*urls)))
    asking.start()
    wait_until(lambda: b"v0000 serves" in backend.log.read_bytes())
    threading.Event().wait(0.3)
    backend.process.send_signal(signal.SIGTERM)
    assert backend.process.wait(timeout=25) == 0
    asking.join()
    assert len(answers) == 1 and len(answers[0]["results"]) == 200


def test_without_a_password_it_does_not_start(home: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "BACKEND_PASSWORD"}
    config = WORK_TREE / "configs" / "gunicorn" / "mlbackend.py"
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--config", str(config)],
        env={
            **environment,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "LABELLOOP_HOME": str(home),
            "MLBACKEND_BIND": "127.0.0.1:0",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "BACKEND_PASSWORD is not set" in done.stdout + done.stderr
