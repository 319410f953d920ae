"""`make test`, `make bench` and `make lint`, in the host runtime's ml environment with test tools on top."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lifecycle import engine
from lifecycle.build import venvs
from lifecycle.console import Failure, heading, line
from lifecycle.database import programs
from lifecycle.dev.records import Begun
from lifecycle.dev.simulate import coco_folder
from lifecycle.home import Home
from lifecycle.runtime.runtime import choose_accelerator, choose_architecture
from lifecycle.settings import settings
from lifecycle.settings.host import cores
from lifecycle.shell import run

# What is cheap fails first. Each process runs some of the files; one runs all of tests/e2e, which share a
# stack and mostly wait for it (tests/support/shares.py).
_UNIT = ("tests/unit", "--numprocesses", str(min(cores(), 4)), "--dist", "loadfile")
_SERVICES = (
    *("tests/contract", "tests/integration", "tests/faults", "tests/e2e"),
    *("--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder", "--verbose"),
)
_LOCK = "--option=DPkg::Lock::Timeout=300"
_CODE = ("compose/lifecycle", *venvs.CODE)
# What no test of `make test` imports: mypy finds what has moved away under it (pyproject.toml).
_TESTS = ("bench", "compile", "cuda", "model", "postgres", "publish", "screenshots", "support", "swarm")
_RUFF = ("compose", "configs", "images", "tests")


def lint(home: Home, given: Mapping[str, str]) -> None:
    """ruff, mypy --strict, and who may import whom (pyproject.toml), on our own packages."""
    venv = environment_with_tools(home)
    heading("Lint")
    run(
        [str(venv / "bin/ruff"), "check", *_RUFF],
        what="ruff check",
        do="`ruff check --fix` mends some.",
        cwd=home.root,
    )
    run(
        [str(venv / "bin/mypy"), *_CODE, *(f"tests/{name}" for name in _TESTS)],
        what="mypy",
        cwd=home.root,
    )
    run(
        [str(venv / "bin/lint-imports")],
        what="the import contracts",
        do="docs/explanation/architecture.md says what each room is for, and what it may import.",
        cwd=home.root,
        env={"PYTHONPATH": _sources(home)},
    )


def test(home: Home, given: Mapping[str, str]) -> None:
    """Lint and every suite, or only what TESTS names (`make test TESTS="tests/unit -k boxes"`)."""
    with ThreadPoolExecutor(1) as beside:
        services = beside.submit(_ensure_services, home)
        if not given.get("TESTS"):
            lint(home, given)
        venv = environment_with_tools(home)
        services.result()
    runtime = "docker" if engine.engine_version() else "host"
    if runtime == "host":
        line("e2e", "no Docker engine answers: the end-to-end tests run on the host runtime")
    heading("Tests")
    environment = {**_programs(home, venv), "RUNTIME": os.environ.get("RUNTIME") or runtime}
    chosen = given.get("TESTS", "").split()
    stages = {"chosen": chosen} if chosen else {"unit": _UNIT, "service": _SERVICES}
    ends = {
        name: subprocess.run([str(venv / "bin/pytest"), *wanted], cwd=home.root, env=environment).returncode
        for name, wanted in stages.items()
    }
    if failed := {name: end for name, end in ends.items() if end != 0}:
        told = ", ".join(f"the {name} tests: pytest ended with {end}" for name, end in failed.items())
        raise Failure(told, do="The first failure is above.")


def faults(home: Home, given: Mapping[str, str]) -> None:
    """The whole fault matrix, of which `make test` runs a few rows: SEED repeats a run, KILLS is how many.

    DATABASE, REPLICAS and BACKENDS are the parts that tests/faults/test_parts.py has. TESTS names some of it.
    """
    for name in ("SEED", "KILLS", "REPLICAS", "BACKENDS"):
        if not given.get(name, "0").isdigit():
            raise Failure("make faults", found=f"{name}={given[name]}", needed="a whole number")
    os.environ["FAULTS"] = "all"
    os.environ.update({name: given[name] for name in ("SEED", "KILLS") if name in given})
    # By names of their own: whole stacks, which some of the tests bring up, have settings called so.
    parts = ("DATABASE", "REPLICAS", "BACKENDS")
    os.environ.update({f"FAULTS_{name}": given[name] for name in parts if name in given})
    test(home, {"TESTS": given.get("TESTS") or "tests/faults"})


def bench(home: Home, given: Mapping[str, str]) -> None:
    """The benchmarks of tests/bench; what they take is theirs to check, but for a COCO that isn't there and a
    machine that is too busy to RECORD: making their environments takes long.
    """
    Begun.now(given.get("RECORD", ""))
    if given.get("COCO"):
        given = {**given, "COCO": str(coco_folder(given["COCO"]))}
    _run_module(home, "bench", [f"{name}={value}" for name, value in given.items()], "the benchmarks")


def screenshots(home: Home, given: Mapping[str, str]) -> None:
    """The pictures of docs/images/, from a stack of their own."""
    _ensure_chromium()
    _run_module(home, "screenshots", [], "the screenshots")


def _run_module(home: Home, module: str, arguments: list[str], what: str) -> None:
    """A program of tests/, with the host runtime's environments."""
    venvs.ensure_labelstudio(home)
    venv = environment_with_tools(home)
    heading(what.removeprefix("the ").capitalize())
    environment = {**_programs(home, venv), "PYTHONPATH": _sources(home)}
    command = [str(venv / "bin/python"), "-m", module, *arguments]
    done = subprocess.run(command, cwd=home.root, env=environment)
    if done.returncode != 0:
        raise Failure(f"{what} ended with {done.returncode}", do="The reason is above.")


