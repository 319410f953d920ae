"""A real Label Studio for tests: the image's programs, on a free port of 127.0.0.1, in a home of its own.

The interpreter is that of LABELSTUDIO_BIN (default <repo>/.venv/labelstudio/bin); our packages are the work
tree's.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr
from support.ports import free_port

from labelloop.cookies import CookieNames
from labelloop.settings import Settings
from labelloop.studio import Studio

REPO = Path(__file__).resolve().parents[3]
BIN = Path(os.environ.get("LABELSTUDIO_BIN", REPO / ".venv" / "labelstudio" / "bin"))

EMAIL = "admin@labelloop.local"
PASSWORD = "correct horse 1"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
BACKEND_PASSWORD = "battery staple"
# In ADMINS of the provisioned one; nobody has signed up under it.
NAMED_ADMIN = "named@example.org"


class LabelStudio:
    """One home, one port. `environment` is what its programs get: change it before `start` or `provision`."""

    def __init__(self, home: Path, backend_url: str = "http://127.0.0.1:1") -> None:
        self.home = home
        self.images = home / "volumes" / "images"
        self.data = home / "volumes" / "labelstudio"
        self.images.mkdir(parents=True, exist_ok=True)
        if not (home / "configs").exists():
            shutil.copytree(REPO / "configs", home / "configs")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PYTHONPATH": f"{REPO / 'images' / 'base'}:{REPO / 'images' / 'labelstudio'}",
            "PYTHONUNBUFFERED": "1",
            "LABELLOOP_HOME": str(home),
            "LABELSTUDIO_BIN": str(BIN),
            "LABELSTUDIO_BIND": f"127.0.0.1:{port}",
            "LABELSTUDIO_URL": self.url,
            "MLBACKEND_URL": backend_url,
            "ADMIN_EMAIL": EMAIL,
            "ADMIN_PASSWORD": PASSWORD,
            "API_TOKEN": TOKEN,
            "SECRET_KEY": "for tests only",
            "BACKEND_PASSWORD": BACKEND_PASSWORD,
        }
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def studio(self) -> Studio:
        return Studio(self.url, self.environment["API_TOKEN"])

    @property
    def cookies(self) -> CookieNames:
        return CookieNames.of(Settings(api_token=SecretStr(self.environment["API_TOKEN"])))

    @property
    def log(self) -> str:
        path = self.home / "labelstudio.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def pids(self) -> list[int]:
        """Its processes: the one that was started, and those that this has started."""
        assert self._server is not None, "is not running"
        first = self._server.pid
        return [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]

    def start(self, seconds: float = 180) -> "LabelStudio":
        """Serves; returns once it answers.

        Raises:
            StudioError: it does not within `seconds`; the log is in `self.log`.
        """
        self.launch()
        self.studio.wait(seconds)
        return self

    def launch(self) -> None:
        """Starts serving and does not wait."""
        assert self._server is None, "is running already"
        self._server = self.process()

    def process(self) -> subprocess.Popen[bytes]:
        """A server's first process, which is the caller's to end."""
        with (self.home / "labelstudio.log").open("ab") as log:
            return subprocess.Popen(
                [BIN / "python", "-m", "provisioner.serve"],
                env=self.environment,
                cwd=self.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self, hard: bool = False) -> None:
        """Ends it and its workers; `hard` as kill -9 would."""
        if self._server is None:
            return
        os.killpg(self._server.pid, signal.SIGKILL if hard else signal.SIGTERM)
        try:
            self._server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait(10)
        self._server = None

    def provision(self, wait: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs the provisioner to its end, which is bounded."""
        return self.run("provisioner", "--wait", str(wait), timeout=wait + 60)

    def launch_provisioner(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [BIN / "python", "-m", "provisioner"],
            env=self.environment,
            cwd=self.home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run(
        self, module: str, *arguments: str, timeout: float = 60, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """`python -m module` in its environment, reading `text`."""
        return self._python("-m", module, *arguments, timeout=timeout, text=text)

    def run_program(self, source: str, timeout: float = 60) -> str:
        """What a Python program prints in its environment, beside Label Studio's own modules."""
        done = self._python("-c", source, timeout=timeout)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _python(self, *arguments: str, timeout: float, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "python", *arguments],
            env=self.environment,
            cwd=self.home,
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Waits until `condition()` is true.

    Raises:
        AssertionError: it was not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.1)
