"""`make gpu-check`: what it refuses, and what it runs."""

import subprocess
from typing import Any

import pytest

from lifecycle import engine
from lifecycle.console import Failure
from lifecycle.dev import gpu_check as module
from lifecycle.dev.gpu_check import gpu_check
from lifecycle.home import Home


class Ran:
    """Takes the place of subprocess.run, and ends with a status."""

    def __init__(self) -> None:
        self.command: list[str] = []
        self.status = 0

    def __call__(self, command: list[str], **options: Any) -> Any:
        self.command = command
        return subprocess.CompletedProcess(command, self.status)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """A host with a GPU and an engine that has the image."""
    found = Ran()
    monkeypatch.setattr(engine, "gpu_architecture", lambda: "9.0")
    monkeypatch.setattr(module, "choose_runtime", lambda settings: "docker")
    monkeypatch.setattr(module, "answer", lambda command: "sha256:1")
    monkeypatch.setattr(module.subprocess, "run", found)
    return found


def test_without_a_gpu_it_says_so_and_the_way_out(
    home: Home, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "gpu_architecture", lambda: None)
    with pytest.raises(Failure) as refused:
        gpu_check(home, {})
    assert "none that nvidia-smi lists" in str(refused.value) and "docs/how-to/gpu.md" in refused.value.do
    assert not ran.command


def test_in_the_image_it_has_the_gpu_and_no_network(home: Home, ran: Ran) -> None:
    gpu_check(home, {})
    command = " ".join(ran.command)
    assert command.startswith("docker run --rm") and "--gpus all --network none --read-only" in command
    assert command.endswith("labelloop/trainer:cuda python -m trainer.gpu_check --out build/gpu-check")
    assert f"{home.root}/configs:/labelloop/configs:ro" in command


def test_without_the_image_or_environment_it_says_what_makes_them(
    home: Home, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "answer", lambda command: None)
    with pytest.raises(Failure) as refused:
        gpu_check(home, {})
    assert "make build ACCELERATOR=cuda" in refused.value.do
    monkeypatch.setattr(module, "choose_runtime", lambda settings: "host")
    with pytest.raises(Failure) as refused:
        gpu_check(home, {})
    assert "make build RUNTIME=host ACCELERATOR=cuda" in refused.value.do


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (1, "lines that FAILED.*docs/how-to/gpu.md.*gpu-check.json.*make up ACCELERATOR=cpu"),
        (65, "none that torch could use"),
        (137, "broke off with 137. Its last words"),
    ],
)
def test_a_failed_check_fails(status: int, told: str, home: Home, ran: Ran) -> None:
    ran.status = status
    with pytest.raises(Failure, match=told):
        gpu_check(home, {})
