"""Installing into an environment with its own pip: exactly what is named, and nothing that it depends on."""

from __future__ import annotations

from pathlib import Path

from lifecycle.shell import run


def install(python: Path, *words: str, what: str, do: str = "") -> None:
    """Raises Failure: pip did not; `what` names the operation and `do` the way out."""
    pip = [str(python.with_name("pip")), "install", "-qq", "--disable-pip-version-check", "--no-deps"]
    run([*pip, *words], what=what, do=do)


def install_lock(python: Path, lock: Path, *, what: str, do: str = "") -> None:
    """Installs the files that a lock names by their hashes. Raises Failure, as `install` does."""
    install(python, "--require-hashes", "--requirement", str(lock), what=what, do=do)