def _sources(home: Home) -> str:
    """Where Python finds our packages and the tests' own."""
    return os.pathsep.join(str(home.root / folder) for folder in ("tests", "compose", *venvs.PACKAGES))


def load(home: Home, given: Mapping[str, str]) -> None:
    """The load section of the benchmarks, which is not among those of `make bench`."""
    bench(home, {"OUT": str(home.root / "build" / "bench" / "load"), **given, "ONLY": "load"})


def _programs(home: Home, venv: Path) -> dict[str, str]:
    """The environment, with the host runtime's programs in it, and without what `make` hands down to a `make`
    that a test starts, the settings of this one.
    """
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))},
        "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "LABELSTUDIO_BIN": str(home.venvs / "labelstudio" / "bin"),
        "ML_BIN": str(venv / "bin"),
    }


def environment_with_tools(home: Home) -> Path:
    """The folder of the ml environment, made if it isn't there, with the developers' tools in it."""
    in_force = settings.load(home)
    accelerator = choose_accelerator(in_force, "host")
    return venvs.ensure_tests(home, accelerator, choose_architecture(in_force, accelerator))


def _ensure_services(home: Home) -> None:
    """What the tests need beside the ml environment."""
    venvs.ensure_labelstudio(home)
    _ensure_chromium()
    _ensure_postgres()


def _ensure_chromium() -> None:
    """The browser of the end-to-end tests; installed where we may."""
    there = any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    if not there and not _installed("chromium", "the browser tests"):
        line("chromium", "not found: the browser tests will fail; install your distribution's package")


def _ensure_postgres() -> None:
    """The server of the tests on PostgreSQL; installed where we may."""
    try:
        programs.server_folder()
    except Failure:
        if not _installed("postgresql", "the tests on PostgreSQL"):
            line("postgresql", f"not found: the tests on PostgreSQL will fail; {programs.SERVER}")


def _installed(package: str, what: str) -> bool:
    """Installs Debian's package for some tests; False where we may not, or can't, which is said."""
    if os.geteuid() != 0 or not shutil.which("apt-get") or not Path("/etc/debian_version").exists():
        return False
    line(package, f"installing Debian's package for {what}")
    try:
        run(["apt-get", "update", "--quiet"], what="apt-get update", quiet=True)
        run(
            # Another installation on this machine, such as its daily one, has its turn first.
            ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", _LOCK, package],
            what=f"installing {package}",
            quiet=True,
            env={"DEBIAN_FRONTEND": "noninteractive"},
        )
    except Failure as error:  # the other tests run all the same
        line(package, str(error))
        return False
    return True
