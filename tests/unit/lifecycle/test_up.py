"""`make up` and `make restart` up to the services, which only pretend."""

from pathlib import Path

import pytest

from lifecycle import engine
from lifecycle.build import images, venvs
from lifecycle.console import Failure
from lifecycle.doctor import checks
from lifecycle.home import Home
from lifecycle.runtime import volumes
from lifecycle.runtime.host_stack import HostStack
from lifecycle.settings import env_file, settings
from lifecycle.settings.settings import Settings
from lifecycle.verbs import table as verbs
from lifecycle.verbs import up

REPO = Path(__file__).parents[3]


@pytest.fixture
def checked(home: Home, monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """A checkout after its first `make up`, on a Docker host that passes; the settings that were checked."""
    seen: list[Settings] = []
    (home.root / "configs/labels/everyday.xml").write_text("<View/>")
    home.env_file.write_text("PORT=8080\nDASHBOARD_PORT=8081\nSUBNET=10.213.0.0/24\n")
    monkeypatch.setattr(up, "choose_runtime", lambda settings: "docker")
    monkeypatch.setattr(up, "choose_accelerator", lambda settings, runtime: "cpu")
    monkeypatch.setattr(images, "images_are_built", lambda accelerator: True)
    monkeypatch.setattr(images, "build_images", lambda *arguments, **options: None)
    monkeypatch.setattr(volumes, "prepare_volumes", lambda *arguments, **options: None)
    monkeypatch.setattr(checks, "check_docker", lambda home, settings, **options: seen.append(settings))
    return seen


def test_the_readmes_example_works_after_the_quick_start(home: Home, checked: list[Settings]) -> None:
    """Its PORT is the one that the first `make up` gave to the dashboard."""
    assert "make up DETECTOR=yolox_s LABEL_CONFIG=configs/labels/face.xml PORT=8081" in (
        REPO / "README.md"
    ).read_text(encoding="utf-8")
    given = {"DETECTOR": "yolox_s", "LABEL_CONFIG": "configs/labels/face.xml", "PORT": "8081"}
    up.build(home, given)
    assert checked[0].published_ports == Settings(env_file.read(home.env_file)).published_ports
    assert checked[0].published_ports == (8081, 8082)


@pytest.mark.parametrize(
    ("stored", "given"),
    [("PORT=eighty\n", {}), ("", {"COLOUR": "red"}), ("", {"PORT": "eighty"})],
)
def test_a_restart_with_an_impossible_setting_stops_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch, stored: str, given: dict[str, str]
) -> None:
    (home.root / "configs/labels/everyday.xml").write_text("<View/>")
    home.env_file.write_text(stored)
    monkeypatch.setattr(verbs, "stop", lambda home: pytest.fail("it would be stopped"))
    with pytest.raises(Failure, match="eighty|no such setting"):
        verbs.VERBS["restart"].run(home, given)


class OnHost(HostStack):
    """Runs on the environments of this checkout, until it is stopped."""

    calls: list[str] = []

    def holds_ports(self) -> bool:
        return "stop" not in self.calls

    def stop(self) -> None:
        self.calls.append("stop")

    def start(self) -> None:
        self.calls.append("start")


@pytest.fixture
def on_host(home: Home, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stack on the host runtime with a checkout that wants other packages; what is done to it, in order."""
    calls: list[str] = []
    (home.root / "configs/labels/everyday.xml").write_text("<View/>")
    monkeypatch.setenv("RUNTIME", "host")
    monkeypatch.setenv("ACCELERATOR", "cpu")
    monkeypatch.setattr(OnHost, "calls", calls)
    monkeypatch.setattr(up, "HostStack", OnHost)
    monkeypatch.setattr(up, "check_alone", lambda *arguments: None)
    monkeypatch.setattr(up, "_provision", lambda *arguments: None)
    monkeypatch.setattr(checks, "check_host", lambda *arguments, **options: None)
    monkeypatch.setattr(venvs, "are_current", lambda *arguments: "ml" in calls)
    monkeypatch.setattr(venvs, "ensure_labelstudio", lambda home: calls.append("labelstudio"))
    monkeypatch.setattr(venvs, "ensure_ml", lambda *arguments: calls.append("ml"))
    return calls


def test_an_environment_is_not_made_anew_under_what_runs_on_it(home: Home, on_host: list[str]) -> None:
    with pytest.raises(Failure, match="found programs of this checkout running on it.*`make upgrade`"):
        up.build(home, {})
    assert not up.build_ahead(home)
    assert on_host == []
    up.up(home, {})
    assert sorted(on_host[1:3]) == ["labelstudio", "ml"]
    assert (on_host[0], on_host[3:]) == ("stop", ["start"])


def test_what_runs_stays_while_there_is_nothing_to_install(home: Home, on_host: list[str]) -> None:
    on_host.append("ml")
    assert up.build_ahead(home)
    assert "stop" not in on_host


@pytest.mark.parametrize(("listed", "device"), [(None, "cpu"), ("9.0", "cuda")])
def test_what_is_made_for_a_gpu_runs_without_one_and_that_is_said(
    home: Home,
    on_host: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    listed: str | None,
    device: str,
) -> None:
    monkeypatch.setenv("ACCELERATOR", "cuda")
    monkeypatch.setattr(engine, "gpu_architecture", lambda: listed)
    up.up(home, {"TORCH_CUDA_ARCH_LIST": "9.0"})
    assert on_host[-1] == "start"
    assert ("nvidia-smi lists no GPU here" in capsys.readouterr().out) == (listed is None)
    assert settings.load(home).device == device
