"""Whose predictions a project shows: ours where they are worth more, never against a person's choice."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.fake_backend import FakeBackend
from support.fake_studio import FakeStudio, add_tasks
from support.shapes import LABEL_CONFIG
from support.versions import add_version

from labelloop.connection import TITLE
from labelloop.registry import ProjectModels
from labelloop.studio import Studio

pytestmark = pytest.mark.usefixtures("models")

THEIRS = "yolo-old"
UNKNOWN = LABEL_CONFIG.replace('value="ball"', 'value="widget"').replace('value="crate"', 'value="gadget"')
Imports = Callable[..., list[int]]
Train = Callable[[], None]


@pytest.fixture
def imported(fake_studio: FakeStudio) -> Imports:
    """Makes tasks with predictions of others, as an import does: the first sets the project's version."""

    def make(count: int = 5, version: str | None = THEIRS) -> list[int]:
        tasks = add_tasks(fake_studio, count)
        box = {"type": "rectanglelabels", "value": {"rectanglelabels": ["widget"]}}
        fake_studio.predictions += [
            {"id": task, "task": task, "result": [box], "score": 0.9, "model_version": version}
            for task in tasks
        ]
        project = fake_studio.projects[1]
        project["model_version"] = project["model_version"] or version or ""
        return tasks

    return make


@pytest.fixture
def strange(fake_studio: FakeStudio) -> None:
    """A project of whose labels the starting model knows none."""
    fake_studio.projects[1]["label_config"] = UNKNOWN


@pytest.fixture
def train(models: ProjectModels, fake_backend: FakeBackend, fake_studio: FakeStudio, tmp_path: Path) -> Train:
    """Puts a version into service that was trained on the project's labels."""

    def promote() -> None:
        version = add_version(models, tmp_path / "made", round_id=1)
        card = models.card(version).model_copy(update={"classes": ["widget", "gadget"]})
        (models.folder(version) / "card.json").write_text(card.model_dump_json())
        models.promote(version)
        fake_backend.version = version

    return promote


def shown(fake_studio: FakeStudio) -> str:
    return str(fake_studio.projects[1]["model_version"])


@pytest.mark.usefixtures("strange")
def test_a_version_that_knows_no_label_leaves_imported_predictions_alone(
    run: Callable[[], int], imported: Imports, fake_studio: FakeStudio
) -> None:
    tasks = imported()
    for _ in range(3):
        assert run() == 0
    assert shown(fake_studio) == THEIRS
    assert all(fake_studio.versions_of(task) == [THEIRS] for task in tasks)


@pytest.mark.usefixtures("strange")
def test_where_there_are_none_ours_are_stored(
    run: Callable[[], int], imported: Imports, fake_studio: FakeStudio
) -> None:
    tasks, bare = imported(), add_tasks(fake_studio, 2)
    assert run() == 2
    assert [fake_studio.versions_of(task) for task in [tasks[0], *bare]] == [[THEIRS], ["v0000"], ["v0000"]]
    assert shown(fake_studio) == THEIRS


@pytest.mark.usefixtures("strange")
def test_a_version_trained_here_takes_over_and_nothing_is_deleted(
    run: Callable[[], int], imported: Imports, train: Train, fake_studio: FakeStudio
) -> None:
    tasks = imported()
    run()
    train()
    assert run() == 5
    assert shown(fake_studio) == "v0001"
    assert all(fake_studio.versions_of(task) == [THEIRS, "v0001"] for task in tasks)


def test_a_version_that_knows_a_label_takes_over(
    run: Callable[[], int], imported: Imports, fake_studio: FakeStudio
) -> None:
    fake_studio.projects[1]["label_config"] = LABEL_CONFIG.replace('value="crate"', 'value="widget"')
    imported()
    assert run() == 5
    assert shown(fake_studio) == "v0000"


