"""The main job, in the order a person meets it; each test goes on where the one before it stopped."""

import json
import stat
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import requests
from PIL import Image
from support import shapes
from support.stack import Stack, wait_for
from support.unpredicted import without_prediction_of

from labelloop.boxes import iou_matrix
from labelloop.labels import parse_label_config
from labelloop.regions import from_results
from labelloop.registry import Registry
from labelloop.task_filters import UNLABELLED

CORRECTED = 28
IMPORTED_WITHIN_S = 180
PRELABELLED_WITHIN_S = 300


def by_file(stack: Stack, fields: str = "task_only") -> dict[str, dict[str, Any]]:
    """Tasks by their image's path below volumes/images."""
    tasks = stack.studio().iter_tasks(1, fields=fields, page_size=100)
    return {
        parse_qs(urlsplit(task["data"]["image"]).query)["d"][0].removeprefix("images/"): task
        for task in tasks
    }


def all_prelabelled(stack: Stack, version: str) -> bool:
    studio = stack.studio()
    done = not studio.count_tasks(1, UNLABELLED, without_prediction_of(version))
    return done and studio.project(1)["model_version"] == version


def share_found(prediction: dict[str, Any], picture: shapes.Picture) -> float:
    """The share of a picture's boxes that a prediction holds, at IoU 0.5 and with the right label."""
    config = parse_label_config(shapes.LABEL_CONFIG)
    found, problems = from_results(prediction["result"], config, picture.image.size)
    assert not problems
    truth = np.array(picture.boxes, dtype=np.float32)
    matches = (iou_matrix(truth[:, :4], found.xyxy) >= 0.5) & (truth[:, 4:] == found.labels[None, :])
    return float(matches.any(axis=1).mean())


def test_the_first_boot_needs_no_click(stack: Stack) -> None:
    studio = stack.studio()
    [project] = studio.projects()
    assert project["sampling"] == "Uncertainty sampling"
    assert parse_label_config(project["label_config"]).names == list(shapes.LABELS)
    assert [backend["state"] for backend in studio.backends(project["id"])] == ["CO"]
    assert len(studio.storages(project["id"])) == 1
    assert stat.S_IMODE((stack.home / ".env").stat().st_mode) == 0o600


def test_only_a_login_opens_the_door(stack: Stack) -> None:
    page = requests.get(stack.url, timeout=10)
    assert page.url.startswith(f"{stack.url}/user/login") and page.ok
    assert requests.get(f"{stack.url}/api/projects", timeout=10).status_code == 401
    signup = requests.get(f"{stack.url}/user/signup", timeout=10)
    assert "is disabled" in signup.text or not signup.ok or signup.url.startswith(f"{stack.url}/user/login")


def test_images_in_the_folder_become_tasks_by_themselves(
    stack: Stack, pictures: dict[str, shapes.Picture]
) -> None:
    expected = {f"shapes/{name}" for name in pictures}
    wait_for(
        "tasks for the dropped images",
        lambda: expected <= set(by_file(stack)),
        IMPORTED_WITHIN_S,
    )


def test_the_starting_model_answers_every_task(stack: Stack) -> None:
    wait_for(
        "pre-labels of v0000",
        lambda: all_prelabelled(stack, "v0000"),
        PRELABELLED_WITHIN_S,
    )
    for rows in stack.predictions().values():
        assert [row["model_version"] for row in rows] == ["v0000"]
        assert 0 <= rows[0]["score"] <= 1


def test_a_round_on_corrections_is_promoted(stack: Stack, pictures: dict[str, shapes.Picture]) -> None:
    studio, tasks = stack.studio(), by_file(stack)
    for name, picture in islice(pictures.items(), CORRECTED):
        annotation = {"result": picture.annotation()}
        studio.request(
            "POST",
            f"/api/tasks/{tasks[f'shapes/{name}']['id']}/annotations/",
            json=annotation,
        )
    output = stack.run("retrain")
    assert "promoted v0001" in output, output
    card = json.loads((stack.home / "volumes/models/1/v0001/card.json").read_text())
    assert card["classes"] == list(shapes.LABELS) and card["parent"] == "v0000"
    assert card["images"] + card["metrics"]["images"] == CORRECTED, "trained on and held out"
    split = json.loads((stack.home / "volumes/models/1/split.json").read_text())
    assert "holdout" in json.dumps(split)


def test_the_promoted_model_pre_labels_what_is_unlabelled(
    stack: Stack, pictures: dict[str, shapes.Picture]
) -> None:
    wait_for(
        "pre-labels of v0001",
        lambda: all_prelabelled(stack, "v0001"),
        PRELABELLED_WITHIN_S,
    )
    tasks = by_file(stack, fields="all")
    shares = []
    for name in list(pictures)[CORRECTED:]:
        rows = [row for row in tasks[f"shapes/{name}"]["predictions"] if row["model_version"] == "v0001"]
        assert len(rows) == 1
        shares.append(share_found(rows[0], pictures[name]))
    assert np.mean(shares) > 0.6, shares


def test_the_least_certain_image_comes_first(stack: Stack) -> None:
    studio = stack.studio()
    tasks = [task for task in by_file(stack, fields="all").values() if not task["total_annotations"]]
    scores = {
        t["id"]: next(p["score"] for p in t["predictions"] if p["model_version"] == "v0001") for t in tasks
    }
    following = studio.request("POST", "/api/dm/actions", params={"id": "next_task", "project": 1}, json={})
    assert following["id"] == min(scores, key=lambda task: scores[task])


