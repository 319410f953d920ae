import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from support.shapes import LABEL_CONFIG, picture

from labelloop.images import read_image
from labelloop.settings import Settings
from trainer.dataset.export import FORMATS, ExportError, export
from trainer.dataset.labelled import LabelledImages, SnapshotImage
from trainer.dataset.left_out import Kind, LeftOut
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side

BOX = (20.0, 30.0, 60.0, 90.0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(labelloop_home=tmp_path / "home")
    settings.images_dir.mkdir(parents=True)
    return settings


@pytest.fixture
def snapshot(settings: Settings) -> Snapshot:
    """Four images of 200 x 100 pixels: three to train on, one turned by EXIF; one held out, without a box."""
    names = ("a b '好.png", "b.PNG", "turned.jpg", "held.png")
    images = []
    for number, name in enumerate(names, 1):
        content = picture(number, (200, 100)).image
        if name == "turned.jpg":
            exif = Image.Exif()
            exif[0x0112] = 6
            picture(number, (100, 200)).image.save(settings.images_dir / name, exif=exif)
        else:
            content.save(settings.images_dir / name)
        side, boxes = (Side.TRAIN, (BOX,)) if number < 4 else (Side.HOLDOUT, ())
        file = f"volumes/images/{name}"
        images.append(
            SnapshotImage(
                number, 10 + number, file, f"{number:064d}", 200, 100, side, boxes, (1,) * len(boxes)
            )
        )
    return Snapshot(1, LABEL_CONFIG, LabelledImages(images), (LeftOut(9, "", Kind.UNREADABLE, "empty"),), ())


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        assert image.getexif().get(0x0112, 1) == 1, "nothing is left for a reader to turn"
        return image.size


def test_coco(snapshot: Snapshot, settings: Settings, tmp_path: Path) -> None:
    folder = export(snapshot, "coco", tmp_path / "out", settings)
    train = json.loads((folder / "train.json").read_text())
    val = json.loads((folder / "val.json").read_text())
    assert [len(train["images"]), len(val["images"]), len(train["annotations"]), len(val["annotations"])] == [
        3,
        1,
        3,
        0,
    ]
    for row in train["images"] + val["images"]:
        assert size_of(folder / row["file_name"]) == (200, 100)
    assert train["annotations"][0]["bbox"] == [20, 30, 40, 60]
    names = {category["id"]: category["name"] for category in train["categories"]}
    assert names[train["annotations"][0]["category_id"]] == "crate"


def test_an_ignored_box_is_a_crowd_in_coco_and_in_no_other_format(
    snapshot: Snapshot, settings: Settings, tmp_path: Path
) -> None:
    first, *rest = snapshot.images
    ignoring = replace(first, ignored=((0, (100.0, 10.0, 150.0, 60.0)),))
    changed = replace(snapshot, images=LabelledImages([ignoring, *rest]))
    folders = {name: export(changed, name, tmp_path / name, settings) for name in FORMATS}
    rows = json.loads((folders["coco"] / "train.json").read_text())["annotations"]
    assert [(row["image_id"], row["category_id"], row["iscrowd"]) for row in rows][:2] == [
        (1, 2, 0),
        (1, 1, 1),
    ]
    assert rows[1]["bbox"] == [100.0, 10.0, 50.0, 50.0] and len(rows) == 4
    labels = next((folders["yolo"] / "labels" / "train").glob("000011*"))
    assert len(labels.read_text().splitlines()) == 1
    assert next((folders["voc"] / "Annotations").glob("000011*")).read_text().count("<object>") == 1


def test_yolo(snapshot: Snapshot, settings: Settings, tmp_path: Path) -> None:
    folder = export(snapshot, "yolo", tmp_path / "out", settings)
    labels = sorted((folder / "labels" / "train").iterdir())
    assert [path.read_text() for path in labels] == ["1 0.20000000 0.60000000 0.20000000 0.60000000\n"] * 3
    for path in labels:
        assert len(list((folder / "images" / "train").glob(f"{path.stem}.*"))) == 1
    (negative,) = (folder / "labels" / "val").iterdir()
    assert negative.read_text() == ""
    assert '  1: "crate"' in (folder / "data.yaml").read_text()


def test_voc(snapshot: Snapshot, settings: Settings, tmp_path: Path) -> None:
    folder = export(snapshot, "voc", tmp_path / "out", settings)
    stems = (folder / "ImageSets" / "Main" / "train.txt").read_text().split()
    assert len(stems) == 3 and len((folder / "ImageSets" / "Main" / "val.txt").read_text().split()) == 1
    for stem in stems:
        root = ElementTree.parse(folder / "Annotations" / f"{stem}.xml").getroot()
        assert (folder / "JPEGImages" / str(root.findtext("filename"))).is_file()
        assert root.findtext("object/name") == "crate"
        corners = [root.findtext(f"object/bndbox/{tag}") for tag in ("xmin", "ymin", "xmax", "ymax")]
        assert corners == ["21", "31", "60", "90"]


@pytest.mark.parametrize("name", FORMATS)
def test_an_image_that_exif_turns_is_written_upright(
    name: str, snapshot: Snapshot, settings: Settings, tmp_path: Path
) -> None:
    folder = export(snapshot, name, tmp_path / "out", settings)
    (written,) = folder.rglob("*turned.jpg")
    difference = read_image(written).astype(int) - read_image(settings.images_dir / "turned.jpg").astype(int)
    assert abs(difference).mean() < 8


@pytest.mark.parametrize("name", FORMATS)
def test_what_cannot_be_read_is_listed(
    name: str, snapshot: Snapshot, settings: Settings, tmp_path: Path
) -> None:
    (settings.images_dir / "b.PNG").write_bytes(b"")
    skipped = (export(snapshot, name, tmp_path / "out", settings) / "skipped.txt").read_text().splitlines()
    assert skipped[0] == "task 9: empty" and skipped[1].startswith("task 12: ")


def test_an_unknown_format_and_a_folder_that_holds_something_are_refused(
    snapshot: Snapshot, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="coco, yolo, voc"):
        export(snapshot, "csv", tmp_path / "out", settings)
    with pytest.raises(ExportError, match="not empty"):
        export(snapshot, "coco", settings.images_dir, settings)
    assert not (tmp_path / "out").exists()
