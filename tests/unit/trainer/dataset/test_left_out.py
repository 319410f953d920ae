"""What a snapshot does not use: choices and labels that say so, junk, images that are away, renamed
labels.
"""

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image
from support.a_project import a_row

from labelloop.settings import Settings
from labelloop.studio import Studio
from trainer.dataset.left_out import ABOUT, Kind, LeftOut, by_kind
from trainer.dataset.snapshot import Snapshot, SnapshotError, collect, take

CONFIG = """<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image">
    <Label value="ball"/><Label value="crate"/><Label value="crowd" ignore="true"/>
  </RectangleLabels>
  <Choices name="quality" toName="image"><Choice value="Unusable" exclude="true"/><Choice
value="dusk"/></Choices> </View>
  """
UNUSABLE = {"id": "c", "from_name": "quality", "to_name": "image", "type": "choices",
            "value": {"choices": ["Unusable"]}}  # fmt: skip
DUSK = {**UNUSABLE, "value": {"choices": ["dusk"]}}


def box(x: float, y: float, width: float, height: float, label: str = "ball") -> dict[str, Any]:
    """In pixels of the images of these tests, 200 by 100."""
    value = {"x": x / 2, "y": y, "width": width / 2, "height": height, "rectanglelabels": [label]}
    return {"id": "r", "from_name": "label", "to_name": "image", "type": "rectanglelabels", "value": value}


