"""Annotations as imports and other tools leave them behind."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from PIL import Image
from support.a_project import a_row
from support.junk import JUNK, mutated
from support.shapes import LABEL_CONFIG

from labelloop.settings import Settings
from labelloop.studio import Studio
from provisioner.label_config import orphans
from trainer.dataset.collector import newest_submitted
from trainer.dataset.left_out import Kind
from trainer.dataset.snapshot import Snapshot, SnapshotError, take

BOX = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["ball"]}
RESULT = {"id": "r", "type": "rectanglelabels", "from_name": "label", "to_name": "image", "value": BOX}
ANNOTATION: dict[str, Any] = {
    "id": 5,
    "result": [RESULT],
    "was_cancelled": False,
    "ground_truth": False,
    "created_at": "2026-11-22T18:00:00.000000Z",
    "updated_at": "2026-11-22T18:00:01.000000Z",
    "draft_created_at": None,
}
TASK: dict[str, Any] = {
    "id": 1,
    "data": {"image": "/data/local-files/?d=images/a.png"},
    "annotations": [ANNOTATION, {**ANNOTATION, "id": 6, "was_cancelled": True}],
    "drafts": [{"id": 1, "result": [RESULT]}],
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(labelloop_home=tmp_path, missing_percent=100)
    made.images_dir.mkdir(parents=True)
    for name, colour in (("a.png", "red"), ("whole.png", "blue")):
        buffer = BytesIO()
        Image.new("RGB", (100, 100), colour).save(buffer, "PNG")
        (made.images_dir / name).write_bytes(buffer.getvalue())
    return made


def taken(settings: Settings, tasks: list[dict[str, Any]], config: str = LABEL_CONFIG) -> Snapshot:
    class Labels:
        def project(self, project_id: int) -> dict[str, Any]:
            return a_row(label_config=config)

        def count_tasks(self, project_id: int, *conditions: object) -> int:
            return len(tasks)

        def annotated_tasks(self, project_id: int) -> Iterator[dict[str, Any]]:
            yield from tasks

    folder = settings.rounds_dir / "00001"
    (folder / "snapshot.json").unlink(missing_ok=True)
    return take(cast(Studio, Labels()), 1, settings, folder, lambda fraction, words: None)


WHOLE = {
    **TASK,
    "id": 2,
    "data": {"image": "/data/local-files/?d=images/whole.png"},
    "annotations": [ANNOTATION],
}


@given(annotations=mutated(TASK["annotations"]) | JUNK, data=mutated(TASK["data"]) | JUNK)
def test_a_damaged_task_never_costs_a_whole_one(settings: Settings, annotations: Any, data: Any) -> None:
    snapshot = taken(settings, [{**TASK, "annotations": annotations, "data": data}, WHOLE])
    whole = next(image for image in snapshot.images if image.file.endswith("whole.png"))
    assert snapshot.classes[whole.labels[0]] == "ball"
    assert Snapshot.load(settings.rounds_dir / "00001").images == snapshot.images


@pytest.mark.parametrize(
    "dates", [{}, {"updated_at": None, "created_at": None}, {"updated_at": 5, "created_at": "x"}]
)
def test_an_annotation_without_dates_counts_but_is_older_than_one_with(dates: dict[str, Any]) -> None:
    bare = {"id": 9, "result": [], **dates}
    assert newest_submitted([bare]) is bare
    assert newest_submitted([bare, ANNOTATION]) is ANNOTATION


def test_a_date_without_a_zone_is_in_utc() -> None:
    later = {**ANNOTATION, "updated_at": "2026-11-22T19:00:00"}
    assert newest_submitted([later, ANNOTATION]) is later


POLYGON = {**RESULT, "type": "polygonlabels", "value": {"points": [[1, 2]], "polygonlabels": ["ball"]}}
BRUSH = {**RESULT, "type": "brushlabels", "value": {"format": "rle", "rle": [1], "brushlabels": ["ball"]}}


@pytest.mark.parametrize(
    "change",
    [
        {"from_name": "second"},
        {"from_name": None},
        {"type": None},
        {"to_name": "photo"},
        {"value": {**BOX, "rectanglelabels": []}},
        {"value": {**BOX, "rectanglelabels": ["balloon"]}},
        {"value": {**BOX, "x": float("nan")}},
        {"value": {**BOX, "width": None}},
        {"value": None},
        POLYGON,
        BRUSH,
    ],
)
@pytest.mark.parametrize("beside", [[], [RESULT]])
def test_an_image_of_which_a_region_could_not_be_understood_is_left_out_and_named(
    settings: Settings, change: dict[str, Any], beside: list[dict[str, Any]]
) -> None:
    damaged = {**TASK, "annotations": [{**ANNOTATION, "result": [{**RESULT, **change}, *beside]}]}
    snapshot = taken(settings, [damaged, WHOLE])
    assert [image.task for image in snapshot.images] == [2]
    [left_out] = snapshot.skipped
    assert (left_out.task, left_out.url) == (1, "images/a.png")
    assert left_out.kind in (Kind.REGION, Kind.UNKNOWN_LABEL) and left_out.reason.startswith("region r: ")
    assert Snapshot.load(settings.rounds_dir / "00001").skipped == snapshot.skipped


def test_a_result_that_is_no_list_leaves_its_image_out(settings: Settings) -> None:
    for result in ("boxes", {"boxes": 1}, [7], [None]):
        [left_out] = taken(
            settings, [{**TASK, "annotations": [{**ANNOTATION, "result": result}]}, WHOLE]
        ).skipped
        assert (left_out.task, left_out.kind) == (1, Kind.REGION)


def test_when_every_label_is_renamed_the_round_says_what_is_missing(settings: Settings) -> None:
    with pytest.raises(SnapshotError, match=r"task 2: region r: label 'ball' is not in .*make labels RENAME"):
        taken(settings, [WHOLE], LABEL_CONFIG.replace("ball", "globe"))


@given(annotations=mutated(TASK["annotations"]))
def test_orphans_are_counted_among_damaged_annotations(annotations: Any) -> None:
    whole = {**RESULT, "value": {**BOX, "rectanglelabels": ["balloon"]}}
    tasks = [{"annotations": annotations}, {"annotations": [{**ANNOTATION, "result": [whole]}]}]
    assert any("'balloon' in 1 annotation" in phrase for phrase in orphans(tasks, LABEL_CONFIG))
