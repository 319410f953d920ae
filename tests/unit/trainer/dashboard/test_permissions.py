"""Who may do what: every route of the dashboard, tried as every kind of person. A route that the table does
not know fails.
"""

from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from support.dashboard import EMAIL, LABELLER, csrf, log_in, routes, words
from support.dashboard_data import finished_round
from support.dashboard_pages import OPEN, address, each_button
from support.fake_studio import FakeStudio
from support.versions import add_version

from labelloop.registry import ProjectModels
from trainer.dashboard import stored
from trainer.dashboard.current_labels import ReadLabels
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.sure import Proposed, SureBox
from trainer.takeaway.forms import Format, place


class For(IntEnum):
    ANYBODY = 0
    MEMBERS = 1
    ADMINISTRATORS = 2


TABLE = {
    ("GET", "/static/{path}"): For.ANYBODY,
    ("GET", "/health"): For.ANYBODY,
    ("GET", "/login"): For.ANYBODY,
    ("POST", "/login"): For.ANYBODY,
    ("POST", "/logout"): For.ANYBODY,
    ("GET", "/"): For.MEMBERS,
    ("GET", "/live"): For.MEMBERS,
    ("GET", "/do/retrain"): For.ADMINISTRATORS,
    ("POST", "/do/retrain"): For.ADMINISTRATORS,
    ("GET", "/do/cancel"): For.ADMINISTRATORS,
    ("POST", "/do/cancel"): For.ADMINISTRATORS,
    ("GET", "/do/predict"): For.ADMINISTRATORS,
    ("POST", "/do/predict"): For.ADMINISTRATORS,
    ("GET", "/do/rollback"): For.ADMINISTRATORS,
    ("POST", "/do/rollback"): For.ADMINISTRATORS,
    ("GET", "/do/adopt"): For.ADMINISTRATORS,
    ("POST", "/do/adopt"): For.ADMINISTRATORS,
    ("GET", "/rounds"): For.MEMBERS,
    ("GET", "/rounds/scores.svg"): For.MEMBERS,
    ("GET", "/rounds/{round_id}/loss.svg"): For.MEMBERS,
    ("GET", "/rounds/{round_id}/dataset-{format_name}.zip"): For.ADMINISTRATORS,
    ("GET", "/model"): For.MEMBERS,
    ("GET", "/model/threshold"): For.MEMBERS,
    ("GET", "/model/precision-recall.svg"): For.MEMBERS,
    ("GET", "/model/images/{image_id}.jpg"): For.MEMBERS,
    ("GET", "/model/look"): For.MEMBERS,
    ("POST", "/model/look"): For.MEMBERS,
    ("GET", "/effort"): For.MEMBERS,
    ("GET", "/effort/accepted.svg"): For.MEMBERS,
    ("GET", "/effort/people.csv"): For.MEMBERS,
    ("GET", "/effort/disagreement.csv"): For.MEMBERS,
    ("GET", "/data"): For.MEMBERS,
    ("GET", "/data.csv"): For.MEMBERS,
    ("GET", "/verify"): For.MEMBERS,
    ("GET", "/verify.json"): For.MEMBERS,
    ("GET", "/verify/state"): For.MEMBERS,
    ("GET", "/verify/crops/{task}/{number}.jpg"): For.MEMBERS,
    ("POST", "/verify"): For.MEMBERS,
    ("POST", "/verify/undo"): For.MEMBERS,
    ("GET", "/label-errors"): For.MEMBERS,
    ("GET", "/label-errors.csv"): For.MEMBERS,
    ("POST", "/label-errors/settle"): For.MEMBERS,
    ("POST", "/label-errors/undo"): For.MEMBERS,
    ("POST", "/label-errors/mend"): For.ADMINISTRATORS,
    ("GET", "/downloads"): For.MEMBERS,
    ("GET", "/downloads/{version}.zip"): For.ADMINISTRATORS,
    ("GET", "/downloads/labels"): For.MEMBERS,
    ("POST", "/downloads/labels"): For.ADMINISTRATORS,
    ("GET", "/downloads/labels/{format_name}.zip"): For.ADMINISTRATORS,
    ("GET", "/downloads/model"): For.MEMBERS,
    ("POST", "/downloads/model"): For.ADMINISTRATORS,
    ("GET", "/downloads/model/{version}-{form}.zip"): For.ADMINISTRATORS,
    ("POST", "/detect"): For.ANYBODY,  # with a token
    ("GET", "/compare"): For.MEMBERS,
    ("GET", "/glossary"): For.MEMBERS,
}
GUARDED = sorted(route for route, whom in TABLE.items() if whom is not For.ANYBODY)
ACTIONS = sorted(path for method, path in GUARDED if method == "POST")


