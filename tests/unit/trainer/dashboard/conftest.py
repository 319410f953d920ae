"""A dashboard on the folders that a test fills."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from support.dashboard import LABELLER, Login, log_in
from support.fake_studio import FakeStudio

from labelloop.registry import ProjectModels
from labelloop.studio import Studio
from trainer.dashboard import ledger
from trainer.dashboard.app import create_app
from trainer.dashboard.loop import WatchedLoop
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend
from trainer.rounds import heartbeat


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page waits until all is read, however slow the machine is."""
    monkeypatch.setattr(ledger, "WAIT_S", 20.0)


@pytest.fixture
def loop(
    loop_settings: TrainerSettings, models: ProjectModels, studio: Studio, backend: Backend
) -> WatchedLoop:
    """Project 1 with v0000 in service, a worker that lives, and no label yet."""
    heartbeat.beat(loop_settings.rounds_dir, {"1": "v0000"}, {})
    return WatchedLoop(loop_settings, studio, backend)


@pytest.fixture
def login(fake_studio: FakeStudio) -> Login:
    return Login(fake_studio)


@pytest.fixture
def app(loop: WatchedLoop, login: Login) -> FastAPI:
    return create_app(loop, "a secret", login)


@pytest.fixture
def stranger(app: FastAPI) -> Iterator[TestClient]:
    """A browser that has not logged in."""
    with TestClient(app, follow_redirects=False) as client:
        yield client


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    """A browser in which an administrator has."""
    assert log_in(stranger) == 303
    return stranger


@pytest.fixture
def labeller(app: FastAPI) -> Iterator[TestClient]:
    """A browser in which somebody has who is no administrator."""
    with TestClient(app, follow_redirects=False) as client:
        assert log_in(client, email=LABELLER) == 303
        yield client
