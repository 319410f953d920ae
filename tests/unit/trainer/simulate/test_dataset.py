"""A COCO folder as a simulation reads it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import shapes
from support.coco import write_coco
from support.versions import add_version

from labelloop.boxes import Boxes
from labelloop.labels import LabelConfig, LabelMap, parse_label_config
from labelloop.registry import ProjectModels
from trainer.dataset.split import Side
from trainer.env import TrainerSettings
from trainer.judging.effort import Work
from trainer.judging.evaluate import evaluate
from trainer.simulate.dataset import Dataset, label_config
from trainer.simulate.errors import DatasetError
from trainer.simulate.models import Scorer
from trainer.simulate.options import Person


class Oracle:
    """Finds what is true."""

    classes = ("ball", "crate")
    version = "v0001"
    card = None
    batch_size = 4

    def __init__(self, dataset: Dataset) -> None:
        self._truths = [image.boxes for image in dataset.test]
        self.looked_at = 0

    def label_map(self, config: LabelConfig) -> LabelMap:
        return LabelMap.build(self.classes, config, trained=True)

    def predict(self, images: list[np.ndarray[Any, Any]]) -> list[Boxes]:
        self.looked_at += len(images)
        return self._truths[: len(images)]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    write_coco(tmp_path, "train", 0, 4)
    write_coco(tmp_path, "test", 10, 3)
    return tmp_path


def test_boxes_are_those_of_the_files(coco: Path) -> None:
    dataset = Dataset.load(coco, {})
    assert dataset.label_config.names == ["ball", "crate"]
    assert [image.name for image in dataset.test] == ["shape-010.png", "shape-011.png", "shape-012.png"]
    picture = shapes.picture(0)
    assert dataset.train[0].boxes.xyxy.tolist() == [[float(v) for v in box[:4]] for box in picture.boxes]
    assert dataset.train[0].boxes.labels.tolist() == [box[4] for box in picture.boxes]


def test_an_image_without_boxes_and_crowds(coco: Path) -> None:
    crowd = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [0, 0, 9, 9], "iscrowd": 1}
    write_coco(coco, "train", 0, 4, annotations=[crowd])
    assert [len(image.boxes) for image in Dataset.load(coco, {}).train] == [0, 0, 0, 0]


def test_no_test_image_is_labelled(coco: Path) -> None:
    twin = coco / "images" / "shape-000.png"
    twin.write_bytes((coco / "images" / "shape-010.png").read_bytes())
    dataset = Dataset.load(coco, {})
    assert dataset.left_out == ("shape-000.png",)
    assert len(dataset.train) == 3


def test_the_label_config_names_predicted_values() -> None:
    config = parse_label_config(label_config(["raccoon", 'a "b" & c'], {"raccoon": "cat,dog"}))
    assert config.names == ["raccoon", 'a "b" & c']
    assert config.labels[0].predicted_values == ("cat", "dog")


def test_the_test_snapshot_scores_the_truth_as_perfect(coco: Path, home: Path) -> None:
    dataset = Dataset.load(coco, {})
    snapshot = dataset.test_snapshot()
    assert {image.side for image in snapshot.images} == {Side.HOLDOUT}

    found = evaluate(Oracle(dataset), snapshot, TrainerSettings(), lambda f, text: None)  # type: ignore[arg-type]
    assert found.mAP == pytest.approx(1.0)
    assert found.images == 3


def test_no_model_is_scored_without_a_test_image(
    coco: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset.load(coco, {})
    monkeypatch.setattr("trainer.simulate.models.load_detector", lambda folder, settings: Oracle(dataset))
    models = ProjectModels(home / "models")
    add_version(models, home / "made")
    (coco / "images" / "shape-011.png").unlink()
    with pytest.raises(DatasetError, match=r"test images .*shape-011\.png"):
        Scorer(dataset, TrainerSettings(), Person()).score(models, "v0000", lambda f, text: None)


def test_each_image_is_looked_at_once_by_each_version(
    coco: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle finds what is true on the test images, and the same boxes on the others, where they are
    wrong.
    """
    dataset = Dataset.load(coco, {})
    oracle = Oracle(dataset)
    monkeypatch.setattr("trainer.simulate.models.load_detector", lambda folder, settings: oracle)
    models = ProjectModels(home / "models")
    version = add_version(models, home / "made", round_id=1)
    scorer = Scorer(dataset, TrainerSettings(), Person())
    for _ in range(2):
        score = scorer.score(models, version, lambda f, text: None)
    assert oracle.looked_at == len(dataset.test)
    assert score.mAP == pytest.approx(1.0)
    assert score.work == Work(accepted=sum(len(image.boxes) for image in dataset.test))
    first, more = dataset.train[:2], dataset.train[:3]
    assert scorer.work_with(models, version, first).truths == sum(len(image.boxes) for image in first)
    scorer.work_with(models, version, more)
    assert oracle.looked_at == len(dataset.test) + len(more)