class Project:
    """The little of Label Studio that a snapshot asks for, and the folder of the images."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(labelloop_home=home)
        self.settings.images_dir.mkdir(parents=True)
        self.tasks: list[dict[str, Any]] = []

    def project(self, project_id: int) -> dict[str, Any]:
        return a_row(id=project_id, label_config=CONFIG)

    def count_tasks(self, project_id: int, *conditions: object) -> int:
        return len(self.tasks)

    def annotated_tasks(self, project_id: int) -> Iterator[dict[str, Any]]:
        yield from self.tasks

    def label(self, *results: dict[str, Any], there: bool = True) -> int:
        """The number of a new task with these results. there: whether its image is."""
        number = len(self.tasks) + 1
        if there:
            buffer = BytesIO()
            Image.new("RGB", (200, 100), (number, 0, 0)).save(buffer, "PNG")
            (self.settings.images_dir / f"{number}.png").write_bytes(buffer.getvalue())
        data = {"image": f"/data/local-files/?d=images/{number}.png"}
        annotation = {"id": number, "result": list(results), "created_at": "2026-11-22T18:00:00Z"}
        self.tasks.append({"id": number, "data": data, "annotations": [annotation]})
        return number

    def taken(self, to_train: bool = True) -> Snapshot:
        folder = self.settings.rounds_dir / "00001"
        (folder / "snapshot.json").unlink(missing_ok=True)
        studio = cast(Studio, self)
        if to_train:
            return take(studio, 1, self.settings, folder, lambda fraction, text: None)
        return collect(studio, 1, self.settings, lambda fraction, text: None)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_an_image_with_an_excluding_choice_is_neither_trained_on_nor_held_out(project: Project) -> None:
    project.label(box(10, 10, 50, 50))
    project.label(UNUSABLE)
    project.label(box(10, 10, 50, 50), UNUSABLE)
    (project.settings.images_dir / "3.png").unlink()  # no reason to fetch it, either
    snapshot = project.taken()
    assert [image.task for image in snapshot.images] == [1]
    assert [(row.task, row.kind, row.reason) for row in snapshot.skipped] == [
        (2, Kind.EXCLUDED, "'Unusable' is ticked"),
        (3, Kind.EXCLUDED, "'Unusable' is ticked"),
    ]


def test_a_choice_without_a_meaning_on_an_image_without_a_box_is_warned_of(project: Project) -> None:
    project.label(box(10, 10, 50, 50), DUSK)
    project.label(DUSK)
    project.label(DUSK)
    snapshot = project.taken()
    assert [len(image.labels) for image in snapshot.images] == [1, 0, 0]
    [warning] = [text for text in snapshot.warnings if "dusk" in text]
    assert warning.startswith("2 images without a box") and 'exclude="dusk"' in warning


def test_boxes_of_an_ignore_label_are_no_truth_and_survive_the_file_as_iscrowd(project: Project) -> None:
    project.label(box(10, 10, 50, 50), box(100, 10, 80, 80, "crowd"))
    snapshot = project.taken()
    assert snapshot.classes == ["ball", "crate"]
    [image] = snapshot.images
    assert (image.labels, image.xyxy) == ((0,), ((10.0, 10.0, 60.0, 60.0),))
    assert image.ignored == ((2, (100.0, 10.0, 180.0, 90.0)),)
    assert Snapshot.load(project.settings.rounds_dir / "00001") == snapshot
    exported = json.loads("".join(snapshot.coco_lines(snapshot.images)))
    assert [(row["category_id"], row["iscrowd"]) for row in exported["annotations"]] == [(1, 0), (3, 1)]
    assert [row["name"] for row in exported["categories"]] == ["ball", "crate", "crowd"]
    (project.tasks[0]["annotations"][0]["result"]).pop()
    assert project.taken().fingerprint != snapshot.fingerprint


@pytest.mark.parametrize(
    ("results", "kinds"),
    [
        ([box(300, 10, 20, 20)], [Kind.OUTSIDE]),
        ([box(20, 20, 2, 2)], [Kind.SPECK]),
        ([box(20, 20, 0.5, 0.5)], [Kind.SPECK]),
        ([box(20, 20, 1, 70)], [Kind.SLIVER]),
        ([box(102, 12, 46, 46), box(100, 10, 50, 50)], [Kind.NESTED]),
        ([box(300, 10, 20, 20), box(20, 20, 1, 70)], [Kind.OUTSIDE, Kind.SLIVER]),
    ],
)
def test_junk_boxes_are_listed_and_the_image_is_used(
    project: Project, results: list[dict[str, Any]], kinds: list[Kind]
) -> None:
    project.label(box(100, 10, 80, 80, "crate"), *results)
    snapshot = project.taken()
    assert len(snapshot.images) == 1 and snapshot.skipped == ()
    assert [(row.task, row.url, row.kind) for row in snapshot.boxes_left_out] == [
        (1, "images/1.png", kind) for kind in kinds
    ]
    assert Snapshot.load(project.settings.rounds_dir / "00001").boxes_left_out == snapshot.boxes_left_out


def test_an_image_with_nothing_but_junk_is_left_out_not_made_a_negative(project: Project) -> None:
    project.label(box(10, 10, 50, 50))
    project.label(box(20, 20, 1, 70))
    project.label(box(300, 10, 20, 20), box(20, 20, 0.2, 9))
    snapshot = project.taken()
    assert [image.task for image in snapshot.images] == [1]
    assert [(row.task, row.kind) for row in snapshot.skipped] == [(2, Kind.ONLY_JUNK), (3, Kind.ONLY_JUNK)]
    assert snapshot.boxes_left_out == ()


def test_a_snapshot_that_lacks_more_than_two_percent_of_the_images_does_not_train(project: Project) -> None:
    for number in range(49):
        project.label(box(10, 10, 50, 50), there=number != 7)
    with pytest.raises(
        SnapshotError, match=r"1 of 49 labelled images could not be had, more than 2 % .*"
    ) as told:
        project.taken()
    for said in ("task 8: images/8.png: there is no file", "make retrain", "MISSING_PERCENT=100"):
        assert said in str(told.value)
    assert not (project.settings.models_dir / "1" / "split.json").exists(), "no side is settled for a part"
    assert project.taken(to_train=False).labelled == 48, "an export is written without it"
    project.label(box(10, 10, 50, 50))
    assert [(row.task, row.kind) for row in project.taken().skipped] == [(8, Kind.AWAY)], (
        "1 of 50 may be away"
    )


def test_what_an_excluding_choice_leaves_out_does_not_count_as_missing(project: Project) -> None:
    project.label(box(10, 10, 50, 50))
    project.label(UNUSABLE, there=False)
    assert project.taken().labelled == 1


def test_a_renamed_label_stops_the_round_with_the_way_out(project: Project) -> None:
    for _ in range(9):
        project.label(box(10, 10, 50, 50))
    for _ in range(3):
        project.label(box(10, 10, 50, 50, "cat"), box(80, 10, 50, 50, "ball"))
    with pytest.raises(SnapshotError) as told:
        project.taken()
    for said in (
        "'cat' in 3 labelled images",
        "it has 'ball', 'crate'",
        "`make labels RENAME='cat=<new name>' PROJECT=1`",
    ):
        assert said in str(told.value)
    assert [row.labels for row in project.taken(to_train=False).skipped] == [("cat",)] * 3


def test_a_renamed_control_stops_the_round_and_a_few_such_annotations_do_not(project: Project) -> None:
    for _ in range(3):
        project.label({**box(10, 10, 50, 50), "from_name": "former"})
    for _ in range(2):
        project.label(box(10, 10, 50, 50))
    with pytest.raises(SnapshotError) as told:
        project.taken()
    for said in (
        "3 of 5 labelled images could not be understood",
        "task 1: region",
        "made by 'former', which the label config does not have",
        "put it back",
    ):
        assert said in str(told.value)
    project.label(box(10, 10, 50, 50))
    assert [row.kind for row in project.taken().skipped] == [Kind.REGION] * 3


def test_a_slip_in_two_images_stops_nothing_and_is_named(project: Project) -> None:
    project.label(box(10, 10, 50, 50))
    for _ in range(2):
        project.label(box(10, 10, 50, 50, "bal"))
    snapshot = project.taken()
    assert [(row.task, row.kind, row.labels) for row in snapshot.skipped] == [
        (2, Kind.UNKNOWN_LABEL, ("bal",)),
        (3, Kind.UNKNOWN_LABEL, ("bal",)),
    ]


def test_a_snapshot_of_an_earlier_version_is_read(project: Project) -> None:
    project.label(box(10, 10, 50, 50))
    project.taken()
    file = project.settings.rounds_dir / "00001" / "snapshot.json"
    rows = json.loads(file.read_text())
    del rows["boxes_left_out"]
    rows["skipped"] = [{"task": 7, "url": None, "reason": "images/7.png: the file is empty"}]
    file.write_text(json.dumps(rows))
    read = Snapshot.load(file.parent)
    assert read.skipped == (LeftOut(7, None, Kind.EARLIER, "images/7.png: the file is empty"),)
    assert read.boxes_left_out == () and read.labelled == 1


def test_every_reason_has_words_and_a_way_out_and_rows_keep_their_order() -> None:
    assert set(ABOUT) == set(Kind)
    assert all(about.title and about.explanation and about.way_out for about in ABOUT.values())
    rows = [
        LeftOut(2, None, Kind.AWAY, "x"),
        LeftOut(1, None, Kind.REGION, "y"),
        LeftOut(1, None, Kind.AWAY, "z"),
    ]
    assert by_kind(rows) == {Kind.REGION: [rows[1]], Kind.AWAY: [rows[0], rows[2]]}
