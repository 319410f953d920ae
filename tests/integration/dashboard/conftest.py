"""A dashboard on made folders, of its own for each file, and a browser."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import uvicorn
from fastapi import FastAPI
from integration.support.dashboard_page import opened
from playwright.sync_api import Browser, Page
from support.browser import chromium
from support.dashboard import Login
from support.dashboard_data import Guesser, finished_round, label_in, snapshot_of
from support.fake_backend import FakeBackend
from support.fake_studio import FakeStudio
from support.ports import free_port
from support.versions import add_version

from labelloop.files import write_text
from labelloop.studio import Studio
from trainer.dashboard import predictions
from trainer.dashboard.app import create_app
from trainer.dashboard.loop import WatchedLoop
from trainer.dataset.left_out import Kind, LeftOut
from trainer.dataset.survey import Survey
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend
from trainer.rounds import heartbeat

LONG = "https://images.example.org/" + "a-very-long-folder-without-any-blank/" * 5 + "0001.jpg"
LEFT_OUT = (
    LeftOut(
        3, "images/cam 1/0003.jpg", Kind.REGION, "region r1: made by 'box', which the label config lacks"
    ),
    LeftOut(4, LONG, Kind.AWAY, f"{LONG}: 503 Service Unavailable"),
    LeftOut(5, "images/5.jpg", Kind.EXCLUDED, "'Unusable' is ticked"),
    LeftOut(6, "images/6.jpg", Kind.SLIVER, "'ball' at x 32 to 33.3, y 24 to 96 px"),
)


@pytest.fixture(scope="module")
def studio() -> FakeStudio:
    return FakeStudio()


@pytest.fixture(scope="module", autouse=True)
def worker_is_taken_for_alive() -> Iterator[None]:
    """Its sign of life, which nobody renews here, holds however long the tests take."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(heartbeat, "STALE_S", 24 * 3600.0)
        yield


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory, studio: FakeStudio) -> Iterator[WatchedLoop]:
    """Project 1 after one round."""
    home = tmp_path_factory.mktemp("home")
    backend = FakeBackend()
    studio.add_project()["title"] = "Defects on printed circuit boards, line 4, both cameras"
    studio.add_project(2)["title"] = "Bären & 熊"
    with studio.serve() as studio_url, backend.serve() as backend_url:
        settings = TrainerSettings(labelloop_home=home, labelstudio_url=studio_url, mlbackend_url=backend_url)
        settings.images_dir.mkdir(parents=True)
        made = WatchedLoop(settings, Studio(studio_url, "token"), Backend(backend_url, "backend"))
        models = made.models(1)
        models.promote(add_version(models, home / "made"))
        heartbeat.beat(settings.rounds_dir, {"1": "v0000"}, {})
        finished_round(made, 25, stray=5, champion_stray=30)
        _look(made, studio)
        backend.version = models.champion()
        survey = Survey(1, datetime.now(UTC), "", LEFT_OUT, ("2 images taught that nothing is there",))
        replace(survey, train=20, holdout=5, boxes=25).write(settings.rounds_dir)
        yield made


def _look(loop: WatchedLoop, studio: FakeStudio) -> None:
    """v0001 has looked at the images, and missed and mistaken some."""
    snapshot = snapshot_of(loop, 25)
    label_in(studio, snapshot)
    for _ in range(5):
        studio.add_task()
    folder = loop.models(1).path / "seen" / "v0001.1"
    snapshot.write(folder)
    guesser = Guesser.of(loop, snapshot, "v0001", 25)
    boxes = {image.id: predictions.rows_of(guesser._guess(image)) for image in snapshot.images}
    made = predictions.Predictions(version="v0001", fingerprint="f", boxes=boxes, began=datetime.now(UTC))
    write_text(predictions.path_of(folder, "v0001"), made.model_dump_json())


@pytest.fixture(scope="module")
def app(loop: WatchedLoop, studio: FakeStudio) -> FastAPI:
    return create_app(loop, "a secret", Login(studio))


@pytest.fixture(scope="module")
def url(app: FastAPI) -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    shown, complaints = opened(browser, url)
    yield shown
    shown.close()
    assert complaints == []
