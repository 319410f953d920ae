"""What makes a build stale, and where the compiled mmcv-full is kept."""

import shutil
from pathlib import Path

import pytest

from lifecycle.build import images, wheel
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.inputs import inputs_hash

REPO = Path(__file__).parents[3]


def hashes(home: Home, accelerator: str = "cpu") -> dict[str, str]:
    return images.image_hashes(home, "sha256:python", accelerator, None)


@pytest.fixture
def sources(home: Home) -> Home:
    for service in ("base", "labelstudio", "mlbackend", "trainer"):
        folder = home.root / "images" / service
        folder.mkdir(parents=True)
        (folder / "Dockerfile").write_text(service)
    (home.root / "images/base/labelloop").mkdir()
    (home.root / "images/base/labelloop/boxes.py").write_text("1")
    return home


def changed(home: Home, path: str) -> set[str]:
    before = hashes(home)
    (home.root / path).parent.mkdir(parents=True, exist_ok=True)
    (home.root / path).write_text("changed")
    return {service for service, value in hashes(home).items() if before[service] != value}


def test_each_image_is_stale_when_what_it_stands_on_changes(sources: Home) -> None:
    assert changed(sources, "images/trainer/Dockerfile") == {"trainer"}
    assert changed(sources, "images/labelstudio/provisioner/x.py") == {"labelstudio"}
    assert changed(sources, "images/base/Dockerfile") == {"base", "trainer", "mlbackend"}
    assert changed(sources, "images/base/labelloop/boxes.py") == {
        "base",
        "labelstudio",
        "trainer",
        "mlbackend",
    }


def test_what_builds_and_tools_leave_behind_is_no_input(sources: Home) -> None:
    for path in (
        "base/wheels/x.whl",
        "trainer/trainer/__pycache__/x.pyc",
        "trainer/trainer.egg-info/PKG-INFO",
    ):
        assert changed(sources, f"images/{path}") == set()


def test_the_accelerator_is_an_input(sources: Home) -> None:
    assert hashes(sources)["base"] != hashes(sources, "cuda")["base"]


def test_a_renamed_file_is_a_change(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    first = inputs_hash(tmp_path, ["a", "b"])
    (tmp_path / "a").rename(tmp_path / "b")
    assert inputs_hash(tmp_path, ["a", "b"]) != first


def test_the_wheels_key_names_what_it_depends_on(home: Home) -> None:
    shutil.copytree(
        REPO / "images" / "base", home.root / "images" / "base", ignore=shutil.ignore_patterns("labelloop")
    )
    key = wheel.wheel_key(home, "cp311 glibc2.36 x86_64", "cuda", "8.6")
    assert key.startswith("cp311-torch2.13.0-cuda8.6-glibc2.36-x86_64-")
    assert wheel.wheel_key(home, "cp311 glibc2.36 x86_64", "cpu", None) != key


@pytest.mark.parametrize(
    ("name", "compiled_anew"),
    [
        ("mmcv.lock", {"cpu", "cuda"}),
        ("mmcv_units.py", {"cpu", "cuda"}),
        ("build-mmcv-wheel.sh", {"cpu", "cuda"}),
        ("cuda_stubs.py", {"cpu"}),
        ("nvcc.lock", {"cuda"}),
        ("cuda.lock", set()),
        ("Dockerfile", set()),
    ],
)
def test_mmcv_is_compiled_anew_when_its_own_recipe_changes(
    home: Home, name: str, compiled_anew: set[str]
) -> None:
    base = home.root / "images/base"
    base.mkdir(parents=True)
    for needed in {*wheel.RECIPES["cpu"], *wheel.RECIPES["cuda"], "images/base/requirements.lock"}:
        shutil.copy(REPO / needed, base)

    def keys() -> dict[str, str]:
        cpu, cuda = (
            wheel.wheel_key(home, "cp311 glibc2.36 x86_64", *of) for of in (("cpu", None), ("cuda", "8.6"))
        )
        return {"cpu": cpu, "cuda": cuda}

    before = keys()
    (base / name).write_text("changed")
    now = keys()
    assert {accelerator for accelerator in now if now[accelerator] != before[accelerator]} == compiled_anew


def test_a_wheel_is_compiled_once_and_a_failed_compilation_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELLOOP_CACHE", str(tmp_path))
    calls: list[Path] = []

    def fail(folder: Path) -> None:
        (folder / "half.o").write_text("")
        raise Failure("the compiler")

    def compile_into(folder: Path) -> None:
        calls.append(folder)
        (folder / "mmcv_full-1.7.2.whl").write_text("wheel")

    with pytest.raises(Failure, match="the compiler"):
        wheel.cached("key", fail)
    assert list((tmp_path / "wheels").iterdir()) == []
    for _ in range(2):
        assert wheel.cached("key", compile_into) == [tmp_path / "wheels/key/mmcv_full-1.7.2.whl"]
    assert len(calls) == 1


def test_every_build_gets_the_package_index_and_the_proxies(
    sources: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler's too, which is the first; else it would share no layer with the rest."""
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    given = {"PIP_INDEX_URL": "https://mirror/simple", "HTTP_PROXY": "http://proxy:3128"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LABELLOOP_CACHE", str(sources.root / "cache"))
    for name in (*wheel.RECIPES["cpu"], "images/base/requirements.lock"):
        shutil.copy(REPO / name, sources.root / "images/base")
    compiled: list[str] = []
    environments: list[dict[str, str]] = []

    def compile_wheel(command: list[str], **options: object) -> None:
        compiled.extend(command)
        [target] = [word for word in command if word.startswith("type=local,dest=")]
        Path(target.partition("dest=")[2], "mmcv_full-1.7.2.whl").write_text("wheel")

    monkeypatch.setattr(wheel, "run", compile_wheel)
    monkeypatch.setattr(wheel, "answer", lambda command, seconds: "cp311 glibc2.36 x86_64")
    monkeypatch.setattr(images, "run", lambda command, env, **options: environments.append(env))
    monkeypatch.setattr(images, "answer", lambda command: None)
    monkeypatch.setattr(images.python_image, "ensure_python_image", lambda: None)
    images.build_images(sources, "cpu", None)
    assert {f"{name}={value}" for name, value in given.items()} <= set(compiled)
    assert len(environments) == 4 and all(given.items() <= each.items() for each in environments)
    compose = (REPO / "docker-compose.yml").read_text().partition("x-build-args: &build-args\n")[2]
    told = compose.partition("\n\n")[0].split()
    assert told == ["PIP_INDEX_URL:", "HTTP_PROXY:", "HTTPS_PROXY:", "NO_PROXY:", "CA_PEM:"]
