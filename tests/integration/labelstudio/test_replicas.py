"""Label Studio as two servers of two processes each, on one PostgreSQL and one folder, behind one address."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from integration.support.fake_backend import FakeBackend
from integration.support.front import Front
from integration.support.labelstudio import EMAIL, PASSWORD, LabelStudio
from integration.support.people import PASSWORD_OF_ALL, Person, invitation, next_tasks
from integration.support.postgres import Postgres
from support import shapes

from labelloop.throttle import PER_USER
from lifecycle.database.client import Database

WAIT_S = 60


@dataclass
class Replicas:
    """both: the servers. url: the one address before them."""

    both: list[LabelStudio]
    front: Front
    database: Database

    @property
    def url(self) -> str:
        return self.front.url

    def each(self, work: Callable[[LabelStudio], object]) -> list[object]:
        """What `work` gives for each server, asked at the same time."""
        with ThreadPoolExecutor(len(self.both)) as pool:
            return list(pool.map(work, self.both))


@pytest.fixture(scope="module")
def replicas(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, backend: FakeBackend
) -> Iterator[Replicas]:
    """Started, and provisioned, both at the same time."""
    environment = postgres.copy_of_the_first("replicas")
    home = tmp_path_factory.mktemp("replicas")
    both = [LabelStudio(home, backend.url) for _ in range(2)]
    for one in both:
        one.environment |= environment | {"LABELSTUDIO_FRONT": "of the test"}
    try:
        for one in both:
            one.launch()
        for one in both:
            one.studio.wait(180)
        front = Front([urlsplit(one.url).port or 0 for one in both])
        database = Database(postgres.database.access.named("replicas"))
        with front, ThreadPoolExecutor(2) as pool:
            for done in pool.map(lambda one: one.provision(WAIT_S), both):
                assert done.returncode == 0, done.stderr + both[0].log[-3000:]
            yield Replicas(both, front, database)
    finally:
        for one in both:
            one.stop(hard=True)


def cookies_of_a_login(url: str, email: str, password: str) -> tuple[int, dict[str, str]]:
    """A log-in by a new connection for each request. Returns: the last status, and the browser's cookies."""
    cookies = dict(requests.get(f"{url}/user/login/", timeout=WAIT_S).cookies)
    token = next(value for name, value in cookies.items() if name.startswith("csrftoken"))
    form = {"csrfmiddlewaretoken": token, "email": email, "password": password}
    answer = requests.post(f"{url}/user/login/", form, cookies=cookies, timeout=WAIT_S, allow_redirects=False)
    return answer.status_code, cookies | dict(answer.cookies)


def signed_up(replicas: Replicas, number: int) -> Person:
    """Somebody new, logged in; her server is one of both."""
    one = replicas.both[number % 2]
    session = requests.Session()
    url = one.url + invitation(one)
    session.get(url, timeout=WAIT_S)
    person = Person(one.url, f"person{number}@example.org", session)
    form = {"csrfmiddlewaretoken": person.csrf, "email": person.email, "password": PASSWORD_OF_ALL}
    answer = session.post(url, form, timeout=WAIT_S, allow_redirects=False, headers={"Referer": url})
    assert answer.status_code == 302, answer.text[:500]
    return person


def new_project(replicas: Replicas, title: str) -> int:
    fields = {"title": title, "label_config": shapes.LABEL_CONFIG}
    return int(replicas.both[0].studio.request("POST", "/api/projects", json=fields)["id"])


def test_two_that_start_and_provision_at_once_make_everything_once(replicas: Replicas) -> None:
    for one in replicas.both:
        [project] = one.studio.projects()
        assert [storage["title"] for storage in one.studio.storages(project["id"])] == ["volumes/images"]
        assert len(project["ml_backends"]) == 1
        assert one.run("provisioner.health").stdout.strip() == "healthy"


def test_a_session_is_one_of_all_and_ends_at_all(replicas: Replicas) -> None:
    status, cookies = cookies_of_a_login(replicas.url, EMAIL, PASSWORD)
    assert status == 302

    def asked(one: LabelStudio) -> int:
        return requests.get(f"{one.url}/api/current-user/whoami", cookies=cookies, timeout=WAIT_S).status_code

    assert replicas.each(asked) == [200, 200]
    requests.get(f"{replicas.both[0].url}/logout", cookies=cookies, timeout=WAIT_S)
    assert replicas.each(asked) == [401, 401]


def test_attempts_to_log_in_are_counted_together(replicas: Replicas) -> None:
    """Also those that come at the same moment: no process lets one more in than the others would."""
    with ThreadPoolExecutor(PER_USER + 3) as pool:
        guesses = [
            pool.submit(cookies_of_a_login, replicas.url, "ann@example.org", "guess")
            for _ in range(PER_USER + 3)
        ]
    assert sorted(guess.result()[0] for guess in guesses) == [200] * PER_USER + [429] * 3


def test_an_attempt_counts_for_the_browsers_address_not_the_proxys(replicas: Replicas) -> None:
    replicas.database.ask("DELETE FROM labelloop_attempts")
    for address in ("203.0.113.7", "203.0.113.8"):
        replicas.front.address = address
        assert cookies_of_a_login(replicas.url, "bob@example.org", "guess")[0] == 200
    replicas.front.address = "127.0.0.1"
    who = "SELECT count(DISTINCT who) FROM labelloop_attempts"
    assert replicas.database.ask(who) == [["3"]], "a name and two addresses"


def test_nobody_gets_the_task_that_another_has_open(replicas: Replicas) -> None:
    project = new_project(replicas, "next task")
    studio = replicas.both[0].studio
    images = [{"image": f"/data/{number}.jpg"} for number in range(4)]
    studio.request("POST", f"/api/projects/{project}/import", json=images)
    people = [signed_up(replicas, number) for number in range(4)]

    given = next_tasks(people, project)
    assert sorted(given) == sorted(task["id"] for task in studio.iter_tasks(project))


def test_labels_that_come_to_both_at_once_are_taken_in_once(replicas: Replicas, tmp_path: Path) -> None:
    [first] = [row for row in replicas.both[0].studio.projects() if row["title"] == "labelloop"]
    items = [{"path": f"images/brought/{number}.jpg"} for number in range(30)]
    url = f"/labelloop/projects/{first['id']}/intake"
    told = replicas.each(lambda one: one.studio.request("POST", url, json={"items": items}))
    numbers = [[row["task"] for row in answer["items"]] for answer in told]  # type: ignore[index]
    assert numbers[0] == numbers[1] and len(set(numbers[0])) == 30


def test_what_is_set_at_one_holds_at_the_other_at_once(replicas: Replicas) -> None:
    project = new_project(replicas, "set at one")
    one, other = replicas.both
    for number in range(4):
        xml = shapes.LABEL_CONFIG.replace("<View>", f"<View><!-- {number} -->")
        one.studio.update_project(project, label_config=xml)
        assert f"<!-- {number} -->" in other.studio.project(project)["label_config"]
        one, other = other, one
