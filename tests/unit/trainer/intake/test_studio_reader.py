"""Label Studio's tasks: whose work, when, which shapes, and where the image is."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from unit.trainer.intake.conftest import Read, Write

from trainer.intake.named_images import ImageFiles
from trainer.intake.records import IntakeError, Record, ShapeKind
from trainer.intake.studio_reader import Source, read

GEOMETRY = {"x": 10, "y": 20, "width": 30, "height": 40}
Tasks = Callable[..., Record]


def task(*results: dict[str, Any], **annotation: Any) -> dict[str, Any]:
    row = {"id": 4, "created_at": "2025-01-01T00:00:00Z", "result": list(results), **annotation}
    return {"id": 9, "data": {"image": "/data/upload/3/0a1b2c3d-a.png"}, "annotations": [row]}


def region(kind: str = "rectanglelabels", **value: Any) -> dict[str, Any]:
    sizes = {"original_width": 200, "original_height": 100}
    return {"id": "r", "type": kind, "from_name": "x", "to_name": "y", "value": value, **sizes}


def one(row: dict[str, Any], source: Source | None = None) -> Record:
    [record] = read([row], source or Source(), "export.json", ImageFiles([]))
    return record


def test_the_image_may_be_under_a_path_of_the_data() -> None:
    row = {"id": 1, "data": {"meta": {"photo": "/data/upload/3/0a1b2c3d-a.png"}}, "annotations": []}
    assert one(row, Source("meta.photo", {}, "http://other")).name == "a.png"


@pytest.mark.parametrize(
    ("result", "kind", "corners"),
    [
        (region(rectanglelabels=["ball"], **GEOMETRY), ShapeKind.BOX, [10, 20, 40, 60]),
        (region("labels", labels=["ball"], **GEOMETRY), ShapeKind.BOX, [10, 20, 40, 60]),
        # A quarter turn about the top left corner, of 60 x 40 pixels.
        (region(rectanglelabels=["ball"], rotation=90, **GEOMETRY), ShapeKind.ROTATED, [-10, 20, 10, 80]),
        (
            region("polygonlabels", polygonlabels=["ball"], points=[[1, 2], [9, 3], [5, 8]]),
            ShapeKind.POLYGON,
            [1, 2, 9, 8],
        ),
        (
            region("ellipselabels", ellipselabels=["ball"], x=50, y=50, radiusX=10, radiusY=20),
            ShapeKind.POLYGON,
            [40, 30, 60, 70],
        ),
    ],
)
def test_shapes_have_their_box_and_are_told_apart(
    result: dict[str, Any], kind: ShapeKind, corners: list[float]
) -> None:
    [labels] = one(task(result)).labels
    [shape] = labels.shapes
    assert (shape.label, shape.kind) == ("ball", kind)
    assert [round(corner, 3) for corner in shape.corners] == corners


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (region(**GEOMETRY), "annotation 4: a region without a label"),
        (region("brushlabels", brushlabels=["ball"], rle=[1]), "a region of the type brushlabels"),
        (region("rectangle", **GEOMETRY), "a rectangle without a label"),
        (region(rectanglelabels=["ball"], x=1, y="?", width=2, height=3), "y is '?', no number"),
    ],
)
def test_a_region_that_is_not_understood_leaves_its_image_out(result: dict[str, Any], why: str) -> None:
    assert why in one(task(result)).problem


def test_results_that_are_no_shapes_are_kept_as_they_are() -> None:
    light = {"type": "choices", "from_name": "light", "to_name": "y", "value": {"choices": ["day"]}}
    [labels] = one(task(light)).labels
    assert labels.shapes == () and labels.others == (light,)


@pytest.mark.parametrize(
    ("told", "person"),
    [
        ({"completed_by": {"id": 1, "email": "ann@x.org"}}, "ann@x.org"),
        ({"completed_by": 7}, "bob@x.org"),
        ({"completed_by": 8}, "user 8"),
        ({"completed_by": 8, "created_username": " Eve E eve@x.org, 8"}, "eve@x.org"),
        ({}, None),
    ],
)
def test_who_did_the_work_is_told_where_the_source_tells_it(told: dict[str, Any], person: str | None) -> None:
    [labels] = one(task(**told), Source(people={7: "bob@x.org"})).labels
    assert labels.by == person
    assert (labels.created_at, labels.updated_at) == ("2025-01-01T00:00:00Z",) * 2


def test_images_are_found_by_path_or_fetched_where_they_are_served() -> None:
    assert one(task()).missing and one(task()).url is None
    base = Source(base="https://there.example")
    assert one(task(), base).url == "/data/upload/3/0a1b2c3d-a.png"
    assert one(task(), base).name == "a.png"
    cloud = {"id": 9, "data": {"photo": "s3://bucket/deep/a.png"}, "annotations": []}
    assert str(one(cloud, base).url).startswith("/tasks/9/resolve/?fileuri=")
    remote = {"id": 9, "data": {"image": "https://x.org/deep/a.png?key=1"}, "annotations": []}
    assert one(remote).url == "https://x.org/deep/a.png?key=1" and one(remote).name == "deep/a.png"


def test_which_of_several_keys_is_the_image_is_not_guessed() -> None:
    row = {"id": 1, "data": {"left": "a.png", "right": "b.png"}, "annotations": []}
    assert one(row).problem == "the task's data names several images: left, right"
    assert one(row, Source(key="right")).name == "b.png"


def test_an_export_of_another_kind_is_refused(write: Write, read: Read) -> None:
    write("min.json", json.dumps([{"image": "/a.png", "label": [], "annotation_id": 3}]))
    with pytest.raises(IntakeError, match="export the project as JSON, not as JSON-MIN or CSV"):
        read()
