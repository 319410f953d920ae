"""The simulated person on a real Label Studio: her own account, the page Verify, and what it leaves her."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.support.labelstudio import LabelStudio
from pydantic import SecretStr
from support import made_scores
from support.coco import write_coco
from support.dashboard_served import served_app
from support.versions import add_version

from labelloop.boxes import Boxes
from labelloop.regions import to_results
from labelloop.studio import StudioError
from labelloop.task_filters import LABELLED
from labelloop.verified import BESIDE, is_verified
from trainer.dashboard.app import create_app
from trainer.dashboard.loop import WatchedLoop
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend
from trainer.simulate.account import Account, signed_up
from trainer.simulate.dataset import Dataset
from trainer.simulate.options import Person
from trainer.simulate.project import LabellingProject
from trainer.simulate.verifier import Verifier
from trainer.simulate.verify_page import logged_in
from trainer.simulate.work_done import Verified

IMAGES = 40
SIZE = (320, 240)


@pytest.fixture
def settings(provisioned: LabelStudio, tmp_path: Path) -> TrainerSettings:
    token = SecretStr(provisioned.environment["API_TOKEN"])
    return TrainerSettings(labelloop_home=tmp_path, labelstudio_url=provisioned.url, api_token=token)


@pytest.fixture
def dataset(settings: TrainerSettings) -> Dataset:
    folder = settings.uploads_dir / "simulate" / "shapes"
    write_coco(folder, "train", 0, IMAGES)
    write_coco(folder, "test", IMAGES, 1)
    return Dataset.load(folder, {})


@pytest.fixture
def account(provisioned: LabelStudio, settings: TrainerSettings) -> Iterator[Account]:
    with signed_up(provisioned.studio, settings, print) as made:
        yield made
    assert made.email not in str(provisioned.studio.request("GET", "/api/users/"))


@pytest.fixture
def project(
    provisioned: LabelStudio, settings: TrainerSettings, dataset: Dataset, account: Account, tmp_path: Path
) -> Iterator[LabellingProject]:
    """A model that is sure of balls and crates proposes what is there, on one image a box beside it."""
    studio = provisioned.studio
    made = LabellingProject.create(
        studio, settings, dataset, "uncertainty", 0, "verified by nobody", IMAGES, account.studio
    )
    rows = []
    for place, (task, image) in enumerate(sorted(made.images.items())):
        corners = [tuple(box) for box in image.boxes.xyxy.tolist()]
        if not place:
            corners[0] = (1.0, 1.0, 9.0, 9.0)
        boxes = Boxes.of(corners, [0.95] * len(corners), image.boxes.labels.tolist())
        result = to_results(boxes, dataset.label_config, *SIZE)
        result[0][BESIDE] = 0.01
        score = 0.2 + place / 100
        rows.append({"task": task, "score": score, "model_version": "v0001", "result": result})
    assert studio.import_predictions(made.id, rows) == IMAGES
    studio.update_project(made.id, model_version="v0001")
    yield made
    made.delete()


@pytest.fixture
def verifier(
    provisioned: LabelStudio,
    settings: TrainerSettings,
    project: LabellingProject,
    account: Account,
    tmp_path: Path,
) -> Iterator[Verifier]:
    loop = WatchedLoop(settings, provisioned.studio, Backend("http://127.0.0.1:1", "backend"), 600.0)
    models = loop.models(project.id)
    models.promote(add_version(models, tmp_path / "made"))
    snapshot = made_scores.snapshot_of(range(101, 121), range(201, 213))
    made_scores.History(models, loop.rounds, project.id).round(snapshot, {"ball": 12, "crate": 12}, {})
    with served_app(create_app(loop, "a secret")) as address:
        settings.dashboard_bind = address
        yield Verifier(lambda: logged_in(settings, account, project.id, print), project, Person())


def test_she_verifies_as_a_labeller_and_the_editor_has_the_draft_of_what_was_left_to_it(
    provisioned: LabelStudio, project: LabellingProject, verifier: Verifier, account: Account
) -> None:
    who = account.studio.request("GET", "/labelloop/people/me")
    assert (who["email"], who["administrator"]) == (account.email, False)
    wrong_task, wrong = min(project.images.items())
    answered = list(verifier.pages(lambda: IMAGES))
    submitted = {image.task: image.verified for page in answered for image in page.submitted}
    boxes = sum(len(image.boxes) for image in project.images.values())
    assert sum(page.work.crops for page in answered) == boxes
    assert [sum(page.work.marked for page in answered), sum(page.handed_over for page in answered)] == [1, 1]
    assert set(submitted) == set(project.images) - {wrong_task}
    whole = sum(submitted.values(), Verified())
    assert (whole.right, whole.wrong, whole.missed) == (boxes - len(wrong.boxes), 0, 0)
    studio = provisioned.studio
    assert studio.count_tasks(project.id, LABELLED) == IMAGES - 1
    [annotation] = studio.task(max(submitted))["annotations"]
    by = annotation["completed_by"]
    assert (by["id"] if isinstance(by, dict) else by) == account.id and is_verified(annotation["result"])

    task = project.next()
    assert task is not None and (task.id, task.draft is not None) == (wrong_task, True)
    assert len(task.proposed) == len(wrong.boxes) - 1  # the verified ones are in place
    project.submit(task, 3.0)
    assert studio.count_tasks(project.id, LABELLED) == IMAGES
    assert account.studio.task(wrong_task)["drafts"] == []
    assert project.next() is None


def test_a_submission_whose_answer_is_lost_is_there_once(
    provisioned: LabelStudio, project: LabellingProject, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = project.next()
    assert task is not None
    request, sent = account.studio.request, list[Any]()

    def losing_the_first(method: str, path: str, **kwargs: Any) -> Any:
        answer = request(method, path, **kwargs)
        if method == "POST":
            sent.append(kwargs["json"])
            raise StudioError("Connection aborted")
        return answer

    monkeypatch.setattr(account.studio, "request", losing_the_first)
    project.submit(task, 3.0)
    assert len(sent) == 1 and len(provisioned.studio.task(task.id)["annotations"]) == 1
    with pytest.raises(StudioError) as refused:  # as if Label Studio had been at it when it was looked for
        request("POST", f"/api/tasks/{task.id}/annotations/", json=sent[0])
    assert refused.value.status == 409
    assert len(provisioned.studio.task(task.id)["annotations"]) == 1
