"""The host runtime's locked environments: labelstudio, and ml (base, ML backend and trainer together)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Optional

from labelloop import locks
from lifecycle.build import pip, wheel
from lifecycle.build.host_python import find_python
from lifecycle.build.side_by_side import Step, run_steps
from lifecycle.console import Failure, line
from lifecycle.home import Home
from lifecycle.inputs import inputs_hash
from lifecycle.shell import run

_BASE_LOCKS = ("images/base/requirements.lock", "images/base/nodeps.lock")
_ML_LOCKS = (
    "images/mlbackend/requirements.lock",
    "images/mlbackend/nodeps.lock",
    "images/trainer/requirements.lock",
)
_ML_PACKAGES = ("images/base", "images/mlbackend", "images/trainer")
_LABELSTUDIO_LOCKS = ("images/labelstudio/requirements.lock",)
_LABELSTUDIO_PACKAGES = ("images/base", "images/labelstudio")
PACKAGES = (*_ML_PACKAGES, "images/labelstudio", "images/cluster")
CODE = (
    "images/base/labelloop",
    "images/labelstudio/provisioner",
    "images/mlbackend/mlbackend",
    "images/trainer/trainer",
    "images/cluster/cluster",
)
"""What the packages' programs are made of."""
TEST_LOCK = "tests/requirements.lock"
CLUSTER_LOCK = "images/cluster/requirements.lock"
_CLUSTER_PACKAGES = ("images/cluster",)
_MARKER = ".labelloop-inputs"
_CLUSTER_MARKER = ".labelloop-cluster"


def are_there(home: Home) -> bool:
    return all(_text(home.venvs / name / _MARKER) for name in ("labelstudio", "ml"))


def are_current(home: Home, accelerator: str, arch: Optional[str]) -> bool:
    """Whether both are what this checkout asks for: there is nothing to install."""
    wanted = {"labelstudio": _labelstudio_stamp(home), "ml": _ml_stamp(home, accelerator, arch)}
    return all(_text(home.venvs / name / _MARKER) == stamp for name, stamp in wanted.items())


def stamps(home: Home) -> str:
    """Changes when either environment is made anew."""
    return " ".join(_text(home.venvs / name / _MARKER) for name in ("labelstudio", "ml"))


def ensure_labelstudio(home: Home) -> Path:
    """The environment's folder, with a migrated database template in it."""
    venv = home.venvs / "labelstudio"

    def install() -> None:
        line("labelstudio", "installing its locked packages")
        _create(venv)
        _install(home, venv, _LABELSTUDIO_LOCKS)
        _install_own(home, venv, _LABELSTUDIO_PACKAGES)
        run(
            [str(venv / "bin/python"), "-m", "provisioner.template"],
            what="migrating Label Studio's database template",
            quiet=True,
        )

    return _ensure(venv, _labelstudio_stamp(home), install)


def ensure_ml(home: Home, accelerator: str, arch: Optional[str]) -> Path:
    """The environment's folder."""
    venv = home.venvs / "ml"

    def install() -> None:
        size = "3 GB" if accelerator == "cuda" else "1 GB"
        line("ml", f"installing its locked packages ({size} to download)")
        _create(venv)
        _install(home, venv, _ml_locks(accelerator))
        python = venv / "bin/python"
        wheels = wheel.host_wheels(home, python, accelerator, arch)
        pip.install(python, "--no-index", *map(str, wheels), what="installing mmcv-full")
        _install_own(home, venv, _ML_PACKAGES)

    return _ensure(venv, _ml_stamp(home, accelerator, arch), install)


def ensure_both(home: Home, accelerator: str, arch: Optional[str]) -> None:
    """Both environments, made side by side where they aren't there."""
    if are_current(home, accelerator, arch):
        for name in ("labelstudio", "ml"):
            line(name, "environment unchanged")
        return
    compiling = 900 if accelerator == "cuda" else 180
    run_steps(
        [
            Step("labelstudio", "its environment", 90, lambda: ensure_labelstudio(home)),
            Step("ml", "its environment", 80 + compiling, lambda: ensure_ml(home, accelerator, arch)),
        ]
    )


