"""Training requests go to the trainer; the backend itself never trains."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.backend_home import Home
from support.elsewhere import Elsewhere
from support.fake_trainer import FakeTrainer, basic

PROJECT = {"id": 1, "title": "t", "label_config": "<View/>"}


@pytest.fixture
def trainer() -> Iterator[FakeTrainer]:
    fake = FakeTrainer()
    yield fake
    fake.close()


@pytest.fixture
def home(tmp_path: Path, trainer: FakeTrainer) -> Iterator[Home]:
    made = Home.below(tmp_path, trainer_url=trainer.url)
    made.add_version()
    yield made
    made.stop.set()


def test_start_training_asks_the_trainer_for_a_round(home: Home, trainer: FakeTrainer) -> None:
    answer = home.client.post("/webhook", json={"action": "START_TRAINING", "project": PROJECT})
    assert answer.status_code == 201
    assert answer.json == {"round": 7, "state": "requested", "joined": False}
    assert trainer.asked == [("POST /projects/1/rounds", {"requested_by": "button"})]


def test_a_round_under_way_is_joined(home: Home, trainer: FakeTrainer) -> None:
    trainer.answer = (200, {"round": 7, "state": "training", "joined": True, "more": "left out"})
    answer = home.client.post("/webhook", json={"action": "START_TRAINING", "project": PROJECT})
    assert answer.json == {"round": 7, "state": "training", "joined": True}


def test_the_legacy_train_call_does_the_same(home: Home, trainer: FakeTrainer) -> None:
    answer = home.client.post("/train", json={"project": "1.1699999999", "annotations": [], "params": {}})
    assert answer.status_code == 201
    assert answer.json["round"] == 7


@pytest.mark.parametrize(
    "action", ["ANNOTATION_CREATED", "TASKS_CREATED", "PROJECT_UPDATED", "SOMETHING_NEW"]
)
def test_other_events_are_acknowledged_without_asking_anyone(
    home: Home, trainer: FakeTrainer, action: str
) -> None:
    assert home.client.post("/webhook", json={"action": action, "project": PROJECT}).status_code == 201
    assert trainer.asked == []


def test_a_trainer_that_is_down_is_a_503_that_says_what_to_do(bare_home: Home) -> None:
    answer = bare_home.client.post("/webhook", json={"action": "START_TRAINING", "project": PROJECT})
    assert answer.status_code == 503
    assert "`make status`" in answer.json["error"]
    assert "trainer does not answer" in answer.status


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ((404, {"detail": "there is no project 1"}), 404, "there is no project 1"),
        ((409, {"detail": "no labels yet"}), 409, "no labels yet"),
        ((500, b"oops"), 503, "oops"),
        ((200, b"<html>"), 503, "<html>"),
    ],
)
def test_what_the_trainer_refuses_is_passed_on(
    home: Home, trainer: FakeTrainer, answer: tuple[int, Any], status: int, words: str
) -> None:
    trainer.answer = answer
    got = home.client.post("/webhook", json={"action": "START_TRAINING", "project": PROJECT})
    assert (got.status_code, words in got.json["error"]) == (status, True)


def test_wrong_trainer_password_is_named(home: Home, trainer: FakeTrainer) -> None:
    trainer.expected = basic("mlbackend", "changed")
    answer = home.client.post("/train", json={"project": "1.1"})
    assert answer.status_code == 503
    assert "TRAINER_PASSWORD" in answer.json["error"]


def test_missing_trainer_password_is_named(bare_home: Home) -> None:
    bare_home.settings = bare_home.settings.model_copy(update={"trainer_password": None})
    answer = bare_home.client.post("/train", json={"project": "1.1"})
    assert answer.status_code == 503
    assert "TRAINER_PASSWORD is not set" in answer.json["error"]


def test_is_training_tells_what_the_trainer_does(home: Home, trainer: FakeTrainer) -> None:
    home.setup()
    trainer.rounds = [{"id": 8, "state": "training"}, {"id": 7, "state": "kept"}]
    answer = home.client.get("/is_training?project=1.1699999999").json
    assert answer == {
        "is_training": True, "backend": "trainer", "round": 8, "state": "training", "model_version": "v0000",
    }  # fmt: skip
    trainer.rounds = [{"id": 7, "state": "promoted"}]
    assert home.client.get("/is_training?project=1").json["is_training"] is False


def test_is_training_without_a_project_is_refused(home: Home) -> None:
    assert home.client.get("/is_training").status_code == 400


def test_versions_are_the_registrys(home: Home) -> None:
    home.add_version()
    home.add_version(project=2)
    assert home.client.post("/versions", json={"project": "1.1"}).json["versions"] == ["v0000", "v0001"]
    assert home.client.post("/versions", json={"project": "2.1"}).json["versions"] == ["v0000"]
    assert home.client.get("/versions").json["versions"] == ["v0000", "v0001"]
    assert home.client.get("/versions?project=2").json["versions"] == ["v0000"]


@pytest.mark.parametrize("status", [302, 307])
def test_credentials_and_request_follow_no_redirect_to_another_server(tmp_path: Path, status: int) -> None:
    with Elsewhere(status=status) as elsewhere:
        home = Home.below(tmp_path, trainer_url=elsewhere.url)
        home.add_version()
        answer = home.client.post("/webhook", json={"action": "START_TRAINING", "project": PROJECT})
        home.stop.set()
    assert answer.status_code == 503 and "the trainer" in answer.json["error"]
    assert elsewhere.asked == ["POST"] and elsewhere.sent == []