def test_status_models_and_export_tell_what_is(stack: Stack) -> None:
    status = stack.run("status")
    assert "v0001" in status and str(CORRECTED) in status
    assert "v0000" in (models := stack.run("models")) and "v0001" in models
    for kind in ("coco", "yolo", "voc"):
        assert (where := stack.run("export", FORMAT=kind))
        assert "volumes/" in where, where


def test_rolling_back_is_a_pointer_move_without_new_work_for_old_versions(
    stack: Stack,
) -> None:
    stack.run("rollback", VERSION="v0000")
    wait_for(
        "the project to show v0000",
        lambda: all_prelabelled(stack, "v0000"),
        PRELABELLED_WITHIN_S,
    )
    stack.run("rollback", VERSION="v0001")
    wait_for(
        "the project to show v0001",
        lambda: all_prelabelled(stack, "v0001"),
        PRELABELLED_WITHIN_S,
    )
    for rows in stack.predictions().values():
        versions = [row["model_version"] for row in rows]
        assert len(versions) == len(set(versions)), "a version is predicted once a task"
    assert "v0009" in stack.run("rollback", VERSION="v0009", check=False)


def test_a_second_up_changes_nothing(stack: Stack) -> None:
    def state() -> tuple[Any, ...]:
        """What a person would miss. What the trainer makes in the background, such as scores, is left out."""
        studio, models = stack.studio(), Registry(stack.home / "volumes/models").project(1)
        secrets = (stack.home / ".env").read_text()
        return (
            secrets,
            [(p["id"], p["title"], p["label_config"]) for p in studio.projects()],
            [row["id"] for row in studio.backends(1)],
            [row["id"] for row in studio.storages(1)],
            (models.versions(), models.champion()),
            (models.path / "split.json").read_text(),
            studio.count_tasks(1),
        )

    before = state()
    output = stack.run("up")
    assert state() == before
    assert stack.url.rpartition(":")[2] in output


def test_a_label_config_that_would_orphan_annotations_is_refused(stack: Stack) -> None:
    path = stack.home / "configs/labels/shapes.xml"
    original = path.read_text()
    path.write_text(original.replace('value="ball"', 'value="sphere"'))
    try:
        output = stack.run("up", check=False)
        assert "ball" in output and "annotation" in output
        assert parse_label_config(stack.studio().project(1)["label_config"]).names == list(shapes.LABELS)
    finally:
        path.write_text(original)
    stack.run("up")


def test_odd_files_are_labelled_or_named_and_hurt_nothing(stack: Stack) -> None:
    odd = stack.images / "odd"
    good, named = write_odd_files(odd)
    expected = {f"odd/{name}" for name in good}
    wait_for(
        "tasks for the readable odd files",
        lambda: expected <= set(by_file(stack)),
        IMPORTED_WITHIN_S,
    )
    wait_for(
        "their pre-labels",
        lambda: all(has_prediction(by_file(stack, fields="all")[name], "v0001") for name in expected),
        PRELABELLED_WITHIN_S,
    )
    tasks = by_file(stack, fields="all")
    unread = [f"odd/{name}" for name in named if f"odd/{name}" in tasks]
    assert all(not tasks[name]["predictions"] for name in unread), "nothing is said of what nobody saw"
    for name, (width, height) in good.items():
        rows = [row for row in tasks[f"odd/{name}"]["predictions"] if row["model_version"] == "v0001"]
        assert len(rows) == 1, name
        for region in rows[0]["result"]:
            assert (region["original_width"], region["original_height"]) == (
                width,
                height,
            ), name
        assert rows[0]["result"], f"{name} shows shapes that the model knows"
    status = wait_for(
        "the unreadable files in status",
        lambda: report_naming(stack, named),
        90,
        every=5,
    )
    assert all(name in status for name in named)


def has_prediction(task: dict[str, Any], version: str) -> bool:
    return any(row["model_version"] == version for row in task["predictions"])


def report_naming(stack: Stack, names: list[str]) -> str:
    status = stack.run("status", check=False)
    return status if all(name in status for name in names) else ""


def write_odd_files(folder: Path) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Readable files with their size as a browser shows it, and the names of unreadable ones."""
    folder.mkdir(parents=True)
    picture = shapes.picture(2).image
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.rotate(90, expand=True).save(folder / "rotated.jpg", exif=exif, quality=95)
    picture.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    picture.save(folder / "a name, 名字 and it's quoted.PNG")
    picture.save(folder / "scan.tif")
    picture.save(folder / "page.webp", quality=95)
    grey = picture.convert("L")
    Image.merge("LA", (grey, Image.new("L", grey.size, 255))).save(folder / "alpha.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(folder / "deep.png")
    readable = [
        "rotated.jpg",
        "cmyk.jpg",
        "a name, 名字 and it's quoted.PNG",
        "scan.tif",
        "page.webp",
    ]

    picture.save(folder / "cut.jpg", quality=95)
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:2000])
    (folder / "empty.jpg").touch()
    (folder / "text.png").write_text("no picture")
    picture.save(folder / "moving.gif", save_all=True, append_images=[picture])
    return dict.fromkeys(readable, picture.size), [
        "cut.jpg",
        "empty.jpg",
        "text.png",
        "moving.gif",
    ]


@pytest.mark.parametrize("name", ["odd/alpha.png", "odd/deep.png"])
def test_grey_images_are_answered_too(stack: Stack, name: str) -> None:
    versions = [row["model_version"] for row in by_file(stack, fields="all")[name]["predictions"]]
    assert "v0001" in versions
