"""Pre-labelling when labels were edited, or a model was lost: predictions that somebody has open stay."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from support.fake_backend import FakeBackend
from support.fake_studio import FakeStudio, add_tasks
from support.killed import Killed
from support.shapes import LABEL_CONFIG

from labelloop.registry import ProjectModels
from labelloop.studio import Studio
from trainer.env import TrainerSettings
from trainer.peers.backend import BackendError
from trainer.peers.projects import fetch
from trainer.worker.prelabel import Prelabeller

pytestmark = pytest.mark.usefixtures("models")
OTHER_LABELS = LABEL_CONFIG.replace('value="ball"', 'value="sphere" predicted_values="ball"')
EARLIER = "0000 (earlier)"


def names(fake: FakeStudio) -> dict[int, str]:
    """The versions of the predictions by their ids."""
    return {row["id"]: row["model_version"] for row in fake.predictions}


def test_other_labels_mean_other_predictions_and_what_somebody_has_open_stays(
    run: Callable[[], int], fake_studio: FakeStudio
) -> None:
    tasks = add_tasks(fake_studio, 2)
    run()
    made = list(names(fake_studio))
    fake_studio.tasks[tasks[0]]["total_annotations"] = 1
    fake_studio.projects[1]["label_config"] = OTHER_LABELS
    assert run() == 1, "what is labelled needs no boxes"
    assert [fake_studio.versions_of(task) for task in tasks] == [[EARLIER], [EARLIER, "v0000"]]
    assert [names(fake_studio)[prediction] for prediction in made] == [EARLIER] * 2
    assert fake_studio.projects[1]["model_version"] == "v0000"
    fake_studio.projects[1]["label_config"] = LABEL_CONFIG
    assert run() == 1
    assert fake_studio.versions_of(tasks[1]) == [EARLIER, EARLIER, "v0000"]
    assert run() == 0


def test_what_a_label_shows_counts_and_an_earlier_releases_record_of_plain_labels_holds(
    run: Callable[[], int], loop_settings: TrainerSettings, fake_studio: FakeStudio
) -> None:
    """The classes of a model go to a label by its value too, since a release that told no alias from it."""
    add_tasks(fake_studio, 1)
    run()
    path = loop_settings.rounds_dir / "predicted-labels-1.json"
    assert json.loads(path.read_text())["v0000"].split()[0] == "e9974f2e91726344"
    fake_studio.projects[1]["label_config"] = LABEL_CONFIG.replace('value="ball"', 'value="x" alias="ball"')
    assert run() == 1


def test_labels_that_may_overlap_from_now_on_mean_other_predictions(
    run: Callable[[], int], fake_studio: FakeStudio
) -> None:
    add_tasks(fake_studio, 1)
    assert run() == 1 and run() == 0
    overlapping = LABEL_CONFIG.replace('value="ball"', 'value="ball" overlap="true"')
    assert overlapping != LABEL_CONFIG
    fake_studio.projects[1]["label_config"] = overlapping
    assert run() == 1


def test_nothing_is_predicted_until_the_backend_has_the_new_labels(
    run: Callable[[], int], fake_studio: FakeStudio, fake_backend: FakeBackend, models: ProjectModels
) -> None:
    """Its boxes would be under labels that the project no longer has, and none of them would be stored."""
    [task] = add_tasks(fake_studio, 1)
    run()
    fake_backend.classes = models.card("v0000").classes
    models.replace_card("v0000", models.card("v0000").model_copy(update={"classes": ["sphere", "crate"]}))
    fake_studio.projects[1]["label_config"] = OTHER_LABELS
    with pytest.raises(BackendError, match="serves v0000 for project 1 under its former labels"):
        run()
    assert fake_studio.versions_of(task) == ["v0000"], "shown until there are others"
    fake_backend.classes = ["sphere", "crate"]
    assert run() == 1
    assert fake_studio.versions_of(task) == [EARLIER, "v0000"]


def test_boxes_that_were_refused_under_the_former_labels_are_not_waited_for(
    run: Callable[[], int], fake_studio: FakeStudio
) -> None:
    """Between the rename in Label Studio and the one of the models it refuses what is stored."""
    tasks = add_tasks(fake_studio, 2)
    fake_studio.refuse = {tasks[1]}
    assert run() == 1
    fake_studio.refuse = set()
    assert run() == 0, "it waits for its next attempt"
    fake_studio.projects[1]["label_config"] = OTHER_LABELS
    assert run() == 2
    assert [fake_studio.versions_of(task) for task in tasks] == [[EARLIER, "v0000"], ["v0000"]]


@pytest.mark.parametrize("way", ["killed", "stopped"])
def test_renaming_that_was_interrupted_is_gone_on_with(
    way: str,
    prelabeller: Prelabeller,
    studio: Studio,
    fake_studio: FakeStudio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks = add_tasks(fake_studio, 5)
    prelabeller.run(fetch(studio, 1))
    made = list(names(fake_studio))
    fake_studio.projects[1]["label_config"] = OTHER_LABELS
    rename = studio.rename_prediction

    def killing(prediction_id: int, version: str) -> None:
        if prediction_id == made[2]:
            raise Killed
        rename(prediction_id, version)

    if way == "killed":
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(studio, "rename_prediction", killing)
            prelabeller.run(fetch(studio, 1))
    else:
        asked = iter([False] * 3 + [True] * 10)
        assert prelabeller.run(fetch(studio, 1), should_stop=lambda: next(asked)) == 0
    assert sorted(names(fake_studio).values()) == [EARLIER] * 2 + ["v0000"] * 3
    assert prelabeller.run(fetch(studio, 1)) == 5
    assert [names(fake_studio)[prediction] for prediction in made] == [EARLIER] * 5
    assert [fake_studio.versions_of(task) for task in tasks] == [[EARLIER, "v0000"]] * 5


def test_predictions_of_a_lost_model_of_the_same_name_are_made_anew(
    run: Callable[[], int],
    fake_studio: FakeStudio,
    models: ProjectModels,
    loop_settings: TrainerSettings,
) -> None:
    """The registry alone was restored: this v0000 is younger than some predictions of a v0000."""
    tasks = add_tasks(fake_studio, 2)
    run()
    first, second = names(fake_studio)
    (loop_settings.rounds_dir / "predicted-labels-1.json").unlink()
    made_at = models.card("v0000").created_at
    fake_studio.predictions[0]["created_at"] = (made_at - timedelta(seconds=1)).isoformat()
    assert run() == 1, "what is younger is this one's: Label Studio asks the backend, too"
    assert names(fake_studio)[first] == EARLIER and names(fake_studio)[second] == "v0000"
    card = models.card("v0000").model_copy(update={"weights_sha256": "of another"})
    (models.folder("v0000") / "card.json").write_text(card.model_dump_json())
    assert run() == 2
    assert [fake_studio.versions_of(task)[-2:] for task in tasks] == [[EARLIER, "v0000"]] * 2


def test_what_an_earlier_release_wrote_down_of_the_labels_still_counts(
    run: Callable[[], int], fake_studio: FakeStudio, loop_settings: TrainerSettings
) -> None:
    add_tasks(fake_studio, 2)
    run()
    path = loop_settings.rounds_dir / "predicted-labels-1.json"
    labels, _, _ = json.loads(path.read_bytes())["v0000"].partition(" ")
    path.write_text(json.dumps({"v0000": labels}))
    assert run() == 0
    path.write_text(json.dumps({"v0000": labels}))
    fake_studio.projects[1]["label_config"] = OTHER_LABELS
    assert run() == 2
