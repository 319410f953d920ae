"""What `make stack` deploys, on two engines, with services that are small servers of the tests' own."""

import os
import re
import shutil
import subprocess
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.registries import registry_at
from support.stack import wait_for
from support.two_engines import carry
from support.two_nodes import Swarm

from lifecycle import engine
from lifecycle.build import registry
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.runtime import swarm as asked
from lifecycle.runtime.docker_stack import DockerStack
from lifecycle.runtime.swarm_stack import SwarmStack
from lifecycle.settings.settings import Settings

pytestmark = pytest.mark.timeout(3600)

PYTHON = "python:3.11-slim-bookworm"
PORT = 18080
_COMPOSE = """
name: small
x-confined: &confined
  image: small/server
  command: [python3, /small/small_server.py]
  volumes: ["./small:/small:ro"]
  user: 10001:10001
  init: true
  read_only: true
  tmpfs: ["/tmp:size=64m,mode=1777"]
  cap_drop: [ALL]
  pids_limit: 64
  mem_limit: 256m
  security_opt: ["no-new-privileges:true"]
  restart: unless-stopped
  stop_grace_period: 5s
  healthcheck:
    test: [CMD, python3, -c, "import urllib.request as u; u.urlopen('http://127.0.0.1:8000', timeout=3)"]
    interval: 1s
    start_period: 30s
x-service: &service
  <<: *confined
  networks: [loop]
services:
  labelstudio:
    <<: *service
    ports: ["0.0.0.0:18080:8000"]
    secrets: [API_TOKEN, S3_ACCESS_KEY]
  trainer: {<<: *service, shm_size: 64m, depends_on: [labelstudio]}
  mlbackend:
    <<: *service
    environment: {VALUE: "${VALUE:-first}"}
    deploy: {replicas: "${BACKENDS:-1}"}
  backup: {<<: *confined, network_mode: none, cpu_shares: 128}
secrets:
  API_TOKEN: {file: token}
  S3_ACCESS_KEY: {file: empty}
networks: {loop: {ipam: {config: [{subnet: 10.213.99.0/24}]}}}
"""


@dataclass
class Small:
    """A stack of four small servers. address: where the published one answers."""

    swarm: Swarm
    home: Home
    stack: SwarmStack

    def ask(self, path: str) -> str:
        url = f"http://{self.swarm.address}:{PORT}{path}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return str(answer.read().decode())

    def node_of_backends(self) -> set[str]:
        tasks = [
            task for task in asked.tasks("small") if task.service == "mlbackend" and task.state == "running"
        ]
        return {asked.node_name(task.node) for task in tasks}

    def label(self, node: str, value: str = "true") -> None:
        """Says whether ML backends go to that node."""
        words = ["--label-add", f"{asked.BACKEND_LABEL}={value}"]
        self.swarm.manager.docker("node", "update", *words, node)