@pytest.mark.parametrize(
    "beside",
    [
        {"type": "choices", "from_name": "weather", "value": {"choices": ["fog"]}},
        {"type": "choices", "from_name": "hidden", "id": "a", "value": {"choices": ["half"]}},
        {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
        {"type": "polygonlabels", "from_name": "outline", "value": {"points": []}},
    ],
)
def test_predictions_that_say_more_than_rectangles_stay_until_asked(
    beside: dict[str, object],
    run: Callable[[], int],
    imported: Imports,
    studio: Studio,
    fake_studio: FakeStudio,
) -> None:
    imported()
    fake_studio.predictions[3]["result"] += [beside]
    for _ in range(2):
        run()
    assert shown(fake_studio) == THEIRS
    studio.show_predictions(1, "v0000")
    run()
    assert shown(fake_studio) == "v0000"


@pytest.mark.usefixtures("strange")
def test_predictions_that_are_imported_after_ours_are_shown(
    run: Callable[[], int], imported: Imports, fake_studio: FakeStudio
) -> None:
    """Label Studio does not set a version that is set already."""
    add_tasks(fake_studio, 2)
    run()
    assert shown(fake_studio) == "v0000"
    imported(3, "few")
    imported(4, "many")
    run()
    assert shown(fake_studio) == "many", "of those with the most predictions"
    imported(9, "more")
    run()
    assert shown(fake_studio) == "many", "they are not exchanged for others"


@pytest.mark.usefixtures("strange")
def test_predictions_without_a_version_stay_too(
    run: Callable[[], int], imported: Imports, fake_studio: FakeStudio
) -> None:
    tasks = imported(version=None)
    fake_studio.predictions = [p | {"model_version": ""} for p in fake_studio.predictions]
    run()
    assert shown(fake_studio) == "" and fake_studio.versions_of(tasks[0]) == [""]


@pytest.mark.parametrize("champion", ["knows no label", "knows them", "was trained here"])
@pytest.mark.parametrize("choice", [THEIRS, "v0000"])
def test_a_persons_choice_stays(
    champion: str,
    choice: str,
    run: Callable[[], int],
    imported: Imports,
    train: Train,
    studio: Studio,
    fake_studio: FakeStudio,
    models: ProjectModels,
    fake_backend: FakeBackend,
    tmp_path: Path,
) -> None:
    if champion != "knows them":
        fake_studio.projects[1]["label_config"] = UNKNOWN
    imported()
    add_tasks(fake_studio, 1)
    run()
    studio.show_predictions(1, THEIRS if choice == "v0000" else "v0000")
    studio.update_project(1, model_version=choice)
    if champion == "was trained here":
        train()
    elif choice == "v0000":
        models.promote(add_version(models, tmp_path / "next"))
        fake_backend.version = "v0001"
    for _ in range(3):
        run()
    assert shown(fake_studio) == choice


def test_whoever_chooses_the_version_in_service_hands_the_choice_back(
    run: Callable[[], int],
    imported: Imports,
    studio: Studio,
    fake_studio: FakeStudio,
    models: ProjectModels,
    fake_backend: FakeBackend,
    tmp_path: Path,
) -> None:
    imported()
    run()
    studio.update_project(1, model_version=THEIRS)
    run()
    assert shown(fake_studio) == THEIRS
    studio.update_project(1, model_version="v0000")
    run()
    models.promote(add_version(models, tmp_path / "next"))
    fake_backend.version = "v0001"
    run()
    assert shown(fake_studio) == "v0001"


def test_the_title_of_our_backend_is_no_choice(run: Callable[[], int], fake_studio: FakeStudio) -> None:
    """Label Studio sets it when the backend is connected."""
    fake_studio.add_task()
    fake_studio.backends = [{"project": 1, "url": "http://ours", "title": TITLE}]
    fake_studio.projects[1]["model_version"] = TITLE
    run()
    assert shown(fake_studio) == "v0000"


@pytest.mark.usefixtures("strange")
def test_the_title_of_another_backend_stays_until_ours_knows_a_label(
    run: Callable[[], int], train: Train, fake_studio: FakeStudio
) -> None:
    add_tasks(fake_studio, 2)
    fake_studio.backends = [{"project": 1, "url": "http://theirs", "title": "theirs"}]
    fake_studio.projects[1]["model_version"] = "theirs"
    run()
    assert shown(fake_studio) == "theirs"
    train()
    run()
    assert shown(fake_studio) == "v0001"


@pytest.fixture
def instant(
    run: Callable[[], int], imported: Imports, models: ProjectModels, fake_backend: FakeBackend
) -> str:
    """v0000 has predicted the tasks, and since then an instant version serves in its place."""
    imported()
    run()
    card = models.card("v0000").model_copy(update={"dataset_fingerprint": "instant, 1 image"})
    version = models.instant.write("v0000", card, b"head")
    models.instant.serve(version)
    fake_backend.version = version
    return version


def test_whoever_chooses_the_champion_beneath_an_instant_version_hands_the_choice_back(
    run: Callable[[], int], studio: Studio, fake_studio: FakeStudio, instant: str
) -> None:
    """A settings page that was opened before the first submit sends that version with whatever is saved."""
    run()
    assert shown(fake_studio) == instant
    studio.update_project(1, model_version="v0000")
    run()
    assert shown(fake_studio) == instant and not fake_studio.projects[1]["model_version_chosen"]


def test_another_choice_stays_while_an_instant_version_serves(
    run: Callable[[], int], studio: Studio, fake_studio: FakeStudio, instant: str
) -> None:
    run()
    studio.update_project(1, model_version=THEIRS)
    run()
    assert shown(fake_studio) == THEIRS
