"""Real Label Studio: superseded predictions go one by one, what an annotation started from stays."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from integration.support.labelstudio import LabelStudio
from integration.support.people import labeller
from support.versions import add_version

from labelloop.registry import Registry
from labelloop.studio import has_draft
from trainer.env import TrainerSettings
from trainer.peers.projects import fetch
from trainer.rounds.table import Rounds
from trainer.worker.retention import Retention

TASKS = 60


def test_superseded_predictions_go_and_parents_stay(provisioned: LabelStudio, tmp_path: Path) -> None:
    studio = provisioned.studio
    xml = studio.project(1)["label_config"]
    made = studio.request("POST", "/api/projects", json={"title": "retention", "label_config": xml})["id"]
    rows = [{"image": f"/{number}.jpg"} for number in range(TASKS)]
    studio.request("POST", f"/api/projects/{made}/import", json=rows)
    tasks = [task["id"] for task in studio.iter_tasks(made)]
    models = Registry(tmp_path / "volumes" / "models").project(made)
    for _ in range(3):
        version = add_version(models, tmp_path / "made")
        old = models.card(version).model_copy(update={"created_at": datetime.now(UTC) - timedelta(days=2)})
        (models.folder(version) / "card.json").write_text(old.model_dump_json())
        studio.import_predictions(
            made, [{"task": task, "result": [], "score": 0.5, "model_version": version} for task in tasks]
        )
    models.promote("v0002")
    studio.update_project(made, model_version="v0002")
    (first,) = studio.request("GET", "/api/predictions/", params={"task": tasks[0]})[:1]
    assert first["model_version"] == "v0000"
    annotation = {"result": [], "parent_prediction": first["id"], "lead_time": 3.0}
    studio.request("POST", f"/api/tasks/{tasks[0]}/annotations/", json=annotation)

    settings = TrainerSettings(labelloop_home=tmp_path, keep_predictions=1)
    retention = Retention(settings, studio, Registry(settings.models_dir), Rounds(settings.rounds_dir))
    deleted = retention.prune_predictions(fetch(studio, made))
    assert deleted == 2 * TASKS - 1
    assert studio.prediction_counts(made) == {"v0000": 1, "v0002": TASKS}
    (kept,) = studio.request("GET", f"/api/tasks/{tasks[0]}/annotations/")
    assert kept["parent_prediction"] == first["id"]
    assert {task["total_predictions"] for task in studio.iter_tasks(made)} == {1, 2}
    assert studio.project(made)["model_version"] == "v0002"
    assert retention.prune_predictions(fetch(studio, made)) == 0

    person = labeller(provisioned, "bea.begins@example.org")
    person.post(f"/api/tasks/{tasks[2]}/drafts", result=[], lead_time=3.0).raise_for_status()
    begun = [task["id"] for task in studio.iter_tasks(made, fields="all") if has_draft(task)]
    assert begun == [tasks[2]], "which retention looks for, whoever has it"
