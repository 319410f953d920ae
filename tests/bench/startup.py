"""How long a person waits for the login page at the first boot, and for all services ever after; and what the
programs weigh."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import requests
from bench.options import LABELSTUDIO_BIN, REPO, Options
from bench.report import Figure, figure
from support.ports import free_port
from support.stack import Stack

IMAGES = ("labelloop/labelstudio", "labelloop/base:cpu", "labelloop/mlbackend:cpu", "labelloop/trainer:cpu")
BUILD_S, BOOT_S, STOP_S = 5400.0, 600.0, 30.0
LOGIN_TARGET = 0.35


def run(options: Options) -> Iterator[Figure]:
    """First boot against `label-studio start`'s own, warm starts, sizes."""
    with tempfile.TemporaryDirectory(prefix="labelloop-bench-") as scratch:
        stack = throw_away_stack(Path(scratch) / "appliance")
        try:
            first = _first_boot(stack, options.threads)
            yield figure("startup", "all healthy, first `make up`", first[1], "s", "make up")
            yield from _warm(stack)
        finally:
            stack.run("down", check=False, timeout=180)
        theirs, command = label_studio_first_boot(Path(scratch) / "label-studio")
        yield figure(
            "startup",
            "login page, first boot",
            first[0],
            "s",
            f"make up, against {command}",
            baseline=theirs,
            at_most=LOGIN_TARGET,
        )
    yield from _sizes(options.runtime)


def throw_away_stack(home: Path, runtime: str | None = None) -> Stack:
    """A built copy of the work tree that never ran, with the starting weights that this checkout has; on the
    run's own runtime unless another one is asked for.
    """
    home.mkdir(parents=True)
    stack = Stack.copy_of_work_tree(home, f"labelloop-bench-{os.getpid()}")
    stack.runtime = runtime or stack.runtime
    for weights in (REPO / "volumes" / "cache" / "weights").glob("*.pth"):
        target = home / "volumes" / "cache" / "weights" / weights.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(weights, target)
    stack.run("build", PORT=stack.port, timeout=BUILD_S)
    return stack


def _first_boot(stack: Stack, threads: int) -> tuple[float, float]:
    """Seconds from `make up` to the login page, and to the end of `make up`."""
    started = time.monotonic()
    making = stack.start("up", PORT=stack.port, THREADS=threads)
    with making:
        try:
            login = until_login(stack.url, started, lambda: making.poll() in (None, 0))
            output, _ = making.communicate(timeout=BOOT_S)
        except BaseException:
            making.terminate()
            raise
    if making.returncode:
        raise RuntimeError(f"make up ended with {making.returncode}:\n{output}")
    return login, time.monotonic() - started


def _warm(stack: Stack) -> Iterator[Figure]:
    stack.run("down")
    started = time.monotonic()
    stack.run("up")
    yield figure(
        "startup", "all healthy, warm `make up`", time.monotonic() - started, "s", "make down; make up"
    )
    started = time.monotonic()
    stack.run("up")
    yield figure("startup", "`make up` while all runs", time.monotonic() - started, "s", "make up")


def label_studio_first_boot(data: Path) -> tuple[float, str]:
    """Seconds that `label-studio start` takes to its login page with an empty data folder; its command line.

    What would call out to the internet is off, as in the appliance: without a network it costs time.
    """
    data.mkdir(parents=True)
    port = free_port()
    command = [str(LABELSTUDIO_BIN / "label-studio"), "start", "--no-browser", "--port", str(port)]
    command += ["--internal-host", "127.0.0.1", "--data-dir", str(data)]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(data),
        "LANG": "C.UTF-8",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
    }
    log = data / "label-studio.log"
    started = time.monotonic()
    with log.open("wb") as sink:
        server = subprocess.Popen(
            command,
            env=environment,
            cwd=data,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    try:
        seconds = until_login(f"http://127.0.0.1:{port}", started, lambda: server.poll() is None)
    except RuntimeError as error:
        said = log.read_text(errors="replace")[-3000:]
        raise RuntimeError(f"label-studio start: {error}\n{said}") from None
    finally:
        end(server)
    return seconds, " ".join(["label-studio", *command[1:-1], "$(mktemp -d)"])


def until_login(url: str, started: float, goes_on: Callable[[], bool]) -> float:
    """Seconds since `started` when the login page answered 200.

    Raises:
        RuntimeError: it didn't within BOOT_S, or what should serve it ended.
    """
    while time.monotonic() - started < BOOT_S:
        try:
            if requests.get(f"{url}/user/login/", timeout=5).status_code == 200:
                return time.monotonic() - started
        except requests.RequestException:
            pass
        if not goes_on():
            raise RuntimeError(f"{url}/user/login/ never answered 200: its program ended")
        time.sleep(0.1)
    raise RuntimeError(f"{url}/user/login/ did not answer 200 within {BOOT_S:.0f} s")


def end(server: "subprocess.Popen[bytes]") -> None:
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, kind)
            server.wait(STOP_S)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _sizes(runtime: str) -> Iterator[Figure]:
    """Of the images, or of the environments where there is no Docker."""
    if runtime == "docker":
        for image in IMAGES:
            command = ["docker", "image", "inspect", "--format", "{{.Size}}", image]
            size = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            yield figure("startup", f"size of {image}", size / 1e6, "MB", " ".join(command[:-1]) + " IMAGE")
        return
    ml = Path(os.environ.get("ML_BIN") or REPO / ".venv" / "ml" / "bin")
    for name, folder in (("labelstudio", LABELSTUDIO_BIN.parent), ("ml", ml.parent)):
        command = ["du", "--summarize", "--block-size=1", str(folder)]
        size = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0])
        yield figure("startup", f"size of environment {name}", size / 1e6, "MB", "du --summarize .venv/*")
