"""The page that shows two versions side by side."""

from html import unescape
from pathlib import Path

from fastapi.testclient import TestClient
from support.dashboard import words
from support.dashboard_data import finished_round

from trainer.dashboard import stored
from trainer.dashboard.loop import WatchedLoop
from trainer.judging.evaluate import Evaluation


def test_two_versions_side_by_side(client: TestClient, loop: WatchedLoop) -> None:
    finished_round(loop, 25, stray=5, champion_stray=30)
    judged = stored.judgement(loop.rounds.folder(1))
    assert judged is not None and judged.champion is not None
    page = words(client.get("/compare?project=1").text)
    assert "Both were scored on the same hold-out." in page
    assert f"mAP {judged.champion.mAP:.3f} {judged.candidate.mAP:.3f} higher" in page
    for label, score in judged.candidate.per_class.items():
        assert f"AP of {label} {judged.champion.per_class[label]:.3f} {score:.3f}" in page
    assert "sees images at, px – 352" in page
    turned = words(client.get("/compare?left=v0001&right=v0000").text)
    assert f"mAP {judged.candidate.mAP:.3f} higher {judged.champion.mAP:.3f}" in turned


def test_versions_scored_on_other_images_are_said_to_be(
    client: TestClient, loop: WatchedLoop, tmp_path: Path
) -> None:
    finished_round(loop, 25, stray=12, champion_stray=30)
    finished_round(loop, 40, stray=3, champion_stray=12)
    page = words(client.get("/compare?left=v0000&right=v0002").text)
    assert "They were not scored on the same hold-out" in page
    assert "so of their scores only mAP today compares." in page and "higher" not in page
    assert "Both were scored on the same hold-out." in words(
        client.get("/compare?left=v0000&right=v0001").text
    )


def test_both_on_the_hold_out_of_today(client: TestClient, loop: WatchedLoop) -> None:
    """They compare also where no round scored both, once both are scored on today's."""
    assert "mAP today" not in client.get("/compare?project=1").text  # before there is a hold-out
    finished_round(loop, 25, stray=12, champion_stray=30)
    finished_round(loop, 40, stray=3, champion_stray=12)
    after = [judged.mAP for judged in _of_round(loop, 2)]
    page = words(client.get("/compare?left=v0001&right=v0002").text)
    assert f"mAP today {after[0]:.3f} {after[1]:.3f} higher scored in round 2 2" in page
    page = unescape(words(client.get("/compare?left=v0000&right=v0002").text))
    assert f"mAP today not yet scored on today's hold-out {after[1]:.3f} scored in round 1 2" in page


def _of_round(loop: WatchedLoop, number: int) -> tuple[Evaluation, Evaluation]:
    """Of the champion, and of the candidate."""
    judged = stored.judgement(loop.rounds.folder(number))
    assert judged is not None and judged.champion is not None
    return judged.champion, judged.candidate


def test_a_single_version_compares_with_itself(client: TestClient) -> None:
    assert client.get("/compare?project=1").status_code == 200
    assert client.get("/compare?left=v0009").status_code == 404


def test_comparing_is_found_where_versions_are(client: TestClient, loop: WatchedLoop) -> None:
    """On the Model page, among the rounds and before a roll-back; not beside the downloads."""
    finished_round(loop, 25, stray=5, champion_stray=30)
    assert 'href="/compare?project=1&amp;right=v0001"' in client.get("/model?project=1").text
    for page in ("/rounds", "/do/rollback"):
        assert 'href="/compare?project=1"' in client.get(f"{page}?project=1").text, page
    assert "/compare" not in client.get("/downloads?project=1").text
    against = words(client.get("/compare?project=1&right=v0001").text)
    assert "Both were scored on the same hold-out." in against