def test_a_version_that_knows_none_of_the_labels_looks_at_nothing(
    coco: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would propose nothing, so all is drawn."""
    strange = [{"id": 7, "name": "nut"}, {"id": 9, "name": "bolt"}]
    for split, (start, count) in {"train": (0, 4), "test": (10, 3)}.items():
        write_coco(coco, split, start, count, categories=strange)
    dataset = Dataset.load(coco, {})
    monkeypatch.setattr(
        "trainer.simulate.models.load_detector", lambda folder, settings: pytest.fail("loaded")
    )
    models = ProjectModels(home / "models")
    version = add_version(models, home / "made")
    scorer = Scorer(dataset, TrainerSettings(), Person())
    score = scorer.score(models, version, lambda f, text: None)
    assert (score.mAP, score.AP50) == (0.0, 0.0)
    assert score.work == Work(drawn=sum(len(image.boxes) for image in dataset.test))
    everything = Work(drawn=sum(len(image.boxes) for image in dataset.train))
    assert scorer.work_with(models, version, dataset.train) == everything


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": [{"id": 7, "name": "ball"}]}, "different categories"),
        (
            {"annotations": [{"id": 5, "image_id": 99, "category_id": 7, "bbox": [0, 0, 1, 1]}]},
            "annotation 5",
        ),
        ({"annotations": [{"id": 5, "image_id": 1, "category_id": 7, "bbox": [0, 0]}]}, "annotation 5"),
        ({"annotations": 3}, "train.json"),
        (
            {"annotations": [{"image_id": 1, "category_id": 8, "bbox": [0, 0, 1, 1]}]},
            "in row 1: no category 8",
        ),
        (
            {"annotations": [{"id": 5, "image_id": 1, "category_id": 7, "bbox": [0, 0, 1, float("nan")]}]},
            "annotation 5: bbox.3: .*finite",
        ),
        ({"categories": [{"id": 7}]}, "category 7: name: Field required"),
        ({"categories": ["ball"]}, "category in row 1: "),
        ({"images": [{"file_name": "a.png", "width": 1, "height": 1}]}, "image in row 1: id"),
        ({"images": [{"id": 3, "width": 1, "height": 1}]}, "image 3: file_name: Field required"),
        ({"images": [{"id": 3, "file_name": "a.png", "height": 1}]}, "image 3: width: Field required"),
        ({"images": [{"id": 3, "file_name": "a.png", "width": 1}]}, "image 3: height: Field required"),
        ({"images": [{"id": 3, "file_name": n, "width": 1, "height": 1} for n in "ab"]}, "image 3 stands"),
        ({"images": [{"id": n, "file_name": "a", "width": 1, "height": 1} for n in (3, 4)]}, "'a' stands"),
        ({"images": []}, "images: "),
    ],
)
def test_a_damaged_file_is_named(coco: Path, changes: dict[str, Any], message: str) -> None:
    write_coco(coco, "train", 0, 4, **{"annotations": [], **changes})
    with pytest.raises(DatasetError, match=message):
        Dataset.load(coco, {})


@pytest.mark.parametrize(
    ("names", "message"),
    [(["ball", "ball"], "'ball' stands twice"), (["ball", " "], "no value"), ([], "no <Label")],
)
def test_categories_that_make_no_labels_are_refused(coco: Path, names: list[str], message: str) -> None:
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    for split in ("train", "test"):
        write_coco(coco, split, 0, 4, categories=categories, annotations=[])
    with pytest.raises(DatasetError, match=rf"train\.json: .*{message}"):
        Dataset.load(coco, {})


def test_a_training_set_of_test_images_alone_is_refused(coco: Path) -> None:
    write_coco(coco, "test", 0, 4)
    with pytest.raises(DatasetError, match="none is left to label"):
        Dataset.load(coco, {})


def test_an_image_that_breaks_off_is_used_with_a_warning_and_one_past_reading_is_left_out_by_name(
    coco: Path,
) -> None:
    cut = coco / "images" / "shape-010.png"
    cut.write_bytes(cut.read_bytes()[:-200])
    (coco / "images" / "shape-000.png").write_text("no image")
    dataset = Dataset.load(coco, {})
    assert [image.name for image in dataset.test] == ["shape-010.png", "shape-011.png", "shape-012.png"]
    assert [image.name for image in dataset.train] == ["shape-001.png", "shape-002.png", "shape-003.png"]
    unreadable, flawed = dataset.remarks
    assert unreadable == ("Left out, for they cannot be read: shape-000.png: not an image of a kind we read")
    assert flawed.startswith("Used as far as browsers show them: shape-010.png: cut off: ")


def test_a_test_set_that_nobody_can_read_is_refused(coco: Path) -> None:
    for number in (10, 11, 12):
        (coco / "images" / f"shape-0{number}.png").write_text("no image")
    with pytest.raises(DatasetError, match=r"test\.json: none of its images can be read.*shape-012\.png"):
        Dataset.load(coco, {})


def test_an_image_of_another_size_is_named(coco: Path) -> None:
    Image.new("RGB", (10, 10)).save(coco / "images" / "shape-000.png")
    with pytest.raises(DatasetError, match=r"shape-000\.png: 10 x 10 pixels"):
        Dataset.load(coco, {})
    (coco / "images" / "shape-000.png").unlink()
    with pytest.raises(DatasetError, match=r"shape-000\.png: No such file"):
        Dataset.load(coco, {})


def test_predicted_must_name_a_category(coco: Path) -> None:
    with pytest.raises(DatasetError, match="'tree'"):
        Dataset.load(coco, {"tree": "cat"})
