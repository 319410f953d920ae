"""What bringing a dataset will do: which image is which, and what is left out by name."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console
from support import shapes

from labelloop.images import ImageError
from labelloop.labels import parse_label_config
from trainer.cli import intake_table
from trainer.env import TrainerSettings
from trainer.intake.drafts import Drafting
from trainer.intake.existing import Existing
from trainer.intake.label_names import LabelNames
from trainer.intake.plan import Effect, How, Plan, Planner
from trainer.intake.records import Labels, Record, Shape

THREE = {"same.png": 0, "other.png": 128, "away.png": 0}
"""Images that are served elsewhere, and how far their grey values are off those of the dataset."""


class NoStudio:
    """Says of every item that its labels are new."""

    def request(self, method: str, path: str, json: Any) -> Any:
        return {
            "items": [
                {"annotations": len(item["annotations"]), "predictions": 0, "labelled_here": False}
                for item in json["items"]
            ]
        }


def nothing_is_served(url: str) -> Path:
    raise ImageError(f"{url}: answered 404")


@pytest.fixture
def existing(loop_settings: TrainerSettings) -> Existing:
    return Existing(loop_settings)


@pytest.fixture
def plan(loop_settings: TrainerSettings, existing: Existing) -> Callable[..., Plan]:
    config = parse_label_config(shapes.LABEL_CONFIG)
    names = LabelNames(shapes.LABEL_CONFIG, config, {})

    def planned(*records: Record) -> Plan:
        planner = Planner(
            NoStudio(),  # type: ignore[arg-type]
            1,
            existing,
            Drafting(1, config, names, {}, False),
            loop_settings.images_dir,
            "set",
            datetime(2025, 1, 1, tzinfo=UTC),
            nothing_is_served,
        )
        return planner.run(records, lambda number: None)

    return planned


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., Path]:
    def saved(name: str, colour: int = 0, size: tuple[int, int] = (40, 20), orientation: int = 1) -> Path:
        path = tmp_path / "dataset" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made = Image.linear_gradient("L").resize(size).point(lambda value: (value + colour) % 256)
        exif = Image.Exif()
        exif[0x0112] = orientation
        made.save(path, exif=exif)
        return path

    return saved


def record(file: Path | None, name: str = "a.jpg", *shapes_: Shape, **more: Any) -> Record:
    labels = more.pop("labels", (Labels(shapes_ or (Shape("ball", (0, 0, 10, 10)),)),))
    return Record(name, "labels.json", file=file, labels=labels, **more)


def reasons(plan: Plan) -> list[str]:
    return [reason for _, _, reason in plan.left_out()]


def test_a_new_image_goes_below_a_folder_of_its_dataset(
    plan: Callable[..., Plan], image: Callable[..., Path]
) -> None:
    found = plan(record(image("a.jpg"), "images/.hidden/a.jpg"))
    [step] = found.steps()
    assert (step.how, step.target) == (How.NEW, "images/set/images/_hidden/a.jpg")
    [annotation] = step.body["annotations"]
    assert annotation["updated_at"] == "2025-01-01T00:00:00+00:00"
    assert annotation["result"][0]["value"]["width"] == 25.0


def test_boxes_of_a_size_that_the_image_does_not_have_as_browsers_show_it_are_left_out(
    plan: Callable[..., Plan], image: Callable[..., Path]
) -> None:
    """A tool that ignores EXIF says 40 x 20, and its boxes lie on the stored pixels."""
    turned = image("a.jpg", orientation=6)
    assert reasons(plan(record(turned, stated=(40, 20), scale=(40.0, 20.0)))) == [
        "20 x 40 pixels as a browser shows it, 40 x 20 in the dataset; its boxes would lie elsewhere"
    ]
    half = plan(record(image("b.jpg"), stated=(20, 10), scale=(20.0, 10.0)))
    [step] = half.steps()
    assert step.body["annotations"][0]["result"][0]["value"]["width"] == 50.0


def test_an_image_that_comes_twice_is_brought_once(
    plan: Callable[..., Plan], image: Callable[..., Path]
) -> None:
    found = plan(record(image("a.jpg")), record(image("b.jpg"), "b.jpg"))
    assert found.total(Effect.ADD) == 1 and reasons(found) == ["the same image as a.jpg"]


def test_images_of_one_name_and_different_bytes_are_kept_apart(
    plan: Callable[..., Plan], image: Callable[..., Path], loop_settings: TrainerSettings
) -> None:
    there = loop_settings.images_dir / "set" / "a.jpg"
    there.parent.mkdir()
    image("other.jpg", 50).rename(there)
    [step] = plan(record(image("a.jpg"))).steps()
    assert step.target is not None and step.target.startswith("images/set/a-")


def test_what_lies_in_the_images_folder_stays_where_it_is(
    plan: Callable[..., Plan], image: Callable[..., Path], loop_settings: TrainerSettings
) -> None:
    there = loop_settings.images_dir / "mine.jpg"
    image("a.jpg").rename(there)
    [step] = plan(record(there)).steps()
    assert step.target == "images/mine.jpg"


def test_labels_alone_find_their_image_by_its_name(
    plan: Callable[..., Plan], existing: Existing, image: Callable[..., Path], loop_settings: TrainerSettings
) -> None:
    image("x.jpg").rename(loop_settings.images_dir / "a.jpg")
    existing.add(5, "/data/local-files/?d=images/a.jpg")
    existing.add(6, "https://images.example/far/b.jpg?key=1")
    found = plan(
        record(None, "train/a.jpg", missing="not there"),
        record(None, "b.jpg", stated=(40, 20), scale=(40.0, 20.0)),
        record(None, "far/c.jpg", missing="the image is not in the dataset"),
    )
    assert [(step.how, step.task) for step in found.steps()] == [(How.BY_NAME, 5), (How.BY_NAME, 6)]
    assert reasons(found) == ["the image is not in the dataset"]


def test_an_image_elsewhere_of_the_same_name_counts_if_it_looks_the_same(
    plan: Callable[..., Plan],
    existing: Existing,
    image: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served = {f"https://x.org/{name}": image(f"served/{name}", colour) for name, colour in THREE.items()}

    def fetched(url: str, settings: TrainerSettings, task: int) -> bytes:
        if task == 7:
            raise ImageError("is away")
        return served[url].read_bytes()

    monkeypatch.setattr("trainer.intake.existing.resolve_task_image", fetched)
    for task, url in enumerate(served, start=5):
        existing.add(task, url)
    found = plan(*(record(image(name, size=(80 * n, 40 * n)), name) for n, name in enumerate(THREE, 1)))
    assert [(step.how, step.task) for step in found.steps()] == [
        (How.BY_NAME, 5),
        (How.NEW, None),
        (How.NEW, None),
    ]


def test_a_name_that_two_tasks_have_is_told_by_its_folder_or_left_out(
    plan: Callable[..., Plan], existing: Existing
) -> None:
    for task, folder in ((5, "north"), (6, "south")):
        existing.add(task, f"https://images.example/{folder}/a.jpg")
    found = plan(record(None, "south/a.jpg", stated=(40, 20)), record(None, "west/a.jpg", stated=(40, 20)))
    assert [step.task for step in found.steps()] == [6]
    assert reasons(found) == ["several tasks have an image of this name: 5, 6"]


def test_what_cannot_be_used_is_left_out_by_name(
    plan: Callable[..., Plan], image: Callable[..., Path], tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(b"no image")
    found = plan(
        record(damaged, "damaged.jpg"),
        record(None, "gone.jpg", url="http://there/gone.jpg"),
        record(image("a.jpg"), problem="line 3: no number"),
    )
    assert list(found.left_out()) == [
        ("damaged.jpg", "labels.json", "not an image of a kind we read"),
        ("gone.jpg", "labels.json", "http://there/gone.jpg: answered 404"),
        ("a.jpg", "labels.json", "line 3: no number"),
    ]


def test_boxes_are_clipped_and_those_without_area_are_counted(
    plan: Callable[..., Plan], image: Callable[..., Path]
) -> None:
    inside, speck, outside = (-5, 5, 50, 30), (3, 3, 3.2, 9), (50, 1, 60, 9)
    found = plan(record(image("a.jpg"), "a.jpg", *(Shape("Ball", box) for box in (inside, speck, outside))))
    [step] = found.steps()
    [region] = step.body["annotations"][0]["result"]
    assert [region["value"][side] for side in ("x", "y", "width", "height")] == [0, 25, 100, 75]
    assert found.counts.specks == 2 and found.counts.boxes == {("Ball", "ball"): 1}


@pytest.mark.parametrize(
    "box", [(3, 3, 3.2, 9), (50, 1, 60, 9), (20, 9, 10, 4), (0.1, 0.2, 0.6, 0.8)], ids=str
)
def test_an_image_of_whose_boxes_none_can_be_seen_is_no_negative(
    plan: Callable[..., Plan], image: Callable[..., Path], box: tuple[float, float, float, float]
) -> None:
    """The last one is a share of the image, where pixels are expected."""
    found = plan(record(image("a.jpg"), "a.jpg", Shape("ball", box)))
    assert found.total(Effect.ADD) == 0
    assert reasons(found)[0].startswith("no box of 1 has an area inside the image")


def test_long_names_are_shortened_and_stay_apart(
    plan: Callable[..., Plan], image: Callable[..., Path]
) -> None:
    """As a URL may have them: the file here has a short name."""
    long = "ä" * 300
    found = plan(
        record(image("a.jpg"), f"{'d/' * 500}{long}.jpg"),
        record(image("b.jpg", 60), f"{'d/' * 500}{long}.jpg"),
    )
    first, second = (str(step.target) for step in found.steps())
    assert first == f"images/set/{'d/' * 9}{'ä' * 73}.jpg"
    assert second != first and len(Path(second).name.encode()) < 200


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"weight": float("inf")}, "its data or results cannot be stored: Out of range float values"),
        ({"deep": json.loads("[" * 101 + "]" * 101)}, "its data or results have more than 100 lists within"),
    ],
)
def test_data_that_cannot_be_stored_leaves_its_image_out(
    plan: Callable[..., Plan], image: Callable[..., Path], data: dict[str, Any], why: str
) -> None:
    found = plan(record(image("a.jpg"), data=data))
    assert found.total(Effect.ADD) == 0 and reasons(found)[0].startswith(why)


def test_data_without_an_end_leaves_its_image_out(
    plan: Callable[..., Plan], image: Callable[..., Path]
) -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert reasons(plan(record(image("a.jpg"), data={"deep": deep})))[0].startswith("its data or results can")


def test_names_of_a_dataset_give_the_terminal_no_commands(
    plan: Callable[..., Plan], image: Callable[..., Path]
) -> None:
    """Otherwise they could write over the table that a person agrees to."""
    found = plan(
        record(None, "a\x1b[2J.jpg", problem="[red]odd[/red]\x9b1A\nball: nothing"),
        record(image("b.jpg"), "b.jpg", Shape("ball", (0, 0, 9, 9))),
    )
    found.counts.boxes["ba\x1b[Hll", "ball"] = 1
    config = parse_label_config(shapes.LABEL_CONFIG)
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=200)
    names = LabelNames(shapes.LABEL_CONFIG, config, {})
    intake_table.show(found, names, NoStudio(), console, True)  # type: ignore[arg-type]
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in told and "\x9b" not in told
    assert "  a\\x1b[2J.jpg (labels.json): [red]odd[/red]\\x9b1A\\nball: nothing\n" in told
    assert "ba\\x1b[Hll" in told


def test_an_annotation_is_the_same_each_time_and_another_for_other_labels(
    plan: Callable[..., Plan], image: Callable[..., Path]
) -> None:
    def unique(*shapes_: Shape) -> str:
        [step] = plan(record(image("a.jpg"), "a.jpg", *shapes_)).steps()
        return str(step.body["annotations"][0]["unique_id"])

    assert unique() == unique() != unique(Shape("crate", (0, 0, 10, 10)))