@pytest.fixture
def small(swarm: Swarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    """Not started yet. The worker has no image."""
    root = tmp_path / "checkout"
    (root / "volumes" / "run").mkdir(parents=True)
    shutil.copytree(Path(__file__).parent, root / "small")
    (root / "docker-compose.yml").write_text(_COMPOSE)
    (root / "token").write_text("secret")
    (root / "empty").touch()
    for folder in (tmp_path, *tmp_path.parents):  # pytest's folders are its own user's alone
        if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 0o005:
            folder.chmod(0o755)
    monkeypatch.setenv("DOCKER_HOST", swarm.manager.engine)
    # As an image is that Compose has built.
    (tmp_path / "Dockerfile").write_text(f"FROM {PYTHON}\nLABEL com.docker.compose.project=small\n")
    swarm.manager.docker("build", "--quiet", "--tag", "small/server", str(tmp_path))
    values = {"COMPOSE_PROJECT_NAME": "small", "SECRETS_STAMP": "one", "API_TOKEN": "secret"}
    made = Small(swarm, Home(root), SwarmStack(Home(root), Settings(values)))
    try:
        yield made
    finally:
        if made.stack.is_there():
            made.stack.stop()
        for node in asked.nodes_with(asked.BACKEND_LABEL):
            swarm.manager.docker("node", "update", "--label-rm", asked.BACKEND_LABEL, node)


@pytest.fixture(scope="module", autouse=True)
def python(swarm: Swarm) -> None:
    carry(swarm.manager, PYTHON)


@contextmanager
def asked_all_the_time(small: Small) -> Iterator[list[str]]:
    """Four ask for the backend's answer, one after the other each. Gives: the answers, and what failed."""
    said: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                said.append(small.ask("/backend"))
            except OSError as error:
                said.append(f"FAILED {error!r}")

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    try:
        yield said
    finally:
        over.set()
        for asker in askers:
            asker.join()


def test_a_stack_on_one_node_is_as_compose_has_it(small: Small) -> None:
    small.stack.start()
    assert small.stack.states() == dict.fromkeys(("labelstudio", "trainer", "mlbackend", "backup"), "healthy")
    assert small.ask("/backend").startswith("first ")
    assert small.stack.runs_here() and not DockerStack(small.home, "small").runs_here()
    assert not engine.containers("small") and small.node_of_backends() == {"node1"}
    [backup] = asked.containers("small", "backup")
    assert list(backup["NetworkSettings"]["Networks"]) == ["small_backup-alone"]
    [studio] = asked.containers("small", "labelstudio")
    held = small.swarm.manager.docker("exec", studio["Id"], "ls", "-ln", "/run/secrets")
    assert re.findall(r"^(\S+) \d+ (\d+ \d+) .* (\S+)$", held, re.MULTILINE) == [
        ("-r--------", "10001 10001", "API_TOKEN")
    ]
    [trainer] = asked.containers("small", "trainer")
    sizes = small.swarm.manager.docker("exec", trainer["Id"], "df", "-m", "--output=size", "/tmp", "/dev/shm")
    assert sizes.split()[1:] == ["64", "64"]
    done = subprocess.run(small.stack._within("trainer", "cat"), input="x", capture_output=True, text=True)
    assert done.stdout == "x"
    small.stack.stop()
    assert not small.stack.is_there() and not asked.containers("small") and not asked.networks("small")


def test_an_update_fails_no_request_with_one_backend_and_with_two(small: Small) -> None:
    small.stack.start()
    for name, backends in (("second", 1), ("third", 2), ("fourth", 2)):
        (small.home.root / ".env").write_text(f"VALUE={name}\nBACKENDS={backends}\n")
        with asked_all_the_time(small) as said:
            small.stack.start()
        assert not [answer for answer in said if answer.startswith("FAILED")]
        assert len(said) > 40 and said[-1].startswith(name)
    tasks = [task for task in asked.tasks("small") if task.state == "running"]
    assert Counter(task.service for task in tasks)["mlbackend"] == 2


def test_a_new_backend_that_does_not_get_healthy_does_not_take_the_place_of_the_one_that_serves(
    small: Small,
) -> None:
    small.stack.start()
    before = small.ask("/backend")
    text = (small.home.root / "docker-compose.yml").read_text()
    broken = "    command: [python3, -c, 'raise SystemExit(3)']\n    environment: {VALUE"
    (small.home.root / "docker-compose.yml").write_text(text.replace("    environment: {VALUE", broken))
    with asked_all_the_time(small) as said, pytest.raises(Failure, match="mlbackend on node1: .*exit"):
        small.stack.start()
    assert set(said) == {before}
    wait_for("it to be taken back", lambda: small.stack.states()["mlbackend"] == "healthy", 60)
    assert small.ask("/backend") == before
    (small.home.root / "docker-compose.yml").write_text(text)
    small.stack.start()


def test_backends_on_the_other_node(small: Small) -> None:
    """It needs the image there, and the checkout at the same path; each is told with the way out."""
    small.label("node2")
    with pytest.raises(Failure, match="mlbackend on node2: .*No such image") as raised:
        small.stack.start()
    image = re.search(r"docker save (\S+) \| ssh node2 docker load", raised.value.do)
    assert image is not None
    carry(small.swarm.worker, image[1], come_from=small.swarm.manager.engine)

    (small.home.root / "small").rename(small.home.root / "elsewhere")
    text = (small.home.root / "docker-compose.yml").read_text()
    moved = text.replace('volumes: ["./small:', 'volumes: ["./elsewhere:')
    (small.home.root / "docker-compose.yml").write_text(moved)
    small.stack.start()
    assert small.node_of_backends() == {"node2"}
    assert small.ask("/backend").startswith("first ")

    another = ["build", "--quiet", "--tag", "small/server", str(small.home.root / "another")]
    (small.home.root / "another").mkdir()
    (small.home.root / "another" / "Dockerfile").write_text(f"FROM {PYTHON}\nLABEL another=one\n")
    small.swarm.manager.docker(*another)
    with asked_all_the_time(small) as said, pytest.raises(Failure, match="No such image") as raised:
        small.stack.start()
    assert not [answer for answer in said if answer.startswith("FAILED")]
    newer = re.search(r"docker save (\S+) \| ssh node2 docker load", raised.value.do)
    assert newer is not None and newer[1] != image[1]
    carry(small.swarm.worker, newer[1], come_from=small.swarm.manager.engine)

    small.label("node1")
    (small.home.root / ".env").write_text("BACKENDS=2\n")
    with asked_all_the_time(small) as said:
        small.stack.start()
    assert not [answer for answer in said if answer.startswith("FAILED")]
    assert small.node_of_backends() == {"node1", "node2"}


def test_a_registry_has_the_image_for_the_other_nodes(small: Small, tmp_path: Path) -> None:
    manager = small.swarm.manager
    (small.home.root / "Dockerfile").write_text(f"FROM {PYTHON}\nLABEL labelloop.version=abc\n")
    manager.docker("build", "--quiet", "--tag", "small/server", str(small.home.root))
    small.label("node2")
    with registry_at(tmp_path, manager.address, 5000, inside=manager.within()) as prefix:
        values = {"COMPOSE_PROJECT_NAME": "small", "SECRETS_STAMP": "one", "API_TOKEN": "secret"}
        stack = SwarmStack(small.home, Settings({**values, "REGISTRY": prefix}))
        pushed = f"{prefix}/mlbackend:abc"
        wait_for("the registry", lambda: "unknown" in (registry.pull(pushed) or ""), 60)
        with pytest.raises(Failure, match="needed an image that every node may pull") as raised:
            stack.start()
        assert f"`make publish REGISTRY={prefix}`" in raised.value.do
        manager.docker("tag", "small/server", pushed)
        manager.docker("push", "--quiet", pushed, timeout=1800)
        stack.start()
        assert small.node_of_backends() == {"node2"}
        images = small.swarm.worker.docker("ps", "--no-trunc", "--format", "{{.Image}}")
        assert pushed.rpartition(":")[0] + "@sha256:" in images


def test_new_secrets_replace_the_old_ones(small: Small) -> None:
    small.stack.start()
    (small.home.root / "token").write_text("another")
    values = {"COMPOSE_PROJECT_NAME": "small", "SECRETS_STAMP": "two", "API_TOKEN": "another"}
    SwarmStack(small.home, Settings(values)).start()
    [studio] = asked.containers("small", "labelstudio")
    assert small.swarm.manager.docker("exec", studio["Id"], "cat", "/run/secrets/API_TOKEN") == "another"
    assert small.swarm.manager.docker("secret", "ls", "--format", "{{.Name}}") == "small_API_TOKEN_two"


def test_a_worker_deploys_nothing(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as there:
        there.setenv("DOCKER_HOST", small.swarm.worker.engine)
        with pytest.raises(Failure, match="found a worker, needed a manager"):
            asked.this_node()
        assert not small.stack.runs_here()
