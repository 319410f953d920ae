"""Exports are what other tools read: their rules, by pycocotools and by hand, on odd names and labels."""

import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from labelloop.settings import Settings
from trainer.dataset.coco import runs
from trainer.dataset.export import export
from trainer.dataset.labelled import Corners, LabelledImages, SnapshotImage
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side

LABELS = (
    *(
        "on",
        "off",
        "null",
        "~",
        "1",
        "1.5",
        "0o17",
        "12:30:45",
        "a: b",
        "- c",
        "#d",
        "{e}",
        "[f]",
        "y",
        "true",
    ),
    *(
        'it\'s "quoted"',
        "back\\slash",
        "<g> & h",
        "猫",
        "😀 cat",
        "cat",
        "Cat",
        *(f"label {n}" for n in range(60)),
    ),
)
"""What YAML, XML and JSON might read as something else."""
NAMES = (
    *("A.png", "a.PNG", "caf\u00e9.png", "cafe\u0301.png", "CON.png", "nul.jpg", "dots.. .png", "dots...png"),
    *("a:b*?<>|\"'.png", "😀.png", f"{'long' * 50}.png", "negative.png", "clip.gif"),
)
WIDTH, HEIGHT = 200, 100
WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(10))}

Found = Mapping[int, set[tuple[str, Corners]]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(labelloop_home=tmp_path / "home")
    settings.images_dir.mkdir(parents=True)
    return settings


@pytest.fixture
def snapshot(settings: Settings) -> Snapshot:
    """An image for each of NAMES, with boxes of LABELS on all but the negative; every fourth is held out."""
    images = []
    for number, name in enumerate(NAMES, 1):
        Image.new("RGB", (WIDTH, HEIGHT), (number, 0, 0)).save(settings.images_dir / name)
        labels = () if name == "negative.png" else tuple(range(number * 6, number * 6 + 6))
        boxes = tuple((7.25 * n, 3.5 * n, 7.25 * n + 40.21 + n, 3.5 * n + 30.87) for n in range(len(labels)))
        side = Side.TRAIN if number % 4 else Side.HOLDOUT
        file, digest = f"volumes/images/{name}", f"{number:064d}"
        labels = tuple(label % len(LABELS) for label in labels)
        images.append(SnapshotImage(number, number, file, digest, WIDTH, HEIGHT, side, boxes, labels))
    return _snapshot(images)


def _snapshot(images: list[SnapshotImage]) -> Snapshot:
    labels = "".join(f"<Label value={quoteattr(label)}/>" for label in LABELS)
    config = (
        '<View><Image name="image" value="$image"/>'
        f'<RectangleLabels name="label" toName="image">{labels}</RectangleLabels></View>'
    )
    return Snapshot(1, config, LabelledImages(images), (), ())


def _same(found: Found, snapshot: Snapshot, tolerance: float) -> None:
    """Every image is there, and on it the same boxes: within so many pixels."""
    assert set(found) == {image.task for image in snapshot.images}
    for image in snapshot.images:
        wanted = sorted((LABELS[label], corners) for label, corners in image.boxes)
        got = sorted(found[image.task])
        assert [name for name, _ in got] == [name for name, _ in wanted]
        for (_, ours), (_, theirs) in zip(wanted, got, strict=True):
            assert theirs == pytest.approx(ours, abs=tolerance)


def _task(name: str) -> int:
    return int(name.partition("-")[0])


@pytest.mark.parametrize(
    ("layout", "images"), [("{side}.json", "."), ("annotations/instances_{side}.json", "images")]
)
def test_pycocotools_reads_coco(
    layout: str,
    images: str,
    snapshot: Snapshot,
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = export(snapshot, "coco", tmp_path / "out", settings)
    found = {}
    for side in ("train", "val"):
        coco = COCO(str(folder / layout.format(side=side)))
        coco.info()
        assert f"description: labelloop, project 1, {side}" in capsys.readouterr().out
        assert coco.getCatIds(catNms=["😀 cat"]) == [LABELS.index("😀 cat") + 1]
        assert coco.getCatIds(supNms=[""]) == list(range(1, len(LABELS) + 1))
        names = {row["id"]: row["name"] for row in coco.loadCats(coco.getCatIds())}
        for image in coco.loadImgs(coco.getImgIds()):
            assert (folder / images / image["file_name"]).is_file()
            found[image["task"]] = {
                (names[box["category_id"]], _corners(*box["bbox"]))
                for box in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
            }
        for box in coco.dataset["annotations"]:
            mask, (x, y, width, height) = coco.annToMask(box), box["bbox"]
            assert mask.shape == (HEIGHT, WIDTH)
            assert mask[int(y + height / 2), int(x + width / 2)] == 1
            assert mask.sum() == pytest.approx(box["area"], abs=width + height)
        rows = coco.dataset["annotations"]
        result = [
            {key: row[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.5} for row in rows
        ]
        assert len(coco.loadRes(result).anns) == len(rows)
    _same(found, snapshot, 0.011)


def _corners(x: float, y: float, width: float, height: float) -> Corners:
    return x, y, x + width, y + height


def test_coco_has_every_key_that_readers_ask_for(
    snapshot: Snapshot, settings: Settings, tmp_path: Path
) -> None:
    folder = export(snapshot, "coco", tmp_path / "out", settings)
    document = json.loads((folder / "train.json").read_text())
    assert list(document) == ["info", "licenses", "categories", "images", "annotations"]
    assert {"description", "version", "year", "contributor", "url", "date_created"} <= set(document["info"])
    assert all(set(row) == {"id", "name", "supercategory"} for row in document["categories"])
    first = document["annotations"][0]
    assert first["bbox"] == [0, 0, 40.21, 30.87] and first["iscrowd"] == 0
    assert first["segmentation"] == [[0, 0, 40.21, 0, 40.21, 30.87, 0, 30.87]]
    assert first["area"] == pytest.approx(40.21 * 30.87, abs=0.005)


def test_a_crowd_is_runs_that_pycocotools_fills() -> None:
    coco = COCO()
    coco.imgs = {1: {"height": HEIGHT, "width": WIDTH}}
    for x1, y1, x2, y2 in ((10, 20, 60, 90), (0, 0, WIDTH, HEIGHT), (199, 99, 200, 100), (5, 5, 5, 9)):
        mask = coco.annToMask({"image_id": 1, "segmentation": runs((x1, y1, x2, y2), WIDTH, HEIGHT)})
        assert mask.shape == (HEIGHT, WIDTH)
        assert mask.sum() == mask[y1:y2, x1:x2].sum() == (x2 - x1) * (y2 - y1)


def test_boxes_of_an_ignored_label_are_crowds_of_a_category_behind_the_classes(
    settings: Settings, tmp_path: Path
) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(settings.images_dir / "a.png")
    beside = ((0, (1.0, 1.0, 9.0, 9.0)), (1, (10.0, 20.0, 60.0, 90.0)))
    labels = '<Label value="person"/><Label value="crowd" ignore="true"/>'
    config = (
        '<View><Image name="image" value="$image"/>'
        f'<RectangleLabels name="label" toName="image">{labels}</RectangleLabels></View>'
    )
    image = SnapshotImage(
        1, 1, "volumes/images/a.png", "0" * 64, WIDTH, HEIGHT, Side.TRAIN, ((2, 2, 8, 8),), (0,), beside
    )
    made = Snapshot(1, config, LabelledImages([image]), (), ())
    coco = COCO(str(export(made, "coco", tmp_path / "out", settings) / "train.json"))
    assert [row["name"] for row in coco.loadCats(coco.getCatIds())] == ["person", "crowd"]
    crowds = coco.loadAnns(coco.getAnnIds(iscrowd=1))
    assert [(row["category_id"], row["bbox"]) for row in crowds] == [(1, [1, 1, 8, 8]), (2, [10, 20, 50, 70])]
    assert [int(coco.annToMask(row).sum()) for row in crowds] == [64, 3500]


def test_yolo_names_every_label_and_box_from_any_directory(
    snapshot: Snapshot, settings: Settings, tmp_path: Path
) -> None:
    folder = export(snapshot, "yolo", tmp_path / "out", settings)
    description = yaml.safe_load((folder / "data.yaml").read_bytes())
    assert description["names"] == dict(enumerate(LABELS))
    assert description["nc"] == len(LABELS)
    assert "path" not in description, "tools take the folder of data.yaml then"
    found: dict[int, set[tuple[str, Corners]]] = {}
    for side in ("train", "val"):
        assert not Path(description[side]).is_absolute()
        for image in (folder / description[side]).iterdir():
            text = (folder / "labels" / side / image.name).with_suffix(".txt").read_text()
            found[_task(image.name)] = {_of_yolo(line) for line in text.splitlines()}
    _same(found, snapshot, 0.011)


def _of_yolo(line: str) -> tuple[str, Corners]:
    label, *shares = line.split()
    x, y, width, height = map(float, shares)
    assert all(0 <= share <= 1 for share in (x, y, width, height))
    left, top = (x - width / 2) * WIDTH, (y - height / 2) * HEIGHT
    return LABELS[int(label)], (left, top, left + width * WIDTH, top + height * HEIGHT)


def test_yolo_has_the_folders_of_both_sides_while_nothing_is_held_out(
    snapshot: Snapshot, settings: Settings, tmp_path: Path
) -> None:
    images = [image for image in snapshot.images if image.side == Side.TRAIN]
    folder = export(_snapshot(images), "yolo", tmp_path / "out", settings)
    assert (folder / "images" / "val").is_dir() and (folder / "labels" / "val").is_dir()


def test_voc_counts_pixels_from_one_and_keeps_every_label(
    snapshot: Snapshot, settings: Settings, tmp_path: Path
) -> None:
    folder = export(snapshot, "voc", tmp_path / "out", settings)
    assert json.loads((folder / "dataset_meta.json").read_text()) == {"labels": list(LABELS)}
    found: dict[int, set[tuple[str, Corners]]] = {}
    for side in ("train", "val"):
        for stem in (folder / "ImageSets" / "Main" / f"{side}.txt").read_text().split():
            root = ElementTree.parse(folder / "Annotations" / f"{stem}.xml").getroot()
            assert (folder / str(root.findtext("folder")) / str(root.findtext("filename"))).is_file()
            size = [root.findtext(f"size/{tag}") for tag in ("width", "height", "depth")]
            assert size == [str(WIDTH), str(HEIGHT), "3"] and root.findtext("segmented") == "0"
            found[_task(stem)] = {_of_voc(entry) for entry in root.iter("object")}
    _same(found, snapshot, 0.5)


def _of_voc(entry: ElementTree.Element) -> tuple[str, Corners]:
    assert entry.findtext("difficult") == entry.findtext("truncated") == "0"
    x1, y1, x2, y2 = (int(str(entry.findtext(f"bndbox/{tag}"))) for tag in ("xmin", "ymin", "xmax", "ymax"))
    return str(entry.findtext("name")), (x1 - 1, y1 - 1, x2, y2)


def test_a_box_of_less_than_a_pixel_is_one_pixel_in_voc(settings: Settings, tmp_path: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(settings.images_dir / "a.png")
    boxes = ((10.6, 20.6, 10.9, 20.9), (199.7, 99.7, 200.0, 100.0))
    image = SnapshotImage(1, 1, "volumes/images/a.png", "0" * 64, WIDTH, HEIGHT, Side.TRAIN, boxes, (0, 0))
    folder = export(_snapshot([image]), "voc", tmp_path / "out", settings)
    root = ElementTree.parse(folder / "Annotations" / "000001-a.xml").getroot()
    corners = [corners for _, corners in map(_of_voc, root.iter("object"))]
    assert corners == [(11, 21, 12, 22), (199, 99, 200, 100)]


@pytest.mark.parametrize("format_name", ["coco", "yolo", "voc"])
def test_no_name_is_another_one_on_any_system(
    format_name: str, snapshot: Snapshot, settings: Settings, tmp_path: Path
) -> None:
    folder = export(snapshot, format_name, tmp_path / "out", settings)
    written = [path for path in folder.rglob("*") if path.suffix in (".png", ".jpg", ".txt", ".xml")]
    folded = {unicodedata.normalize("NFKC", str(path)).casefold() for path in written}
    assert len(folded) == len(written)
    images = [path for path in written if path.suffix in (".png", ".jpg")]
    assert sorted(_task(path.name) for path in images) == [image.task for image in snapshot.images]
    for path in written:
        assert path.name.isascii() and not set(path.name) & set('<>:"/\\|?* ')
        assert path.stem.casefold() not in WINDOWS_DEVICES and len(path.name) <= 100
