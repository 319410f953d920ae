"""Images pushed to a registry on 127.0.0.1, and pulled from it, by Docker and Debian's docker-registry.

A job of its own, since it needs both: `make test TESTS=tests/publish`. The images are a file each.
"""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.ports import free_port
from support.registries import FLAVOUR, NAMES, forget, registry_at, small_checkout, versions

from lifecycle import engine
from lifecycle.build import registry
from lifecycle.home import Home
from lifecycle.shell import answer
from lifecycle.verbs import publish


@pytest.fixture
def at(tmp_path: Path) -> Iterator[str]:
    """A registry with nothing in it, and a prefix in it."""
    with registry_at(tmp_path, "127.0.0.1", free_port()) as prefix:
        yield prefix


@pytest.fixture
def home(tmp_path: Path, at: str) -> Iterator[Home]:
    """A checkout whose images are a file each."""
    yield small_checkout(tmp_path / "checkout")
    forget(at)


def test_what_was_published_is_pulled_at_its_digest(
    home: Home, at: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert engine.engine_version(), "no Docker engine answers"
    publish.push(home, at, FLAVOUR, None)
    pinned = json.loads(registry.pins_file(home).read_text())
    assert sorted(pinned) == ["labelstudio", f"mlbackend-{FLAVOUR}", f"trainer-{FLAVOUR}"]
    for service, version in versions(home).items():
        with urllib.request.urlopen(_manifest(at, service, version), timeout=10) as response:
            digest = response.headers["Docker-Content-Digest"]
        assert {"version": version, "digest": digest} in pinned.values()

    forget(at)
    assert registry.pull_version(home, at, versions(home), NAMES)
    for service, name in NAMES.items():
        assert registry.label(name, registry.VERSION_LABEL) == versions(home)[service]
        assert registry.label(name, "org.opencontainers.image.title") == "labelloop"
    capsys.readouterr()
    assert registry.pull_version(home, at, versions(home), NAMES)
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        [service, "unchanged"] for service in versions(home)
    ]


def test_a_registry_that_lacks_it_or_holds_another_under_its_name_is_not_used(
    home: Home, at: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not registry.pull_version(home, at, versions(home), NAMES)
    assert "building the images" in capsys.readouterr().out
    publish.push(home, at, FLAVOUR, None)
    there = registry.reference(at, "trainer", versions(home)["trainer"])
    forged = registry.reference(at, "mlbackend", versions(home)["mlbackend"])
    for command in (["tag", forged, there], ["push", there]):
        assert answer(["docker", *command], seconds=60) is not None
    forget(at)
    assert registry.pull_version(home, at, versions(home), NAMES), "the digests stand for the images"
    assert registry.label(NAMES["trainer"], registry.VERSION_LABEL) == versions(home)["trainer"]
    forget(at)
    registry.pins_file(home).unlink()
    assert not registry.pull_version(home, at, versions(home), NAMES)
    assert "is made from other files than this checkout's" in capsys.readouterr().out


def _manifest(at: str, service: str, version: str) -> urllib.request.Request:
    host, _, prefix = at.partition("/")
    kinds = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
    return urllib.request.Request(
        f"http://{host}/v2/{prefix}/{service}/manifests/{version}", headers={"Accept": kinds}
    )
