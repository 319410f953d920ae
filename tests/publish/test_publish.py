"""Images pushed to a registry on 127.0.0.1, and pulled from it, by Docker and Debian's docker-registry.

A job of its own, since it needs both: `make test TESTS=tests/publish`. The images are a file each.
"""

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stack import free_port, wait_for

from lifecycle import engine
from lifecycle.build import images, registry
from lifecycle.engine import SERVICES
from lifecycle.home import Home
from lifecycle.shell import answer
from lifecycle.verbs import publish

REPO = Path(__file__).parents[2]
FLAVOUR = "published-in-a-test"
"""In the accelerator's place, so that no image of this machine's own is touched."""
NAMES = {service: f"labelloop-published-in-a-test/{service}" for service in SERVICES}


@pytest.fixture
def at(tmp_path: Path) -> Iterator[str]:
    """A registry with nothing in it, and a prefix in it."""
    port = free_port()
    config = tmp_path / "registry.yml"
    folder = tmp_path / "registry"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    program = shutil.which("docker-registry")
    assert program, "`apt-get install docker-registry` has the registry of this test"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([program, "serve", str(config)], **quiet) as serving:
        try:
            wait_for("the registry", lambda: _answers(port), 30)
            yield f"127.0.0.1:{port}/team/labelloop"
        finally:
            serving.terminate()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=1) as response:
            return int(response.status) == 200
    except OSError:
        return False


@pytest.fixture
def home(tmp_path: Path, at: str) -> Iterator[Home]:
    """A checkout whose images are a file each."""
    root = tmp_path / "checkout"
    for name in ("docker-compose.yml", "docker-bake.hcl", "configs/loop.env"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / name, root / name)
    (root / "configs/local.env").touch()
    for service in ("base", *SERVICES):
        (root / "images" / service).mkdir(parents=True)
        (root / "images" / service / "Dockerfile").write_text(
            f"FROM scratch\nCOPY images/{service}/Dockerfile /{service}\n"
        )
    made = Home(root)
    yield made
    forget(at)


def versions(home: Home) -> dict[str, str]:
    return {name: each for name, each in images.versions(home, FLAVOUR, None).items() if name in SERVICES}


def forget(at: str) -> None:
    """Has the engine know the images no longer, by none of their names."""
    ours = (f"{at}/*", "labelloop-published-in-a-test/*")
    filters = [word for name in ours for word in ("--filter", f"reference={name}")]
    if ids := answer(["docker", "images", "--all", "--quiet", *filters]):
        answer(["docker", "image", "rm", "--force", *{*ids.split()}])


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
