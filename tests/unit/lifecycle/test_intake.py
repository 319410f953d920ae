"""`make import DATASET=…`: what is asked of the trainer, and how its container gets to see the paths."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lifecycle import engine
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.runtime.docker_stack import DockerStack
from lifecycle.verbs import intake as module
from lifecycle.verbs.intake import import_
from lifecycle.verbs.table import VERBS


class Stack:
    """Notes what would be run."""

    def __init__(self) -> None:
        self.commands: list[tuple[Any, ...]] = []

    def labelloop(self, arguments: Sequence[str], project: str | None) -> None:
        self.commands.append((list(arguments), project))

    def labelloop_reading(
        self, arguments: Sequence[str | Path], project: str | None, readable: Any, variable: str | None
    ) -> None:
        self.commands.append((list(arguments), project, list(readable), variable))


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Stack:
    made = Stack()
    monkeypatch.setattr(module, "running_stack", lambda home, settings: made)
    monkeypatch.delenv(module.TOKEN, raising=False)
    return made


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "my set"
    folder.mkdir()
    (folder / "labels.csv").write_text("")
    return folder


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (["import"], None)),
        ({"PROJECT": "2"}, (["import"], "2")),
        ({"AGAIN": "1", "PROJECT": "2"}, (["import", "--again"], "2")),
        ({"AGAIN": "0"}, (["import"], None)),
    ],
)
def test_without_a_dataset_new_images_become_tasks_and_deleted_ones_where_a_person_says_so(
    stack: Stack, home: Home, given: dict[str, str], expected: tuple[list[str], str | None]
) -> None:
    VERBS["import"].check("import", given)
    import_(home, given)
    assert stack.commands == [expected]


def test_every_setting_becomes_an_option(stack: Stack, home: Home, dataset: Path) -> None:
    given = {"DATASET": str(dataset), "IMAGES": str(dataset), "FORMAT": "voc", "AS": "predictions"}
    more = {"SHAPES": "boxes", "MAP": "owl=bird", "YES": "1", "ALL": "yes", "PEOPLE": "3=ann@example.org"}
    import_(home, {**given, **more, "PROJECT": "2"})
    words = ["intake", dataset, "--name", "my set", "--format=voc", "--as=predictions", "--map=owl=bird"]
    flags = ["--people=3=ann@example.org", "--boxes", "--yes", "--all", "--images", dataset]
    assert stack.commands == [([*words, *flags], "2", [dataset, dataset], None)]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"DATASET": "/nothing/here"}, "DATASET: found nothing at /nothing/here"),
        ({"DATASET": "{set}", "FORMAT": "pdf"}, "FORMAT: found 'pdf', needed coco or yolo or voc"),
        ({"DATASET": "{set}", "AS": "truth"}, "AS: found 'truth', needed annotations or predictions"),
        ({"DATASET": "{set}", "SHAPES": "all"}, "SHAPES: found 'all', needed boxes"),
        ({"DATASET": "{set}", "YES": "perhaps"}, "YES: found 'perhaps'"),
        ({"DATASET": "{set}", "FROM": "x"}, "FROM: found 'x', needed the id of a project there"),
        ({"DATASET": "{set}", "IMAGES": "{set}/labels.csv"}, "needed a folder with images"),
        ({"YES": "1"}, "found YES without DATASET"),
        ({"AGAIN": "perhaps"}, "AGAIN: found 'perhaps'"),
        ({"DATASET": "{set}", "AGAIN": "1"}, "found AGAIN with DATASET"),
        ({"DATASET": "http://other.example"}, "found no token, needed TOKEN_FILE="),
        ({"DATASET": "http://other.example", "TOKEN_FILE": "/nothing"}, "TOKEN_FILE: found "),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    stack: Stack, home: Home, dataset: Path, given: dict[str, str], found: str
) -> None:
    with pytest.raises(Failure) as refused:
        import_(home, {name: value.replace("{set}", str(dataset)) for name, value in given.items()})
    assert found in str(refused.value) and not stack.commands


def test_the_token_of_another_label_studio_stands_in_no_command_line(
    stack: Stack, home: Home, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    import_(home, {"DATASET": "https://other.example", "TOKEN_FILE": str(tmp_path / "token"), "FROM": "3"})
    assert stack.commands == [(["intake", "https://other.example", "--from=3"], None, [], module.TOKEN)]
    assert os.environ.pop(module.TOKEN) == "t0ken"


@pytest.fixture
def docker(home: Home, monkeypatch: pytest.MonkeyPatch) -> tuple[DockerStack, list[list[str]]]:
    """A stack on Docker whose trainer runs, and the commands that it becomes."""
    made: list[list[str]] = []
    stack = DockerStack(home, "labelloop")
    monkeypatch.setattr(stack, "states", lambda: {"trainer": "healthy"})
    monkeypatch.setattr(stack, "_become", made.append)
    return stack, made


def test_a_container_of_its_own_sees_the_paths_and_writes_into_the_images(
    docker: tuple[DockerStack, list[list[str]]], home: Home, dataset: Path
) -> None:
    stack, made = docker
    file = dataset / "labels.csv"
    stack.labelloop_reading(["intake", file, "--images", dataset], "2", [file, dataset], "IMPORT_TOKEN")
    [command] = made
    assert command[:6] == ["docker", "compose", "run", "--rm", "--no-deps", "-T"]
    mounts = [command[i + 1] for i, word in enumerate(command) if word == "--volume"]
    assert mounts == [
        f"{dataset}:/given/0:ro",
        f"{dataset}:/given/1/my set:ro",
        f"{home.volumes / 'images'}:/given/images",
    ]
    assert command[command.index("PROJECT=2") - 1] == command[command.index("IMPORT_TOKEN") - 1] == "--env"
    after = command[command.index("trainer") :]
    assert after == [
        *("trainer", "labelloop", "intake", "/given/0/labels.csv"),
        *("--images", "/given/1/my set", "--into", "/given/images"),
    ]


def test_what_lies_among_the_images_is_known_by_its_own_name(
    docker: tuple[DockerStack, list[list[str]]], home: Home
) -> None:
    """A copy elsewhere would get tasks of its own."""
    stack, made = docker
    path = home.volumes / "images" / "mine"
    stack.labelloop_reading(["intake", path], None, [path], None)
    assert made[0][-3:] == ["/labelloop/volumes/images/mine", "--into", "/given/images"]
    assert made[0].count("--volume") == 1


def test_a_path_that_docker_cannot_mount_is_refused(
    docker: tuple[DockerStack, list[list[str]]], tmp_path: Path
) -> None:
    (tmp_path / "a:b").mkdir()
    with pytest.raises(Failure, match="found a colon"):
        docker[0].labelloop_reading(["intake", tmp_path / "a:b"], None, [tmp_path / "a:b"], None)


def test_this_machines_own_address_is_another_one_in_a_container(
    docker: tuple[DockerStack, list[list[str]]], home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "running_stack", lambda home, settings: docker[0])
    with pytest.raises(Failure, match="the address by which other machines reach it"):
        import_(home, {"DATASET": "http://localhost:8080", "TOKEN": "t"})


def test_a_container_beside_a_service_is_not_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {"com.docker.compose.service": "trainer", "com.docker.compose.oneoff": "False"}
    rows = [
        {"Config": {"Labels": labels}},
        {"Config": {"Labels": {**labels, "com.docker.compose.oneoff": "True"}}},
    ]
    answers = iter(["one two", json.dumps(rows)])
    monkeypatch.setattr(engine, "answer", lambda command: next(answers))
    assert engine.containers("labelloop") == rows[:1]
