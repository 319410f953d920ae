"""Images that nobody has labelled, with boxes of a version that is sure of balls and crates from 0.9 on."""

from typing import Any

from fastapi.testclient import TestClient
from support import made_scores, shapes
from support.dashboard import words
from support.fake_studio import FakeStudio
from support.stack import wait_for

from trainer.dashboard.loop import WatchedLoop
from trainer.rounds import heartbeat

SURE, FAINT = 0.95, 0.4
ADDRESS = "/verify?project=1"
SIZE = (320, 240)
Json = dict[str, Any]


def judged(loop: WatchedLoop, found: int = 12) -> None:
    """v0001 is in service; on a hold-out of 12 images it finds so many balls and crates, all at 0.9."""
    history = made_scores.History(loop.models(1), loop.rounds)
    snapshot = made_scores.snapshot_of(range(101, 121), range(201, 213))
    counts = {"ball": found, "crate": found}
    history.round(snapshot, counts, {"ball": 0, "crate": 0})
    heartbeat.beat(loop.settings.rounds_dir, {"1": "v0001"}, {})


def region(name: str, label: str, score: float, x: float = 10.0) -> Json:
    """A proposed box of 20 × 20 % of the image."""
    value = {"x": x, "y": 10.0, "width": 20.0, "height": 20.0, "rotation": 0, "rectanglelabels": [label]}
    return {
        "id": name,
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": SIZE[0],
        "original_height": SIZE[1],
        "image_rotation": 0,
        "score": score,
        "value": value,
    }


def propose(
    loop: WatchedLoop,
    studio: FakeStudio,
    *boxes: tuple[str, float],
    beside: float | None = 0.02,
    version: str = "v0001",
    score: float = 0.6,
) -> int:
    """A task with boxes of a version; its number. boxes: labels and scores. beside: the highest score of a
    box that is not proposed, None in predictions of earlier releases.
    """
    task = studio.add_task()
    rows = [region(f"r{task}-{at}", *box, x=5.0 + 25 * at) for at, box in enumerate(boxes)]
    if beside is not None:
        rows[0]["beside"] = beside
    studio.predictions.append(
        {
            "id": 500 + task,
            "task": task,
            "result": rows,
            "score": score,
            "model_version": version,
            "created_at": "2026-11-22T20:00:00Z",
        }
    )
    file = loop.settings.images_dir / f"{task}.jpg"
    file.parent.mkdir(parents=True, exist_ok=True)
    shapes.picture(task, SIZE).image.save(file)
    return task


def crops(client: TestClient, label: str = "", project: int = 1) -> Json:
    """What is before a person, once the images have been looked through."""

    def told() -> Json | None:
        answer = client.get(f"/verify.json?project={project}&label={label}")
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return None if found["looking"] else found

    return wait_for("the images to be looked through", told, 60, every=0.05) or {}


def answer(client: TestClient, told: Json, *wrong: int, project: int = 1, **fields: str) -> str:
    """Answers a page; what the next one says."""
    form = {
        "csrf": told["csrf"],
        "page": told["page"],
        **{f"wrong-{number}": "1" for number in wrong},
        **fields,
    }
    return _followed(client, f"/verify?project={project}&label={told['label']}", form)


def undo(client: TestClient, project: int = 1) -> str:
    form = {"csrf": crops(client, project=project)["csrf"]}
    return _followed(client, f"/verify/undo?project={project}", form)


def _followed(client: TestClient, address: str, form: dict[str, str]) -> str:
    answer = client.post(address, data=form)
    assert answer.status_code == 303, answer.text
    return words(client.get(answer.headers["Location"]).text)