def ensure_cluster(home: Home) -> None:
    """Puts Ray on top of the ml environment, which has to be there."""
    venv = home.venvs / "ml"
    stamp = inputs_hash(home.root, [CLUSTER_LOCK, *_projects(_CLUSTER_PACKAGES)], _text(venv / _MARKER))

    def install() -> None:
        line("cluster", "installing Ray (300 MB to download)")
        _install(home, venv, [CLUSTER_LOCK])
        _install_own(home, venv, _CLUSTER_PACKAGES)

    _once(venv, venv / _CLUSTER_MARKER, stamp, install)


def ensure_tests(home: Home, accelerator: str, arch: Optional[str]) -> Path:
    """The ml environment with Ray and the test tools on top."""
    venv = ensure_ml(home, accelerator, arch)
    ensure_cluster(home)
    stamp = inputs_hash(home.root, [TEST_LOCK], _text(venv / _CLUSTER_MARKER))

    def install() -> None:
        line("tests", "installing the test tools")
        _install(home, venv, [TEST_LOCK])

    _once(venv, venv / ".labelloop-tests", stamp, install)
    return venv


def _labelstudio_stamp(home: Home) -> str:
    venv = home.venvs / "labelstudio"
    return inputs_hash(
        home.root, [*_LABELSTUDIO_LOCKS, *_projects(_LABELSTUDIO_PACKAGES)], str(venv.resolve())
    )


def _ml_stamp(home: Home, accelerator: str, arch: Optional[str]) -> str:
    recipe = [*wheel.RECIPES[accelerator], *_projects(_ML_PACKAGES)]
    inputs = [*_ml_locks(accelerator), *recipe]
    venv = home.venvs / "ml"
    return inputs_hash(home.root, inputs, accelerator, *([arch] if arch else []), str(venv.resolve()))


def _ml_locks(accelerator: str) -> list[str]:
    return [*_BASE_LOCKS, *(["images/base/cuda.lock"] if accelerator == "cuda" else []), *_ML_LOCKS]


def _ensure(venv: Path, stamp: str, install: Callable[[], None]) -> Path:
    """The environment's folder, made by `install` unless one with this stamp is there."""
    started = time.monotonic()
    made = _once(venv, venv / _MARKER, stamp, install)
    line(
        venv.name,
        f"environment made in {time.monotonic() - started:.0f} s" if made else "environment unchanged",
    )
    return venv


def _once(venv: Path, marker: Path, stamp: str, install: Callable[[], None]) -> bool:
    """Has `install` run unless the marker holds the stamp; whether it had to.

    Two `make`s, of one checkout or of several that share environments, don't install into one together: the
    later waits. The kernel frees the lock when its holder ends, however it ends.
    """
    if _text(marker) == stamp:
        return False
    lock_file = venv.parent / f".{venv.name}.lock"
    try:
        venv.parent.mkdir(parents=True, exist_ok=True)
        lock = lock_file.open("a")
    except OSError as error:
        raise Failure(
            f"{lock_file}",
            found=str(error.strerror),
            needed="to install into that folder, whose environment is another one",
            do="Have its owner run `make build`, or name another folder in LABELLOOP_VENVS.",
        ) from error
    with lock:
        if not locks.take(lock):
            line(venv.name, "another make installs this environment; waiting for it to end")
            locks.take(lock, locks.FOREVER)
        if _text(marker) == stamp:
            return False
        install()
        if not (venv / "bin/python").exists():
            raise Failure(f"{venv} has no python", do="Remove the folder and run `make up` again.")
        marker.write_text(stamp)
    return True


def _projects(packages: Sequence[str]) -> list[str]:
    return [f"{package}/pyproject.toml" for package in packages]


def _create(venv: Path) -> None:
    """An empty environment; one that an interrupted installation left behind is made anew."""
    (venv / _MARKER).unlink(missing_ok=True)
    run([find_python(), "-m", "venv", "--clear", str(venv)], what=f"making the environment {venv}")


def _install(home: Home, venv: Path, locks: Sequence[str]) -> None:
    # One after the other: pip refuses the same package from two files. The locks agree on what they share.
    for name in locks:
        do = "Does this host's pip reach a package index?"
        pip.install_lock(venv / "bin/python", home.root / name, what=f"installing {name}", do=do)


def _install_own(home: Home, venv: Path, packages: Sequence[str]) -> None:
    editable = [word for package in packages for word in ("--editable", str(home.root / package))]
    what = "installing our own packages"
    pip.install(venv / "bin/python", "--no-build-isolation", *editable, what=what)


def _text(marker: Path) -> str:
    return marker.read_text() if marker.is_file() else ""
