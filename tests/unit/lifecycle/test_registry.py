"""Images from a registry and into one; what Docker would do is only recorded. tests/publish asks Docker."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lifecycle.build import images, python_image, registry
from lifecycle.console import Failure
from lifecycle.engine import SERVICES
from lifecycle.home import Home
from lifecycle.settings import known
from lifecycle.verbs import publish

REPO = Path(__file__).parents[3]
AT = "127.0.0.1:5000/team"
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An engine's images: name → its version's label. What is pulled is looked up under "registry"."""
    there: dict[str, str] = {}

    def label(image: str, name: str) -> str | None:
        return there.get(image)

    def answer(command: Sequence[str], **options: object) -> str:
        assert list(command[:2]) == ["docker", "tag"]
        there[command[3]] = there[command[2]]
        return ""

    monkeypatch.setattr(registry, "label", label)
    monkeypatch.setattr(registry, "answer", answer)
    return there


def serve(monkeypatch: pytest.MonkeyPatch, engine: dict[str, str], images: dict[str, str]) -> list[str]:
    """A registry with these images. Returns: what it is asked for."""
    asked: list[str] = []

    def pull(name: str) -> str | None:
        asked.append(name)
        engine.update({name: images[name]} if name in images else {})
        return None if name in images else "manifest unknown"

    monkeypatch.setattr(registry, "pull", pull)
    return asked


def test_a_version_with_a_known_digest_is_asked_for_by_it_alone(
    home: Home, engine: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home.root / "images").mkdir()
    registry.pin(home, {"trainer-cpu": ("v1", DIGEST)})
    asked = serve(monkeypatch, engine, {f"{AT}/trainer@{DIGEST}": "v1", f"{AT}/trainer:v2": "v2"})
    names = {"trainer": "labelloop/trainer:cpu"}
    assert registry.pull_version(home, AT, {"trainer": "v1"}, names)
    assert engine["labelloop/trainer:cpu"] == "v1"
    assert registry.pull_version(home, AT, {"trainer": "v1"}, names)
    assert asked == [f"{AT}/trainer@{DIGEST}"], "nothing is asked for what is here"
    assert registry.pull_version(home, AT, {"trainer": "v2"}, names), "one that was published from elsewhere"
    assert engine["labelloop/trainer:cpu"] == "v2"


