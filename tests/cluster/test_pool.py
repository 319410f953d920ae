"""Detectors on real nodes of Ray: what they answer, and what happens as machines come, go or are others.

A job of its own: `make test TESTS=tests/cluster`. It needs root, for a network namespace, and Ray.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import requests
from support.backend_home import LABEL_CONFIG, PASSWORD
from support.detectors import add_tiny_yolox
from support.network_namespaces import cannot, entered
from support.ray_nodes import NETWORK, PORT, Nodes, nodes
from support.shapes import picture
from support.stack import wait_for

from labelloop.boxes import Boxes
from labelloop.connection import USER
from labelloop.detector import Detector
from labelloop.images import ImageError
from labelloop.layout import pool_port
from labelloop.settings import Settings
from mlbackend.manager import ChampionManager
from trainer.judging.detections import found, load_detector
from trainer.judging.with_help import found_with
from trainer.peers.pool import Pool

pytestmark = [pytest.mark.timeout(1800), pytest.mark.skipif(bool(cannot()), reason=cannot())]

CLASSES = ["cat", "car"]
PICTURES = 48
BATCH = 8
MADE_S = 600
URL = f"http://127.0.0.1:{pool_port(PORT)}"
TASKS = [
    {"id": number, "data": {"image": f"/data/local-files/?d=images/{number}.png"}}
    for number in range(PICTURES)
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With pictures, and a champion that sees something everywhere."""
    made = tmp_path_factory.mktemp("home")
    images = made / "volumes" / "images"
    images.mkdir(parents=True)
    for number in range(PICTURES):
        picture(number, (160, 120)).image.save(images / f"{number}.png")
    add_tiny_yolox(made / "volumes" / "models", CLASSES, 0)
    (made / "volumes" / "rounds").mkdir()
    return made


