import base64
import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image
from support.a_project import a_row
from support.memory import traced_peak
from support.shapes import LABEL_CONFIG, picture

from labelloop.labels import LabelConfigError
from labelloop.settings import Settings
from labelloop.studio import Studio
from labelloop.task_images import resolve_task_image
from labelloop.verified import marked
from trainer.dataset.collector import newest_submitted
from trainer.dataset.left_out import Kind, LeftOut
from trainer.dataset.snapshot import Snapshot, SnapshotError, take
from trainer.dataset.split import Side

WHEN = "2026-11-22T18:00:0{}.000000Z"


class Labels:
    """The little of Label Studio that a snapshot asks for."""

    def __init__(self, settings: Settings, config: str = LABEL_CONFIG) -> None:
        self.settings = settings
        self.config = config
        self.interactive = True
        self.tasks: list[dict[str, Any]] = []

    def project(self, project_id: int) -> dict[str, Any]:
        backends = [{"url": "http://ours", "interactive": self.interactive}]
        return a_row(id=project_id, label_config=self.config, ml_backends=backends)

    def count_tasks(self, project_id: int, *conditions: object) -> int:
        return len(self.tasks)

    def annotated_tasks(self, project_id: int) -> Iterator[dict[str, Any]]:
        yield from self.tasks

    def add(self, name: str, content: bytes, *annotations: dict[str, Any]) -> dict[str, Any]:
        path = self.settings.images_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        url = f"/data/local-files/?d=images/{name}"
        task = {"id": len(self.tasks) + 1, "data": {"image": url}, "annotations": list(annotations)}
        self.tasks.append(task)
        return task

    def add_picture(self, seed: int) -> None:
        made = picture(seed)
        self.add(f"{seed}.png", png(made.image), annotation(made.annotation()))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Any share of the images may be missing."""
    return Settings(labelloop_home=tmp_path, missing_percent=100)


@pytest.fixture
def labels(settings: Settings) -> Labels:
    return Labels(settings)


def png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def annotation(
    result: list[dict[str, object]], second: int = 0, cancelled: bool = False, identity: int = 1
) -> dict[str, Any]:
    when = WHEN.format(second)
    return {
        "id": identity,
        "result": result,
        "was_cancelled": cancelled,
        "created_at": when,
        "updated_at": when,
    }


def rectangle(
    x: float, y: float, width: float, height: float, label: str = "ball", **value: float
) -> dict[str, object]:
    box = {"x": x, "y": y, "width": width, "height": height, "rectanglelabels": [label], **value}
    return {"id": "r", "from_name": "label", "to_name": "image", "type": "rectanglelabels", "value": box}


def taken(labels: Labels, folder: Path | None = None) -> Snapshot:
    where = folder or labels.settings.rounds_dir / "00001"
    return take(cast(Studio, labels), 1, labels.settings, where, lambda fraction, words: None)


def test_images_boxes_and_sides_are_frozen_in_the_rounds_folder(labels: Labels) -> None:
    for seed in range(10):
        labels.add_picture(seed)
    snapshot = taken(labels)
    assert snapshot.classes == ["ball", "crate"]
    assert (len(snapshot.train), len(snapshot.holdout), snapshot.labelled) == (8, 2, 10)
    first = next(iter(snapshot.images))
    expected = picture(0)
    assert first.file == "volumes/images/0.png" and (first.width, first.height) == expected.image.size
    assert first.sha256 == sha256((labels.settings.labelloop_home / first.file).read_bytes()).hexdigest()
    assert [
        (*(round(side) for side in box), label) for box, label in zip(first.xyxy, first.labels, strict=True)
    ] == list(expected.boxes)
    assert Snapshot.load(labels.settings.rounds_dir / "00001") == snapshot


@pytest.mark.parametrize("interactive", [True, False])
def test_whether_clicks_were_answered_is_frozen_too(labels: Labels, interactive: bool) -> None:
    labels.interactive = interactive
    for seed in range(5):
        labels.add_picture(seed)
    folder = labels.settings.rounds_dir / "00001"
    assert taken(labels).clicks is Snapshot.load(folder).clicks is interactive
    of_then = folder / "snapshot.json"
    of_then.write_text(of_then.read_text().replace('"asks_at_clicks"', '"of no earlier release"'))
    assert Snapshot.load(folder).clicks


def test_a_folder_that_has_a_snapshot_keeps_it(labels: Labels) -> None:
    labels.add_picture(1)
    first = taken(labels)
    labels.add_picture(2)
    assert taken(labels) == first
    assert taken(labels, labels.settings.rounds_dir / "00002").labelled == 2


def test_nothing_trained_on_is_ever_held_out(labels: Labels) -> None:
    seen_in_training: set[str] = set()
    for number in range(1, 8):
        for seed in range(5):
            labels.add_picture(10 * number + seed)
        snapshot = taken(labels, labels.settings.rounds_dir / str(number))
        assert not seen_in_training & {image.sha256 for image in snapshot.holdout}
        seen_in_training |= {image.sha256 for image in snapshot.train}
        assert len(snapshot.holdout) == number


def test_what_was_verified_is_trained_on_with_the_rest_and_never_held_out(labels: Labels) -> None:
    for seed in range(15):
        labels.add_picture(seed)
    for task in labels.tasks[:10]:
        shown = task["annotations"][0]
        shown["result"] = [marked({"id": "r", **row}, "ann@example.org", 0.0) for row in shown["result"]]
    snapshot = taken(labels)
    assert (len(snapshot.train), len(snapshot.holdout)) == (14, 1)
    assert {image.task for image in snapshot.holdout} <= {task["id"] for task in labels.tasks[10:]}
    assert snapshot.boxes == sum(len(picture(seed).boxes) for seed in range(15))


def test_the_newest_submitted_annotation_wins_and_a_skipped_one_does_not_count() -> None:
    old, new = annotation([], 1, identity=9), annotation([], 2, identity=3)
    skipped = annotation([], 3, cancelled=True, identity=10)
    assert newest_submitted([old, new, skipped]) is new
    assert newest_submitted([skipped]) is None
    assert newest_submitted([]) is None


def test_an_empty_annotation_makes_a_negative(labels: Labels) -> None:
    labels.add_picture(1)
    labels.add("nothing.png", png(picture(2).image), annotation([]))
    snapshot = taken(labels)
    assert [len(image.labels) for image in snapshot.images][1] == 0
    assert snapshot.labelled == 2


def test_what_cannot_be_read_is_listed_with_its_reason_and_hurts_nothing_else(labels: Labels) -> None:
    whole = png(picture(1).image)
    box = annotation([rectangle(10, 10, 20, 20)])
    labels.add("good name 好 '.png", whole, box)
    labels.add("truncated.png", png(picture(2).image)[:60], box)
    labels.add("empty.jpg", b"", box)
    labels.add("text.png", b"no image at all", box)
    gone = labels.add("gone.png", png(picture(3).image), box)
    (labels.settings.images_dir / "gone.png").unlink()
    labels.tasks.append({"id": 99, "data": {}, "annotations": [box]})
    snapshot = taken(labels)
    assert [image.file for image in snapshot.images] == ["volumes/images/good name 好 '.png"]
    assert [row.task for row in snapshot.skipped] == [2, 3, 4, gone["id"], 99]
    assert all(row.reason for row in snapshot.skipped)


def test_what_breaks_off_is_used_as_it_is_shown_with_a_warning(labels: Labels) -> None:
    labels.add("cut.png", png(picture(2).image)[:-100], annotation([rectangle(10, 10, 20, 20)]))
    snapshot = taken(labels)
    assert (snapshot.labelled, snapshot.skipped) == (1, ())
    assert any(warning.startswith("task 1: images/cut.png: cut off: ") for warning in snapshot.warnings), (
        snapshot.warnings
    )


def test_what_is_left_out_is_named_without_its_bytes_and_without_its_key(
    labels: Labels, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = annotation([rectangle(10, 10, 20, 20)])
    labels.add("whole.png", png(picture(1).image), box)
    inline = "data:image/png;base64," + base64.b64encode(b"no image" * 100_000).decode()
    signed = "https://example.org/a.png?X-Amz-Signature=secret"
    labels.tasks += [
        {"id": task, "data": {"image": url}, "annotations": [box]} for task, url in ((2, inline), (3, signed))
    ]
    real = resolve_task_image
    monkeypatch.setattr(
        "trainer.dataset.examine.resolve_task_image",
        lambda url, *rest: b"no image" if url == signed else real(url, *rest),
    )
    one, other = taken(labels).skipped
    assert (one.url, other.url) == ("data: URI", "https://example.org/a.png")
    assert all(row.reason == f"{row.url}: not an image of a kind we read" for row in (one, other))


def test_boxes_are_in_pixels_of_the_image_as_a_browser_shows_it(labels: Labels) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = BytesIO()
    Image.new("RGB", (200, 100), "grey").save(buffer, "JPEG", exif=exif)
    labels.add("turned.jpg", buffer.getvalue(), annotation([rectangle(50, 25, 50, 50)]))
    (image,) = taken(labels).images
    assert (image.width, image.height) == (100, 200)
    assert image.xyxy == ((50.0, 50.0, 100.0, 150.0),)


def test_a_rotated_rectangle_becomes_its_axis_aligned_hull(labels: Labels) -> None:
    labels.add(
        "a.png", png(Image.new("RGB", (100, 100))), annotation([rectangle(50, 20, 30, 10, rotation=90)])
    )
    (image,) = taken(labels).images
    assert image.xyxy[0] == pytest.approx((40, 20, 50, 50), abs=0.02)


def test_an_image_with_an_unknown_label_is_left_out_and_an_unused_label_is_warned_of(labels: Labels) -> None:
    image = png(picture(1).image)
    labels.add("a.png", image, annotation([rectangle(1, 1, 20, 20), rectangle(1, 1, 20, 20, label="cow")]))
    labels.add("b.png", png(picture(2).image), annotation([rectangle(1, 1, 20, 20)]))
    snapshot = taken(labels)
    assert [image.task for image in snapshot.images] == [2]
    reason = "region r: label 'cow' is not in the label config"
    assert snapshot.skipped == (LeftOut(1, "images/a.png", Kind.UNKNOWN_LABEL, reason, ("cow",)),)
    assert snapshot.warnings == ("label 'crate' has no box in the training images",)


def test_of_tasks_with_the_same_bytes_the_newest_annotation_counts(labels: Labels) -> None:
    content = png(picture(1).image)
    labels.add("a.png", content, annotation([rectangle(10, 10, 20, 20)], 5))
    labels.add("b.png", content, annotation([rectangle(40, 40, 20, 20)], 3))
    snapshot = taken(labels)
    assert [image.task for image in snapshot.images] == [1]
    assert snapshot.skipped[0].task == 2 and "same bytes" in snapshot.skipped[0].reason


def test_an_image_over_http_is_kept_in_the_cache(labels: Labels, monkeypatch: pytest.MonkeyPatch) -> None:
    content = png(picture(1).image)
    monkeypatch.setattr(
        "trainer.dataset.examine.resolve_task_image", lambda url, settings, task_id, fetch: content
    )
    box = annotation([rectangle(10, 10, 20, 20)])
    labels.tasks.append({"id": 1, "data": {"image": "https://example.org/a.png?x=1"}, "annotations": [box]})
    (image,) = taken(labels).images
    assert image.file == f"volumes/cache/images/{image.sha256}.png"
    assert (labels.settings.labelloop_home / image.file).read_bytes() == content


def test_the_fingerprint_follows_bytes_boxes_and_sides_but_not_order_and_names(labels: Labels) -> None:
    labels.add_picture(1)
    labels.add_picture(2)
    snapshot = taken(labels)
    other = Labels(labels.settings)
    other.tasks = labels.tasks[::-1]
    assert taken(other, labels.settings.rounds_dir / "b").fingerprint == snapshot.fingerprint
    labels.tasks[0]["annotations"][0]["result"] = [rectangle(1, 1, 50, 50)]
    assert taken(labels, labels.settings.rounds_dir / "c").fingerprint != snapshot.fingerprint


def test_with_nothing_to_train_on_the_reason_is_said(labels: Labels) -> None:
    with pytest.raises(SnapshotError, match="0 labelled images"):
        taken(labels)
    labels.add("broken.png", b"", annotation([rectangle(1, 1, 5, 5)]))
    with pytest.raises(SnapshotError, match="the file is empty"):
        taken(labels)
    labels.add("negative.png", png(picture(1).image), annotation([]))
    with pytest.raises(SnapshotError, match="has a box"):
        taken(labels)
    assert not (labels.settings.rounds_dir / "00001" / "snapshot.json").exists()


def test_a_project_without_boxes_is_refused(settings: Settings) -> None:
    with pytest.raises(LabelConfigError):
        taken(Labels(settings, "<View><Text name='t' value='$t'/></View>"))


def test_the_coco_file_holds_one_sides_images_in_cocos_terms(labels: Labels) -> None:
    import json

    for seed in range(5):
        labels.add_picture(seed)
    snapshot = taken(labels)
    document = json.loads("".join(snapshot.coco_lines(snapshot.train)))
    assert [category["name"] for category in document["categories"]] == ["ball", "crate"]
    assert len(document["images"]) == 4
    assert {row["image_id"] for row in document["annotations"]} <= {row["id"] for row in document["images"]}
    assert all(image.side is Side.TRAIN for image in snapshot.train)


def test_a_file_whose_name_is_not_in_utf_8_is_left_out_and_the_rest_can_be_read(
    labels: Labels,
) -> None:
    for seed in range(4):
        labels.add_picture(seed)
    named = labels.settings.images_dir / "0.png"
    named.symlink_to(named.rename(named.with_name(os.fsdecode(b"b\xe4r.orig"))))
    labels.add("gone.png", b"", annotation([]))["data"]["image"] = "/data/local-files/?d=images/\ud800.png"
    folder = labels.settings.rounds_dir / "00001"
    snapshot = taken(labels, folder)
    assert [image.task for image in snapshot.images] == [2, 3, 4]
    first, second = snapshot.skipped
    assert (first.task, second.task) == (1, 5)
    assert "b\\udce4r.orig: the file's name is not in UTF-8; rename it" in first.reason
    assert second.url and "\\ud800" in second.url
    assert Snapshot.load(folder).skipped == snapshot.skipped


def test_taking_writing_and_reading_take_no_more_memory_for_more_images(labels: Labels) -> None:
    def peak(count: int) -> int:
        while len(labels.tasks) < count:
            number = len(labels.tasks)
            labels.add(f"{number}.png", content + str(number).encode(), annotation(boxes))
        folder = labels.settings.rounds_dir / str(count)

        def written_and_read() -> None:
            taken(labels, folder)
            assert Snapshot.load(folder).boxes == 3 * count

        return traced_peak(written_and_read)

    content, boxes = png(Image.new("RGB", (40, 30))), [rectangle(30 * n, 10, 20, 20) for n in range(3)]
    peak(100)  # what is imported and cached once
    small, large = peak(250), peak(1_000)
    assert large < small + 300_000


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda text: text[: len(text) // 2], "no JSON"),
        (lambda text: "", "no JSON"),
        (lambda text: "[]", "KeyError"),
        (lambda text: text.replace('"image_id": 1', '"image_id": 77'), "order"),
        (lambda text: text.replace('"id": 2, "file_name"', '"id": 1, "file_name"'), "id 1"),
        (lambda text: text.replace('"side": "train"', '"side": "left"'), "left"),
    ],
)
def test_a_damaged_snapshot_is_named_with_the_way_out(
    labels: Labels, damage: Callable[[str], str], why: str
) -> None:
    labels.add_picture(1)
    labels.add_picture(2)
    taken(labels)
    file = labels.settings.rounds_dir / "00001" / "snapshot.json"
    file.write_text(damage(file.read_text()))
    with pytest.raises(SnapshotError, match=rf"snapshot\.json is damaged .*{why}.*make retrain"):
        taken(labels)


def test_a_snapshot_of_any_layout_can_be_read(labels: Labels) -> None:
    import json

    labels.add_picture(1)
    labels.add_picture(2)
    snapshot = taken(labels)
    folder = labels.settings.rounds_dir / "00001"
    rows = json.loads((folder / "snapshot.json").read_text())
    (folder / "snapshot.json").write_text(json.dumps(dict(reversed(rows.items())), indent=2))
    assert Snapshot.load(folder) == snapshot
