"""The pages say what retention has removed, and go on with the rest."""

import pytest
from fastapi.testclient import TestClient
from support.a_project import a_project
from support.dashboard import words
from support.dashboard_data import finished_round

from trainer.dashboard.loop import WatchedLoop
from trainer.rounds.table import State
from trainer.worker.retention import Retention

ROUND_GONE = "removed by retention (KEEP_ROUNDS)"
VERSION_GONE = "removed by retention (KEEP_VERSIONS)"


@pytest.fixture
def pruned(loop: WatchedLoop) -> WatchedLoop:
    """Rounds 1 and 2, which made v0001 and v0002; round 1 has lost its data, v0001 its weights."""
    finished_round(loop, 25, stray=5, champion_stray=30)
    finished_round(loop, 30, stray=5, champion_stray=30)
    assert loop.models(1).champion() == "v0002"
    newest = loop.models(1).folder("v0002") / "card.json"
    newest.write_text(loop.models(1).card("v0002").model_copy(update={"parent": "v0000"}).model_dump_json())
    settings = loop.settings.model_copy(update={"keep_rounds": 1, "keep_versions": 1})
    Retention(settings, loop.studio, loop.registry, loop.rounds).run(a_project())
    assert loop.models(1).removed() == ["v0001"]
    return loop


def test_the_rounds_keep_scores_and_verdict(client: TestClient, pruned: WatchedLoop) -> None:
    page = words(client.get("/rounds?project=1").text)
    assert page.count(ROUND_GONE) == 1
    for number in (1, 2):
        round_ = pruned.rounds.get(number)
        assert round_.state is State.PROMOTED and (round_.verdict or "?") in page
    assert "yolox_nano from COCO weights" in page and "30 images, 6 of them held out" in page
    assert client.get("/rounds/scores.svg?project=1").status_code == 200


def test_a_removed_version_keeps_its_page_and_says_why_it_cannot_look(
    client: TestClient, pruned: WatchedLoop
) -> None:
    page = client.get("/model?project=1&version=v0001").text
    assert f"The weights of v0001 were {VERSION_GONE}." in words(page)
    assert "Label by label" in page and "Look at the images" not in page
    assert client.get("/model?project=1&version=v0099").status_code == 404
    assert client.get("/compare?project=1&left=v0001&right=v0002").status_code == 200


def test_a_version_whose_round_lost_its_snapshot_can_look_all_the_same(
    client: TestClient, pruned: WatchedLoop
) -> None:
    """It looks at the labels of now."""
    page = client.get("/model?project=1&version=v0000").text
    assert "Look at the images" in page and ROUND_GONE not in page


def test_downloads_name_what_is_gone(client: TestClient, pruned: WatchedLoop) -> None:
    assert "round 1, v0001" in words(client.get("/downloads?project=1").text)
    for path, why in (
        ("/downloads/v0001.zip?project=1", VERSION_GONE),
        ("/rounds/1/dataset-coco.zip?project=1", ROUND_GONE),
    ):
        answer = client.get(path)
        assert answer.status_code == 404 and why in words(answer.text)
    assert client.get("/downloads/v0002.zip?project=1").status_code == 200


def test_the_other_pages_go_on(client: TestClient, pruned: WatchedLoop) -> None:
    for page in ("", "effort", "data", "label-errors"):
        assert client.get(f"/{page}?project=1").status_code == 200