def test_what_the_registry_lacks_or_mistakes_is_not_taken(
    home: Home, engine: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(monkeypatch, engine, {f"{AT}/trainer:v1": "another"})
    for service, why in (
        ("trainer", "is made from other files"),
        ("mlbackend", "no mlbackend:v1, manifest unknown:"),
    ):
        assert not registry.pull_version(home, AT, {service: "v1"}, {service: "here"})
        assert why in capsys.readouterr().out and "here" not in engine


@pytest.mark.parametrize(
    ("docker", "why"),
    [
        ("echo pulling; echo warning >&2; echo 'denied: log in' >&2; exit 1", "denied: log in"),
        ("exit 3", "docker pull ended with 3"),
        ("sleep 5", "no answer within 0 s"),
        ("echo pulled; echo warning >&2", None),
    ],
)
def test_why_an_image_is_not_had_is_docker_s_own_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, docker: str, why: str | None
) -> None:
    program = tmp_path / "docker"
    program.write_text(
        f"#!/bin/sh\n[ \"$*\" = 'pull x/y:z' ] || exit 9\n{docker.replace('sleep', 'exec sleep')}\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(registry, "SECONDS", 0.3 if docker.startswith("sleep") else 10.0)
    assert registry.pull("x/y:z") == why


@pytest.mark.parametrize(
    ("words", "way_out", "certain"),
    [
        (
            "Head https://reg.lan:5000/v2/t/x/manifests/v1: no basic auth credentials",
            "`docker login reg.lan:5000` first",
            True,
        ),
        (
            "Get https://reg.lan:5000/v2/: x509: certificate signed by unknown authority",
            "/etc/docker/certs.d/reg.lan:5000/ca.crt",
            True,
        ),
        ("x509: certificate has expired or is not yet valid", "its certificate has to be another", True),
        ("http: server gave HTTP response to HTTPS client", "insecure-registries", True),
        (
            "dial tcp 10.0.0.9:5000: connect: connection refused",
            "is REGISTRY, now reg.lan:5000/t, right?",
            True,
        ),
        ("no answer within 10 s", "is REGISTRY", True),
        # Of what nobody has pushed yet, too, says Docker Hub.
        (
            "pull access denied for t/x, repository does not exist or may require 'docker login': denied",
            "or the repository isn't there",
            False,
        ),
        ("unauthorized: authentication required", "`docker login reg.lan:5000` first", False),
        ("manifest for reg.lan:5000/t/x@sha256:a401403 not found: manifest unknown", "", False),
    ],
)
def test_what_a_registry_refuses_has_a_way_out(
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    way_out: str,
    certain: bool,
) -> None:
    """`make up` tells it and builds; `make publish` doesn't build first what it couldn't push."""
    at = "reg.lan:5000/t"
    monkeypatch.setattr(registry, "pull", lambda name: words)
    monkeypatch.setattr(registry, "label", lambda image, name: None)
    versions, names = {"trainer": "v1", "mlbackend": "v2"}, {"trainer": "trainer", "mlbackend": "mlbackend"}
    assert not registry.pull_version(home, at, versions, names)
    said = capsys.readouterr().out
    assert said.count(words) == 1 and ": building the images" in said
    assert ("to pull instead: " in said) == bool(way_out) and way_out in said
    if certain:
        with pytest.raises(Failure) as raised:
            registry.require(at)
        assert words in raised.value.text and way_out in raised.value.do
    else:
        registry.require(at)


@pytest.mark.parametrize(
    ("words", "way_out"),
    [
        ("failed to push: unexpected status: 401 Unauthorized", "`docker login 127.0.0.1:5000` first"),
        ("failed to solve: no space left on device", "Its words are above."),
    ],
)
def test_a_push_that_fails_has_a_way_out(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, way_out: str
) -> None:
    (home.root / "images").mkdir()
    (tmp_path / "docker").write_text(f"#!/bin/sh\necho 'ERROR: {words}'\nexit 1\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(Failure, match=f"pushing to {AT} failed") as raised:
        publish.push(home, AT, "cpu", None)
    assert way_out in raised.value.do


def test_digests_of_other_kinds_of_image_stay(home: Home) -> None:
    (home.root / "images").mkdir()
    registry.pin(home, {"trainer-cpu": ("v1", DIGEST), "labelstudio": ("v1", DIGEST)})
    registry.pin(home, {"trainer-cuda-9.0": ("v2", DIGEST), "labelstudio": ("v3", DIGEST)})
    assert registry.pins(home) == {"v1": DIGEST, "v2": DIGEST, "v3": DIGEST}
    assert len(json.loads(registry.pins_file(home).read_text())) == 3
    registry.pins_file(home).write_text("[]")
    for read in (registry.pins, lambda home: registry.pin(home, {})):
        with pytest.raises(Failure, match="published.json.*`git checkout` it"):
            read(home)


def test_what_is_pulled_is_not_built(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a python image asked for, or a base: the services' images have all."""
    wanted: list[dict[str, str]] = []

    def pull_version(home: Home, at: str, versions: dict[str, str], names: dict[str, str]) -> bool:
        wanted.append(names)
        return True

    def unreachable() -> None:
        raise AssertionError("a python image is made")

    monkeypatch.setattr(registry, "pull_version", pull_version)
    monkeypatch.setattr(python_image, "ensure_python_image", unreachable)
    images.build_images(home, "cpu", None, AT)
    assert wanted == [
        {
            "labelstudio": "labelloop/labelstudio",
            "trainer": "labelloop/trainer:cpu",
            "mlbackend": "labelloop/mlbackend:cpu",
        }
    ]


def test_a_version_is_the_same_on_every_host(home: Home) -> None:
    """An image's inputs hold the host's python image, too, which hosts have from different places."""
    first, second = (images.image_hashes(home, python, "cpu", None) for python in ("sha256:a", "sha256:b"))
    assert first["trainer"] != second["trainer"]
    assert images.versions(home, "cpu", None) != images.versions(home, "cuda", "9.0")


@pytest.mark.parametrize("value", ["https://x.org/y", "x.org", "x.org/Team", "x.org/y:1", "x.org/y/", "-"])
def test_a_registry_is_a_host_and_a_prefix(home: Home, value: str) -> None:
    assert "such as registry.example.com/labelloop" in (known.problem(home, "REGISTRY", value) or "")
    for possible in ("", "x.org/y", "127.0.0.1:5000/a/b-c", "localhost/x_y"):
        assert known.problem(home, "REGISTRY", possible) is None


def refusal(home: Home, given: dict[str, str]) -> str:
    with pytest.raises(Failure) as raised:
        publish.publish(home, given)
    return str(raised.value)


def test_publishing_wants_a_registry_docker_and_no_password_in_what_it_pushes(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home.root / "configs/labels/everyday.xml").write_text("<View/>")
    assert "found no REGISTRY, needed REGISTRY=registry.example.com/labelloop" in refusal(home, {})
    assert "REGISTRY: found 'x'" in refusal(home, {"REGISTRY": "x"})
    monkeypatch.setattr(publish, "choose_runtime", lambda settings: "host")
    assert "Add RUNTIME=docker" in refusal(home, {"REGISTRY": AT})
    monkeypatch.setattr(publish, "choose_runtime", lambda settings: "docker")
    for name in ("PIP_INDEX_URL", "pip_index_url", "HTTP_PROXY", "https_proxy"):
        with monkeypatch.context() as shell:
            shell.setenv(name, "https://me:secret@mirror/simple")
            said = refusal(home, {"REGISTRY": AT})
        assert f"{name.upper()}: found a password in it" in said and "secret" not in said
    (home.root / "configs/local.env").write_text("HTTP_PROXY=http://me:secret@proxy:3128\n")
    said = refusal(home, {"REGISTRY": AT})
    assert "HTTP_PROXY: found a password in it" in said and "secret" not in said


def test_what_is_published_was_built_here(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not pulled from there, and the registry doesn't become the one that `make up` pulls from."""
    done: list[object] = []

    def build(home: Home, given: dict[str, str], *, pull: bool) -> None:
        done.append((given, pull))

    monkeypatch.setattr(publish, "choose_runtime", lambda settings: "docker")
    monkeypatch.setattr(publish, "build", build)
    monkeypatch.setattr(publish, "push", lambda home, *what: done.append(what))
    monkeypatch.setattr(registry, "pull", lambda name: f"{name}: manifest unknown")
    publish.publish(home, {"REGISTRY": AT, "ACCELERATOR": "cuda", "TORCH_CUDA_ARCH_LIST": "9.0"})
    assert done == [
        ({"ACCELERATOR": "cuda", "TORCH_CUDA_ARCH_LIST": "9.0"}, False),
        (AT, "cuda", "9.0"),
    ]


@pytest.fixture
def bake(home: Home, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], dict[str, str]]:
    """Pushes with a builder's driver, and a registry that says a digest. Returns: the variables for bake."""
    (home.root / "images").mkdir()

    def push(driver: str, digest: str) -> dict[str, str]:
        given: dict[str, str] = {}

        def run(command: Sequence[str], env: dict[str, str], **options: object) -> None:
            Path(command[command.index("--metadata-file") + 1]).write_text("{}")
            given.update(env)

        monkeypatch.setattr(publish, "run", run)
        monkeypatch.setattr(publish, "builder_driver", lambda: driver)
        monkeypatch.setattr(publish, "answer", lambda command, **options: f"Name: x\nDigest:    {digest}\n")
        publish.push(home, AT, "cuda", "9.0")
        return given

    return push


def test_a_builder_that_can_attests_and_the_digests_are_kept(
    home: Home, bake: Callable[[str, str], dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    own = bake("docker", DIGEST)
    assert (own["CONTAINED"], own["FLAVOUR"], own["COMPOSE_ACCELERATOR"]) == ("", "cuda-9.0", "cuda")
    assert "no SBOM and no provenance" in capsys.readouterr().out
    assert bake("docker-container", DIGEST)["CONTAINED"] == "1"
    assert "no SBOM" not in capsys.readouterr().out
    version = images.versions(home, "cuda", "9.0")
    assert registry.pins(home) == {version[service]: DIGEST for service in SERVICES}
    with pytest.raises(Failure, match="found no digest"):
        bake("docker", "none")


def test_the_bake_file_asks_for_what_publishing_gives_and_for_no_more() -> None:
    text = (REPO / "docker-bake.hcl").read_text()
    given = {
        "REGISTRY",
        "FLAVOUR",
        "COMPOSE_ACCELERATOR",
        "REVISION",
        "CONTAINED",
        *(f"{name.upper()}_VERSION" for name in SERVICES),
    }
    assert set(re.findall(r'^variable "(\w+)"', text, re.MULTILINE)) == given
    compose = (REPO / "docker-compose.yml").read_text()
    for service in ("base", *SERVICES):
        assert f'labelloop.version: "${{{service.upper()}_VERSION:-}}"' in compose
        assert f"{service.upper()}_VERSION" in known.FOR_COMPOSE
