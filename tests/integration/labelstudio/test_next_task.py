"""Of people who ask for their next task at the same moment, each gets another one, whichever process answers."""

from concurrent.futures import ThreadPoolExecutor

from integration.support.labelstudio import LabelStudio
from integration.support.people import Person, labeller
from support import shapes

PEOPLE, TIMES = 4, 3


def next_tasks(people: list[Person], project: int) -> list[int]:
    """What each is given of a project, all at the same moment."""

    def ask(person: Person) -> int:
        answer = person.post(f"/api/dm/actions?id=next_task&project={project}")
        assert answer.status_code == 200, answer.text[:500]
        return int(answer.json()["id"])

    with ThreadPoolExecutor(len(people)) as pool:
        return list(pool.map(ask, people))


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