@pytest.fixture(scope="module")
def cluster(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A head and a second machine of one core each; a third one has other code."""
    with nodes(home, tmp_path_factory.mktemp("ray")) as made:
        made.start(1)
        made.start(2)
        made.start(3, version="0123456789ab")
        yield made


@pytest.fixture(scope="module")
def pool(cluster: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The program that asks them, on the head's machine, with machine 2's detector."""
    said = tmp_path_factory.mktemp("pool") / "said.txt"
    variables = cluster.variables(1) | {
        "CLUSTER": "ray",
        "RAY_ADDRESS": cluster.head,
        "BACKEND_PASSWORD": PASSWORD,
        "SCORE_THRESHOLD": "0",
        "THREADS": "1",
    }
    with said.open("w") as output:
        program = cluster.popen([sys.executable, "-m", "cluster.pool"], variables, output)
    try:
        wait_for("a detector", lambda: places(cluster) == 2, MADE_S)
        assert "makes no pre-labels" not in said.read_text(), "it sees the volumes before any round"
        yield
    finally:
        program.kill()
        program.wait()
        print(said.read_text()[-6000:])


def health(cluster: Nodes) -> dict[str, Any]:
    with entered(cluster.namespace):
        try:
            return dict(requests.get(f"{URL}/health", timeout=10).json())
        except requests.RequestException:
            return {}


def places(cluster: Nodes) -> int:
    return int(health(cluster).get("places", 0))


def ask(
    cluster: Nodes,
    tasks: list[dict[str, Any]],
    password: str = PASSWORD,
    version: str = "v0000",
    classes: Sequence[str] = CLASSES,
) -> requests.Response:
    body = {
        "tasks": tasks,
        "project": "1.1",
        "label_config": LABEL_CONFIG,
        "version": version,
        "classes": list(classes),
    }
    with entered(cluster.namespace):
        return requests.post(f"{URL}/predict", json=body, auth=(USER, password), timeout=400)


def boxes(results: list[dict[str, Any]]) -> list[list[tuple[Any, ...]]]:
    """Of each image, without the regions' ids, which are drawn anew each time."""
    sides = ("x", "y", "width", "height")
    return [
        sorted(
            (row["value"]["rectanglelabels"], row["score"], *(row["value"][side] for side in sides))
            for row in result["result"]
        )
        for result in results
    ]


def test_a_detector_answers_what_the_backend_does(cluster: Nodes, pool: None, home: Path) -> None:
    stop = Event()
    settings = Settings(labelloop_home=home, score_threshold=0.0, threads=1)
    backend = ChampionManager.start(settings, Detector.load, stop)
    try:
        expected, version = backend.predict(TASKS[:BATCH], "1.1", LABEL_CONFIG)
    finally:
        stop.set()
    answer = ask(cluster, TASKS[:BATCH])
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert {row["model_version"] for row in results} == {version} == {"v0000"}
    assert boxes(results) == boxes(expected) and all(row["result"] for row in results)
    assert [row["score"] for row in results] == [row["score"] for row in expected]
    machines = health(cluster)["machines"]
    (name,) = machines
    assert f"{NETWORK}.2" in name, "not the head's, whose device the backend has, nor the one with other code"
    assert machines[name] == {"detectors": 1, "images": BATCH}


def test_nobody_else_is_answered(cluster: Nodes, pool: None) -> None:
    assert ask(cluster, TASKS[:1], password="a guess").status_code == 401


def test_an_evaluation_finds_with_it_what_it_finds_alone(cluster: Nodes, pool: None, home: Path) -> None:
    settings = Settings(labelloop_home=home, threads=1, cluster="ray", backend_password=PASSWORD)
    folder = settings.models_dir / "1" / "v0000"
    files = [settings.images_dir / f"{number}.png" for number in range(PICTURES)]
    files[-1] = settings.images_dir / "lost.png"
    detector = load_detector(folder, settings)
    alone = list(found(detector, files))
    before = sum(row["images"] for row in health(cluster)["machines"].values())

    def together() -> list[Boxes | ImageError]:
        with entered(cluster.namespace):
            return list(found_with(Pool.connect(settings), folder, detector, files, settings))

    # Its threads are in the namespace of the thread that starts them.
    with ThreadPoolExecutor(1) as apart:
        made = apart.submit(together).result()
    assert sum(row["images"] for row in health(cluster)["machines"].values()) > before
    assert isinstance(made[-1], ImageError) and "lost.png" in str(made[-1])
    for mine, theirs in zip(alone[:-1], made[:-1], strict=True):
        assert isinstance(mine, Boxes) and isinstance(theirs, Boxes)
        assert len(mine) and mine.xyxy.tolist() == theirs.xyxy.tolist()
        assert mine.scores.tolist() == theirs.scores.tolist()
        assert mine.labels.tolist() == theirs.labels.tolist()


def test_an_image_that_is_not_there_is_named(cluster: Nodes, pool: None) -> None:
    lost = {"id": 99, "data": {"image": "/data/local-files/?d=images/lost.png"}}
    answer = ask(cluster, [TASKS[0], lost])
    assert answer.status_code == 200, answer.text
    good, bad = answer.json()["results"]
    assert good["result"] and "lost.png" in bad["error"]


def test_no_paths_but_those_of_versions_and_volumes_are_looked_at(cluster: Nodes, pool: None) -> None:
    for folder, file in (("configs", "volumes/images/0.png"), ("volumes/models/1/v0000", "../../etc/passwd")):
        body = {"folder": folder, "files": [file]}
        with entered(cluster.namespace):
            answer = requests.post(f"{URL}/look", json=body, auth=(USER, PASSWORD), timeout=400)
        assert answer.status_code == 503 and "not below" in answer.json()["error"], answer.text
        wait_for("its rest to end", lambda: places(cluster) == 2, 60)


def test_detectors_follow_a_promotion_and_answer_for_no_other_version(
    cluster: Nodes, pool: None, home: Path
) -> None:
    version = add_tiny_yolox(home / "volumes" / "models", CLASSES, 1)
    assert version == "v0001"

    def answered() -> bool:
        answer = ask(cluster, TASKS[:1], version=version)
        return answer.status_code == 200 and answer.json()["results"][0]["model_version"] == version

    wait_for("the new version", answered, 120)
    for other in ({"version": "v0000"}, {"version": version, "classes": ["cat", "lorry"]}):
        refused = ask(cluster, TASKS[:1], **other)
        assert refused.status_code == 503 and "it has yet to load" in refused.json()["error"], refused.text
        wait_for("its rest to end", lambda: places(cluster) == 2, 60)


def test_a_killed_machine_is_given_up_and_taken_in_again(cluster: Nodes, pool: None) -> None:
    with ThreadPoolExecutor(2) as people:
        asked = [people.submit(ask, cluster, TASKS, version="v0001") for _ in range(2)]
        cluster.kill(2)
        answers = [future.result() for future in asked]
    for answer in answers:
        assert answer.status_code in (200, 503), answer.text
        assert answer.status_code == 200 or "10.78.0.2" in answer.json()["error"], answer.text
    wait_for("it to be given up", lambda: places(cluster) == 0, 300)
    refused = ask(cluster, TASKS[:1], version="v0001")
    assert refused.status_code == 503 and refused.json() == {"error": "no detector of the cluster is free"}
    cluster.start(2)
    wait_for("a detector again", lambda: places(cluster) == 2, MADE_S)
    assert ask(cluster, TASKS[:1], version="v0001").status_code == 200


def test_two_machines_share_the_work(cluster: Nodes, pool: None, capsys: pytest.CaptureFixture[str]) -> None:
    def seconds(at_once: int) -> float:
        began = time.monotonic()
        with ThreadPoolExecutor(at_once) as people:
            batches = [TASKS[first : first + BATCH] for first in range(0, PICTURES, BATCH)] * 4
            assert all(
                done.status_code == 200
                for done in people.map(lambda tasks: ask(cluster, tasks, version="v0001"), batches)
            )
        return time.monotonic() - began

    one = seconds(2)
    cluster.start(4)
    wait_for("a second detector", lambda: places(cluster) == 4, MADE_S)
    seconds(4)  # loads the model
    two = seconds(4)
    machines = health(cluster)["machines"]
    assert len(machines) == 2 and all(row["images"] > 0 for row in machines.values())
    with capsys.disabled():
        images = 4 * PICTURES
        print(f"\nimages a second: one machine {images / one:.0f}, two {images / two:.0f}")
