"""An S3 server, in a process of its own on 127.0.0.1, which keeps buckets as folders."""

import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from support.ports import free_port

START_S = 60.0


class BucketServer:
    """A context manager. folder: has a folder for each bucket, and in it a file for each key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "BucketServer":
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.start()
        return self

    def start(self) -> None:
        """Returns once it answers."""
        self._process = self.process()
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, "no S3 server"
            time.sleep(0.05)

    def process(self) -> subprocess.Popen[bytes]:
        """The server's process, which is the caller's to end."""
        return subprocess.Popen(
            [sys.executable, "-m", "localbucket", str(self.folder), "--port", self.url.rpartition(":")[2]],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def put(self, bucket: str, key: str, content: bytes) -> None:
        path = self.folder / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def _answers(self) -> bool:
        try:
            with urlopen(self.url, timeout=5):
                return True
        except HTTPError:
            return True
        except OSError:
            return False