@pytest.fixture
def filled(loop: WatchedLoop, app: FastAPI, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round, labels that were read, and a box to verify, so that every address leads somewhere. Nothing is
    looked at or read anew.
    """
    finished_round(loop, 25, stray=5, champion_stray=30)
    monkeypatch.setattr(app.state.parts.looking, "begin", lambda *of: "It looks.")
    snapshot = stored.snapshot(loop.rounds.folder(1))
    assert snapshot is not None
    url = f"/data/local-files/?d=images/{Path(next(iter(snapshot.images)).file).name}"
    box = SureBox(0, "ball", 0.95, (10.0, 10.0, 20.0, 20.0))
    image = Proposed(
        fake_studio.add_task(), "v0001", 1, url, (320, 240), ({"id": "r"},), (box,), finishes=True
    )
    store = app.state.parts.verifying.of(1).store
    store.begin("v0001", snapshot.label_config_xml)
    store.put([image], 1, "v0001", snapshot.label_config_xml)
    read = ReadLabels(snapshot, datetime.now(UTC))
    monkeypatch.setattr(app.state.parts.current_labels, "begin", lambda project: None)
    monkeypatch.setattr(app.state.parts.current_labels, "of", lambda project: read)
    monkeypatch.setattr(app.state.parts.take_aways, "begin", lambda *of: None)
    taken = place(loop.settings.rounds_dir, 1, "v0001", Format.ONNX, int8=False)
    taken.mkdir(parents=True)
    (taken / "README.md").write_text("made")


@pytest.fixture
def two_versions(models: ProjectModels, tmp_path: Path) -> None:
    """v0001 in service, v0000 to roll back to."""
    models.promote(add_version(models, tmp_path / "next"))


def request(client: TestClient, route: tuple[str, str], token: str = "") -> tuple[int, str, str]:
    """The status, the text and where it leads."""
    method, path = route[0], address(route[1])
    form = {"csrf": token, "version": "v0000", "how": "right", "format": "onnx"}
    answer = client.get(path) if method == "GET" else client.post(path, data=form)
    text = answer.text if answer.headers.get("Content-Type", "").startswith("text/") else ""
    return answer.status_code, text, answer.headers.get("Location", "")


def turned_away(status: int, to: str) -> bool:
    return status == 401 or (status == 303 and to.startswith("/login"))


def test_the_table_knows_every_route(app: FastAPI) -> None:
    assert each_button(routes(app)) == TABLE.keys()


def test_what_is_open_to_strangers_is_known_to_the_tests_from_outside() -> None:
    assert {path for (_, path), whom in TABLE.items() if whom is For.ANYBODY} == set(OPEN)


@pytest.mark.usefixtures("two_versions")
def test_a_stranger_comes_in_nowhere(stranger: TestClient, models: ProjectModels) -> None:
    token = csrf(stranger, "/login")
    for route in GUARDED:
        status, _, to = request(stranger, route, token)
        assert turned_away(status, to), route
    assert models.champion() == "v0001"


@pytest.mark.usefixtures("two_versions")
@pytest.mark.parametrize("change", [{"member": False}, {"stamp": "another password"}, None])
def test_who_is_no_member_any_more_comes_in_nowhere(
    stranger: TestClient,
    app: FastAPI,
    fake_studio: FakeStudio,
    models: ProjectModels,
    change: dict[str, object] | None,
) -> None:
    """Removed or deactivated; with a new password; deleted. An administrator, who may most."""
    app.state.parts.people.fresh_s = -1.0
    before = dict(fake_studio.people[1])
    for route in GUARDED:
        fake_studio.people[1] = dict(before)
        stranger.cookies.clear()
        assert log_in(stranger) == 303
        token = csrf(stranger, "/")
        if change is None:
            del fake_studio.people[1]
        else:
            fake_studio.people[1] |= change
        status, _, to = request(stranger, route, token)
        assert turned_away(status, to), route
    assert models.champion() == "v0001"


@pytest.mark.usefixtures("filled")
def test_a_labeller_may_what_the_table_says_and_is_told_what_she_may_not(
    labeller: TestClient, models: ProjectModels
) -> None:
    token = csrf(labeller, "/")
    for route in GUARDED:
        status, text, to = request(labeller, route, token)
        if TABLE[route] is For.ADMINISTRATORS:
            assert status == 403 and "is for administrators." in text, route
            assert "<form" not in text, route
        else:
            assert status < 400 or (status == 404 and "has not looked" in text), (route, status)
            assert not turned_away(status, to), route
    assert models.champion() == "v0001"


@pytest.mark.usefixtures("filled")
def test_an_administrator_may_everything(client: TestClient, models: ProjectModels) -> None:
    token = csrf(client, "/")
    for route in GUARDED:
        status, text, to = request(client, route, token)
        assert status < 400 or (status == 404 and "has not looked" in text), (route, status)
        assert not turned_away(status, to), route
    assert models.champion() == "v0000", "rolled back"


@pytest.mark.usefixtures("two_versions")
def test_nobody_acts_while_label_studio_does_not_say_who_asks(
    client: TestClient, loop: WatchedLoop, fake_studio: FakeStudio, models: ProjectModels
) -> None:
    """However fresh its last answer is."""
    assert client.get("/").status_code == 200
    token = csrf(client, "/")
    rounds = len(loop.rounds.history(1))
    fake_studio.down = True
    for path in ACTIONS:
        status, text, _ = request(client, ("POST", path), token)
        assert status == 503 and "Nothing was done. Label Studio" in text, path
    assert client.get("/").status_code == 200, "she may look on"
    fake_studio.down = False
    assert models.champion() == "v0001" and len(loop.rounds.history(1)) == rounds


@pytest.mark.usefixtures("two_versions")
def test_who_is_made_an_administrator_or_a_labeller_is_so_in_the_open_session(
    stranger: TestClient, app: FastAPI, fake_studio: FakeStudio
) -> None:
    app.state.parts.people.fresh_s = -1.0
    assert log_in(stranger, email=LABELLER) == 303
    assert "Steering the loop is for administrators." in words(stranger.get("/").text)
    fake_studio.people[2]["administrator"] = True
    assert 'href="/do/rollback?project=1"' in stranger.get("/").text
    assert stranger.get("/do/rollback").status_code == 200
    fake_studio.people[2]["administrator"] = False
    assert stranger.get("/do/rollback").status_code == 403


@pytest.mark.usefixtures("filled")
def test_pages_show_no_door_to_what_one_may_not_but_a_line(client: TestClient, labeller: TestClient) -> None:
    now, downloads = labeller.get("/").text, labeller.get("/downloads").text
    assert "Steering the loop is for administrators." in words(now)
    assert "/do/" not in now
    assert "Downloading models and datasets is for administrators." in words(downloads)
    assert ".zip" not in downloads and "v0001" in downloads and "Round 1" in downloads
    now, downloads = client.get("/").text, client.get("/downloads").text
    assert "/do/rollback" in now and "/downloads/v0001.zip" in downloads
    assert "for administrators" not in now + downloads and EMAIL in now
