"""When one of several near-duplicates is labelled, its boxes are proposed for the others at the next run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fake_backend import FakeBackend
from support.fake_studio import FakeStudio
from support.films import SIDE, encoded, moving, scene
from support.killed import Killed
from support.labelled_tasks import submit
from support.versions import add_version

from labelloop.registry import ProjectModels, Registry
from labelloop.studio import Studio
from trainer.env import TrainerSettings
from trainer.peers.backend import Backend
from trainer.peers.projects import SIMULATED
from trainer.worker import twins
from trainer.worker.prelabel import Prelabeller

pytestmark = pytest.mark.usefixtures("models")

Percent = tuple[float, float, float, float]
FRAMES = moving(1, 5)


@pytest.fixture
def prelabeller(loop_settings: TrainerSettings, studio: Studio, backend: Backend) -> Prelabeller:
    registry = Registry(loop_settings.models_dir)
    return Prelabeller(studio, backend, registry, loop_settings.rounds_dir, 0.2, loop_settings)


@pytest.fixture
def film(fake_studio: FakeStudio, loop_settings: TrainerSettings) -> list[int]:
    """Tasks 1 to 5, the frames of a film, and 6 and 7, images of other things."""
    pictures = [*(frame for frame, _ in FRAMES), scene(70), scene(71)]
    for picture in pictures:
        task = fake_studio.add_task()
        (loop_settings.images_dir / f"{task}.jpg").write_bytes(encoded(picture))
    return list(range(1, 6))


def drawn(boxes: Sequence[Percent], label: str = "ball") -> list[dict[str, Any]]:
    kind = {"from_name": "label", "to_name": "image", "type": "rectanglelabels"}
    return [
        {
            "id": str(number),
            **kind,
            "value": {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "rectanglelabels": [label]},
        }
        for number, (x1, y1, x2, y2) in enumerate(boxes)
    ]


def label(studio: FakeStudio, task: int, *results: dict[str, Any]) -> None:
    submit(studio, task, *results)
    studio.tasks[task]["total_annotations"] = 1


def sent(backend: FakeBackend, task: int) -> list[dict[str, Any]]:
    """The boxes of the twin that the backend was sent with a task."""
    return list(backend.sent[task].get("twin", {"boxes": []})["boxes"])


def found(backend: FakeBackend, task: int, boxes: Sequence[Percent]) -> bool:
    """Whether it was sent these boxes, to a pixel, each found again."""
    rows = sent(backend, task)
    assert all(row["label"] == "ball" and row["score"] > 0.7 for row in rows)
    places = [row["xyxy"] for row in rows]
    return len(places) == len(boxes) and bool(np.abs(np.subtract(places, boxes)).max() < 100 / SIDE)


def test_its_boxes_are_proposed_for_the_others_where_their_objects_are_now(
    run: Callable[[], int], film: list[int], fake_studio: FakeStudio, fake_backend: FakeBackend
) -> None:
    assert run() == 7
    assert not any("twin" in task for task in fake_backend.sent.values())
    label(fake_studio, 1, *drawn(FRAMES[0][1]))
    fake_backend.asked.clear()
    assert run() == 4
    assert fake_backend.asked == [2, 3, 4, 5]
    for task in fake_backend.asked:
        assert fake_backend.sent[task]["twin"]["task"] == 1
        assert found(fake_backend, task, FRAMES[task - 1][1]), task
        assert sorted(fake_studio.versions_of(task)) == ["0000 (earlier)", "v0000"]
    assert run() == 0 and len(fake_backend.asked) == 4


def test_new_images_of_a_labelled_group_have_them_at_once(
    run: Callable[[], int],
    film: list[int],
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    loop_settings: TrainerSettings,
) -> None:
    label(fake_studio, 1, *drawn(FRAMES[0][1]))
    run()
    assert fake_studio.versions_of(2) == ["v0000"] and found(fake_backend, 2, FRAMES[1][1])
    task = fake_studio.add_task()
    (loop_settings.images_dir / f"{task}.jpg").write_bytes(encoded(FRAMES[0][0], "JPEG", 60, 0.5))
    assert run() == 1
    assert found(fake_backend, task, FRAMES[0][1])


def test_a_correction_reaches_the_others_and_a_deleted_annotation_is_proposed_no_longer(
    run: Callable[[], int],
    film: list[int],
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    models: ProjectModels,
    tmp_path: Path,
) -> None:
    label(fake_studio, 1, *drawn(FRAMES[0][1]))
    run()
    label(fake_studio, 1, *drawn(FRAMES[0][1][:1]))
    assert run() == 4 and len(sent(fake_backend, 2)) == 1
    assert run() == 0
    fake_studio.tasks[1] |= {"annotations": [], "total_annotations": 0}
    models.promote(add_version(models, tmp_path / "next"))
    fake_backend.version = "v0001"
    run()
    assert sent(fake_backend, 2) == []
    label(fake_studio, 3, *drawn(FRAMES[2][1]))
    run()
    assert fake_backend.sent[2]["twin"]["task"] == 3


def test_one_that_cannot_be_understood_or_used_proposes_nothing(
    run: Callable[[], int], film: list[int], fake_studio: FakeStudio, fake_backend: FakeBackend
) -> None:
    label(fake_studio, 1, *drawn(FRAMES[0][1], "owl"))
    run()
    assert "twin" not in fake_backend.sent[2]


def test_labelling_a_film_frame_by_frame_predicts_no_image_again_and_again(
    run: Callable[[], int], film: list[int], fake_studio: FakeStudio, fake_backend: FakeBackend
) -> None:
    run()
    fake_backend.asked.clear()
    for task in film[:-1]:
        label(fake_studio, task, *drawn(FRAMES[task - 1][1]))
        run()
    assert fake_backend.asked.count(5) <= 2, "for the first one, and for one that is twice as near"


def test_a_prediction_that_label_studio_has_asked_for_itself_is_made_anew_too(
    run: Callable[[], int], film: list[int], fake_studio: FakeStudio, fake_backend: FakeBackend
) -> None:
    """Somebody opened the task before the trainer came by: the backend knew of no twin."""
    label(fake_studio, 1, *drawn(FRAMES[0][1]))
    row = {"id": 1, "task": 2, "result": [], "score": 0.5, "model_version": "v0000"}
    fake_studio.predictions.append(row | {"created_at": "2126-11-22T18:00:00Z"})
    run()
    assert sorted(fake_studio.versions_of(2)) == ["0000 (earlier)", "v0000"]
    assert found(fake_backend, 2, FRAMES[1][1])


def test_a_new_version_has_them_without_being_asked_twice(
    run: Callable[[], int],
    film: list[int],
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    models: ProjectModels,
    tmp_path: Path,
) -> None:
    label(fake_studio, 1, *drawn(FRAMES[0][1]))
    run()
    models.promote(add_version(models, tmp_path / "next"))
    fake_backend.version = "v0001"
    fake_backend.asked.clear()
    assert run() == 6 and run() == 0
    assert fake_backend.asked.count(2) == 1 and found(fake_backend, 2, FRAMES[1][1])
    assert sorted(fake_studio.versions_of(2)) == ["v0000", "v0001"]


@pytest.mark.parametrize("moment", ["rename_prediction", "store_predictions"])
def test_killed_on_the_way_and_run_again(
    run: Callable[[], int],
    film: list[int],
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    run()
    label(fake_studio, 1, *drawn(FRAMES[0][1]))
    with monkeypatch.context() as patch:
        patch.setattr(Studio, moment, lambda *arguments: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            run()
    run()
    for task in (2, 3, 4, 5):
        assert fake_studio.versions_of(task).count("v0000") == 1
        assert found(fake_backend, task, FRAMES[task - 1][1])


def test_a_damaged_file_is_made_anew(
    run: Callable[[], int],
    film: list[int],
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    loop_settings: TrainerSettings,
) -> None:
    twins.path_of(loop_settings.rounds_dir, 1).parent.mkdir(parents=True, exist_ok=True)
    twins.path_of(loop_settings.rounds_dir, 1).write_bytes(b"no database" * 1000)
    label(fake_studio, 1, *drawn(FRAMES[0][1]))
    run()
    run()
    assert found(fake_backend, 2, FRAMES[1][1])


def test_what_another_project_of_that_number_left_is_forgotten(
    run: Callable[[], int], film: list[int], fake_studio: FakeStudio, fake_backend: FakeBackend
) -> None:
    label(fake_studio, 1, *drawn(FRAMES[0][1]))
    run()
    fake_studio.projects[1]["created_at"] = "2026-11-23T18:02:05.237603Z"
    fake_studio.tasks[1] |= {"annotations": [], "total_annotations": 0}
    fake_studio.predictions.clear()
    run()
    assert "twin" not in fake_backend.sent[2]


def test_simulations_measure_the_model_alone(
    run: Callable[[], int], film: list[int], fake_studio: FakeStudio, fake_backend: FakeBackend
) -> None:
    fake_studio.projects[1]["description"] = SIMULATED
    label(fake_studio, 1, *drawn(FRAMES[0][1]))
    run()
    assert "twin" not in fake_backend.sent[2]


def test_before_anything_is_labelled_no_image_is_looked_at(
    run: Callable[[], int], film: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twins, "grey_of", lambda file: pytest.fail("looked at"))
    assert run() == 7


def test_a_run_looks_at_images_for_a_bounded_time_and_goes_on_in_the_next(
    run: Callable[[], int],
    film: list[int],
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    label(fake_studio, 1, *drawn(FRAMES[0][1]))
    monkeypatch.setattr(twins, "LOOK_S", -1.0)
    run()
    assert "twin" not in fake_backend.sent[2]
    monkeypatch.setattr(twins, "LOOK_S", 5.0)
    assert run() == 4
    assert found(fake_backend, 2, FRAMES[1][1])


def test_a_long_scan_of_the_labels_goes_on_where_it_stopped(
    run: Callable[[], int],
    film: list[int],
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for task in (6, 7, 1):
        label(fake_studio, task, *drawn(FRAMES[0][1]))
    monkeypatch.setattr(twins, "SCANNED", 1)
    monkeypatch.setattr(twins, "SCAN_S", -1.0)
    run()
    label(fake_studio, 1, *drawn(FRAMES[0][1][:1]))
    for _ in range(6):
        run()
    assert len(sent(fake_backend, 2)) == 1
    fake_backend.asked.clear()
    for _ in range(4):
        run()
    assert fake_backend.asked == []


def test_the_files_of_projects_that_are_gone_go(loop_settings: TrainerSettings) -> None:
    files = [twins.path_of(loop_settings.rounds_dir, number) for number in (1, 2)]
    files += [file.with_name(f"{file.name}-wal") for file in files]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    twins.forget_all_but(loop_settings.rounds_dir, {1})
    assert [file.exists() for file in files] == [True, False, True, False]


def test_beside_others_predictions_a_version_that_knows_no_label_keeps_its_own(
    run: Callable[[], int],
    film: list[int],
    fake_studio: FakeStudio,
    fake_backend: FakeBackend,
    models: ProjectModels,
) -> None:
    """Else they would be renamed and not made anew: the others' predictions are shown."""
    card = models.folder("v0000") / "card.json"
    known = models.card("v0000").model_copy(update={"classes": ["aeroplane"]})
    card.write_text(known.model_dump_json())
    run()
    theirs = {"result": [], "score": 0.5, "model_version": "theirs", "created_at": "2026-11-22T18:00:00Z"}
    fake_studio.predictions += [theirs | {"id": task, "task": task} for task in film]
    label(fake_studio, 1, *drawn(FRAMES[0][1]))
    run()
    assert sorted(fake_studio.versions_of(2)) == ["theirs", "v0000"]
