"""Running other programs: quietly for what they print, or with their output on the terminal."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, Union

from lifecycle.console import Failure


def answer(
    command: Sequence[str],
    *,
    seconds: float = 15,
    cwd: Optional[Path] = None,
    env: Optional[Mapping[str, str]] = None,
) -> Optional[str]:
    """What `command` prints, stripped; None when it fails, isn't there, or takes longer than `seconds`."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=seconds,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            env=None if env is None else {**os.environ, **env},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def phrases(
    command: Sequence[str],
    text: str,
    *,
    cwd: Path,
    env: Optional[Mapping[str, str]] = None,
    seconds: float = 300,
) -> Optional[list[str]]:
    """The JSON list that `command` prints when it reads `text`; None when it fails or takes longer."""
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, encoding="utf-8", timeout=seconds, cwd=cwd, env=env
        )
        found = json.loads(done.stdout) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return [str(phrase) for phrase in found] if isinstance(found, list) else None


def converse(
    command: Sequence[str],
    text: str,
    *,
    cwd: Path,
    env: Optional[Mapping[str, str]] = None,
    seconds: float = 3600,
) -> dict[str, Any]:
    """The JSON object that `command` prints last when it reads `text`.

    Raises:
        Failure: it can't be started, takes longer than `seconds`, or prints none; or the object's `error`.
    """
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            encoding="utf-8",
            timeout=seconds,
            cwd=cwd,
            env=env,
        )
        found = json.loads((done.stdout.strip().splitlines() or [""])[-1])
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{' '.join(command)} did not end within {seconds:.0f} s") from error
    except OSError as error:
        raise Failure(f"{' '.join(command)} could not start ({error.strerror})") from error
    except ValueError as error:
        last = "".join(done.stderr.strip().splitlines()[-1:]) or "it said nothing"
        raise Failure(f"{' '.join(command)} ended with {done.returncode}: {last}") from error
    if not isinstance(found, dict):
        raise Failure(f"{' '.join(command)} printed {found!r}, no object")
    if found.get("error"):
        raise Failure(str(found["error"]))
    return found


def ask(
    command: Sequence[str],
    *,
    seconds: float,
    cwd: Optional[Path] = None,
    env: Optional[Mapping[str, str]] = None,
) -> str:
    """What `command` prints.

    Raises:
        Failure: it can't be started, ends with another status than 0, or takes longer than `seconds`.
    """
    words = " ".join(command)
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
        )
    except OSError as error:
        raise Failure(f"{words} could not start ({error.strerror})") from error
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{words} did not answer within {seconds:.0f} s") from error
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise Failure(f"{words} ended with {done.returncode}: {''.join(last)}")
    return done.stdout


def watch(
    command: Sequence[str],
    look: Callable[[], None],
    *,
    cwd: Path,
    env: Optional[Mapping[str, str]] = None,
    every: float = 1,
) -> tuple[int, str]:
    """Runs `command` to its end, with a `look` every so many seconds. Returns: exit status, last line."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        running = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
        while True:
            try:
                status = running.wait(every)
                break
            except subprocess.TimeoutExpired:
                look()
        said.seek(0)
        return status, "".join(said.read().strip().splitlines()[-1:])


def run(
    command: Sequence[str],
    *,
    what: str,
    do: Union[str, Callable[[str], str]] = "",
    cwd: Optional[Path] = None,
    env: Optional[Mapping[str, str]] = None,
    quiet: bool = False,
) -> None:
    """Runs `command` in the open (or prints its output only when it fails, if `quiet`).

    Raises:
        Failure: it exits non-zero or can't be started; `what` names the operation and `do` the way out, which
            may depend on the output, if `quiet`.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=None if env is None else {**os.environ, **env},
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.STDOUT if quiet else None,
            stdin=subprocess.DEVNULL,
            text=True,
        )
    except OSError as error:
        way_out = do if isinstance(do, str) else do("")
        raise Failure(f"{what} could not start {command[0]} ({error.strerror})", do=way_out) from error
    if done.returncode != 0:
        if quiet and done.stdout:
            print(done.stdout[-4000:], flush=True)
        way_out = do if isinstance(do, str) else do(done.stdout or "")
        raise Failure(f"{what} failed: {command[0]} exited with {done.returncode}", do=way_out)
