"""What a builder is asked for when images are published, as buildx itself reads it. Nothing is built."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lifecycle.engine import SERVICES
from lifecycle.home import Home
from lifecycle.shell import answer

REPO = Path(__file__).parents[3]
AT = "registry.example.com/team"
Asked = Callable[[str], dict[str, dict[str, Any]]]

pytestmark = pytest.mark.skipif(answer(["docker", "buildx", "version"]) is None, reason="no Docker buildx")


@pytest.fixture
def asked(home: Home) -> Asked:
    """Takes CONTAINED. Returns, by target, what publishing for a GPU of 9.0 asks for."""
    for name in ("docker-compose.yml", "docker-bake.hcl"):
        shutil.copy(REPO / name, home.root)
    home.local_settings.touch()
    return partial(_asked, home)


def _asked(home: Home, contained: str) -> dict[str, dict[str, Any]]:
    given = {
        "REGISTRY": AT,
        "FLAVOUR": "cuda-9.0",
        "COMPOSE_ACCELERATOR": "cuda",
        "REVISION": "abc123",
        "CONTAINED": contained,
        **{f"{service.upper()}_VERSION": f"version-of-{service}" for service in ("base", *SERVICES)},
    }
    files = ("--file", "docker-compose.yml", "--file", "docker-bake.hcl")
    done = subprocess.run(
        ["docker", "buildx", "bake", *files, "--print", *SERVICES],
        cwd=home.root,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    targets: dict[str, dict[str, Any]] = json.loads(done.stdout)["target"]
    return targets


def fields(told: list[Any]) -> list[dict[str, str]]:
    """What buildx tells as type=registry,ref=x, and later releases as {"type": "registry", "ref": "x"}."""

    def split(one: Any) -> dict[str, str]:
        return one if isinstance(one, dict) else dict(pair.split("=", 1) for pair in one.split(","))

    return sorted(map(split, told), key=lambda one: one["type"])


def test_both_ways_in_which_buildx_tells_what_it_read_are_understood() -> None:
    assert fields(["type=registry,ref=a/b:c"]) == fields([{"ref": "a/b:c", "type": "registry"}])


def test_a_builder_that_can_attests_each_image_and_takes_the_base_from_a_target(asked: Asked) -> None:
    """No registry has labelloop/base: a builder that doesn't see the engine's images would ask one for it."""
    targets = asked("1")
    assert targets.keys() == {*SERVICES, "base"}
    for service in SERVICES:
        assert fields(targets[service]["attest"]) == [{"type": "provenance", "mode": "max"}, {"type": "sbom"}]
    for service in ("trainer", "mlbackend"):
        from_image = targets[service]["args"]["BASE_IMAGE"]
        assert targets[service]["contexts"] == {from_image: "target:base"}
    assert targets["base"]["args"]["ACCELERATOR"] == "cuda"


def test_the_engines_own_builder_is_asked_for_what_it_has(asked: Asked) -> None:
    targets = asked("")
    assert targets.keys() == {*SERVICES}
    assert not any("attest" in target or "contexts" in target for target in targets.values())


def test_names_labels_and_cache_are_those_that_pulling_asks_for(asked: Asked) -> None:
    targets = asked("")
    for service in SERVICES:
        target = targets[service]
        kind = "latest" if service == "labelstudio" else "cuda-9.0"
        assert target["tags"] == [f"{AT}/{service}:version-of-{service}", f"{AT}/{service}:{kind}"]
        assert target["labels"]["labelloop.version"] == f"version-of-{service}"
        assert target["labels"]["org.opencontainers.image.revision"] == "abc123"
        assert fields(target["cache-from"]) == [{"type": "registry", "ref": f"{AT}/{service}:{kind}"}]
        assert fields(target["cache-to"]) == [{"type": "inline"}]
