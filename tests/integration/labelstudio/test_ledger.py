"""What people did, read from a real Label Studio: whose an annotation is, and what is new since then."""

import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from integration.labelstudio.test_dashboard import sign_up
from integration.support.labelstudio import LabelStudio
from support.labelling_people import box

from labelloop.studio import Studio
from trainer.dashboard import ledger
from trainer.dashboard.entries import NOBODY, Author, Origin
from trainer.dashboard.ledger import Kept, Ledger
from trainer.dashboard.loop import WatchedLoop
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend

ANN = 1
CONFIG = """<View><Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image"><Label value="ball"/></RectangleLabels></View>"""


def somebody(label_studio: LabelStudio, email: str) -> tuple[int, Studio]:
    """A new labeller's id, and Label Studio with her token."""
    sign_up(label_studio, email, "battery staple 2")
    with closing(sqlite3.connect(label_studio.data / "label_studio.sqlite3", timeout=30)) as database:
        query = "select user_id, key from authtoken_token join htx_user u on user_id = u.id where email = ?"
        user, token = database.execute(query, (email,)).fetchone()
    return user, Studio(label_studio.url, token)


def submit(studio: Studio, task: int, *boxes: dict[str, object], **fields: object) -> int:
    body = {"result": list(boxes), **fields}
    return int(studio.request("POST", f"/api/tasks/{task}/annotations", json=body)["id"])


def images(kept: Kept) -> dict[Author, int]:
    return {author: effort.images for author, effort in kept.book.authors.items()}


def test_whose_an_annotation_is_and_what_becomes_of_it(
    provisioned: LabelStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "WAIT_S", 30.0)
    admin = provisioned.studio
    zoe, hers = somebody(provisioned, "zoe.ledger@example.org")
    project = int(admin.request("POST", "/api/projects", json={"title": "two", "label_config": CONFIG})["id"])
    imported = {"result": [box(1, 1)], "id": 77, "lead_time": 3.0}
    rows = [{"data": {"image": f"/{number}.jpg"}} for number in range(5)]
    rows[4]["annotations"] = [imported]  # type: ignore[assignment]
    admin.request("POST", f"/api/projects/{project}/import", json=rows)
    first, second, third, fourth, _ = (int(task["id"]) for task in admin.iter_tasks(project))
    submit(admin, first, box(10, 10), lead_time=9.0)
    at_first = submit(hers, first, box(10, 10), box(60, 60), lead_time=11.0)
    gone = submit(hers, second, lead_time=12.0)
    submit(admin, third, box(10, 10))
    brought = {"task": fourth, "annotations": [{"unique_id": str(uuid4()), "result": [box(1, 1)]}]}
    admin.request("POST", f"/labelloop/projects/{project}/intake", json={"items": [brought]})
    settings = TrainerSettings(labelloop_home=tmp_path, labelstudio_url=provisioned.url)
    loop = WatchedLoop(settings, admin, Backend("http://127.0.0.1:1", "backend"))
    read = Ledger(loop, kept_s=-1.0)

    kept = read.of(project)
    by_others = {Author(ANN, Origin.PROGRAM): 1, Author(ANN, Origin.IMPORT): 2}
    assert images(kept) == {Author(ANN, Origin.PERSON): 1, Author(zoe, Origin.PERSON): 2} | by_others
    assert str(kept.name(zoe)) == "zoe.ledger@example.org"
    (agreed,) = kept.book.agreed
    assert (agreed.boxes.same, agreed.boxes.differing, agreed.images) == (1, 1, 1)
    assert [(row.task, row.used) for row in kept.book.disputes()] == [(first, Author(zoe, Origin.PERSON))]

    with monkeypatch.context() as only_new:
        only_new.setattr(loop.studio, "annotated_tasks", lambda *of, **more: pytest.fail("read all again"))
        hers.request("PATCH", f"/api/annotations/{at_first}/", json={"result": [box(10, 10)]})
        assert read.of(project).book.agreed[0].boxes.differing == 0
    hers.request("DELETE", f"/api/annotations/{gone}/")
    assert images(read.of(project))[Author(zoe, Origin.PERSON)] == 1

    admin.request("DELETE", f"/api/organizations/1/memberships/{zoe}/")
    assert str(read.of(project).name(zoe)) == "zoe.ledger@example.org (no longer a member)"
    admin.request("DELETE", f"/api/users/{zoe}/")
    monkeypatch.setattr(ledger, "WHOLE_S", -1.0)
    kept = read.of(project)
    assert images(kept)[Author(NOBODY, Origin.PERSON)] == 1 and str(kept.name(NOBODY)) == "a deleted user"
