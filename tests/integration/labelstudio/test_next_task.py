"""Of people who ask for their next task at the same moment, each gets another one, from whichever process."""

from integration.support.labelstudio import LabelStudio
from integration.support.people import labeller, next_tasks
from support import shapes

PEOPLE, TIMES = 4, 3


def new_project(label_studio: LabelStudio, tasks: int) -> int:
    studio = label_studio.studio
    fields = {"title": "next task", "label_config": shapes.LABEL_CONFIG}
    project = int(studio.request("POST", "/api/projects", json=fields)["id"])
    images = [{"image": f"/data/{number}.jpg"} for number in range(tasks)]
    studio.request("POST", f"/api/projects/{project}/import", json=images)
    return project


def test_nobody_gets_the_task_that_another_is_given(provisioned: LabelStudio) -> None:
    people = [labeller(provisioned, f"next{number}@example.org") for number in range(PEOPLE)]
    for _ in range(TIMES):
        project = new_project(provisioned, PEOPLE)
        tasks = [task["id"] for task in provisioned.studio.iter_tasks(project)]
        assert sorted(next_tasks(people, project)) == sorted(tasks)
        provisioned.studio.request("DELETE", f"/api/projects/{project}")
