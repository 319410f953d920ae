"""The set-up that labelloop replaces: `label-studio start` connected with label-studio-ml's stock server."""

import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import requests
from bench.options import LABELSTUDIO_BIN, REPO
from bench.startup import end, until_login
from support.ports import free_port
from support.stack import wait_for

from labelloop.studio import Studio
from labelloop.task_filters import UNLABELLED, where

BOOT_S = 60.0
BULK_S = 1200.0
HAS_NONE = where("total_predictions", "equal", 0)


def delete_predictions(studio: Studio, project_id: int, version: str) -> None:
    """All of `version`; the appliance never does."""
    path = f"/api/projects/{project_id}/model-versions/"
    studio.request("DELETE", path, json={"model_version": version}, timeout=(3.0, 600.0))


class StockSetUp:
    """Both programs, a project with the images as tasks, and the connection between them.

    version: a folder of the registry. images: files that become tasks.
    """

    COMMAND = "label-studio start + python -m bench.stock_backend, retrieve_tasks_predictions"

    def __init__(self, home: Path, version: Path, images: list[Path], threads: int) -> None:
        self._home = home
        self._root = home / "files"
        (self._root / "bench").mkdir(parents=True)
        for image in images:
            shutil.copy(image, self._root / "bench" / image.name)
        self._names = [image.name for image in images]
        self._version, self._threads = version, threads
        self._token = secrets.token_hex(20)
        self._programs: list[subprocess.Popen[bytes]] = []
        self._logs: list[IO[bytes]] = []

    def __enter__(self) -> "StockSetUp":
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in self._programs:
            end(program)
        for log in self._logs:
            log.close()

    def bulk(self, runs: int) -> float:
        """Images a second from nothing predicted to everything stored, in the best of the runs."""
        return max(self._bulk() for _ in range(runs))

    def _bulk(self) -> float:
        for version in self._studio.prediction_counts(self._project):
            delete_predictions(self._studio, self._project, version)
        wait_for("no prediction to be left", self._none_is_predicted, BOOT_S)
        began = time.monotonic()
        self._studio.request(
            "POST",
            "/api/dm/actions",
            params={"id": "retrieve_tasks_predictions", "project": self._project},
            json={"selectedItems": {"all": True, "excluded": []}},
            timeout=(3.0, BULK_S),
        )
        wait_for(
            "the stock set-up to store a prediction per task",
            lambda: not self._studio.count_tasks(self._project, UNLABELLED, HAS_NONE),
            BULK_S,
        )
        return len(self._names) / (time.monotonic() - began)

    def _none_is_predicted(self) -> bool:
        return self._studio.count_tasks(self._project, UNLABELLED, HAS_NONE) == len(self._names)

    def _start(self) -> None:
        port, backend = free_port(), free_port()
        self._run(
            [
                sys.executable,
                "-m",
                "bench.stock_backend",
                str(self._version),
                str(self._root),
                str(self._threads),
                str(backend),
            ],
            {
                "PYTHONPATH": os.pathsep.join(map(str, (REPO / "tests", REPO / "images" / "base"))),
                "OMP_NUM_THREADS": str(self._threads),
            },
        )
        server = self._run(
            [str(LABELSTUDIO_BIN / "label-studio"), "start", "--no-browser", "--port", str(port)]
            + ["--internal-host", "127.0.0.1", "--data-dir", str(self._home)],
            {
                "LABEL_STUDIO_USERNAME": "bench@localhost",
                "LABEL_STUDIO_PASSWORD": secrets.token_hex(8),
                "LABEL_STUDIO_USER_TOKEN": self._token,
                "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
                "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
                "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(self._root),
                "LABEL_STUDIO_ML_BLOCK_LOCAL_IP": "false",
                "LABEL_STUDIO_SSRF_PROTECTION_ENABLED": "false",
                "COLLECT_ANALYTICS": "false",
                "LATEST_VERSION_CHECK": "false",
            },
        )
        until_login(f"http://127.0.0.1:{port}", time.monotonic(), lambda: server.poll() is None)
        self._studio = Studio(f"http://127.0.0.1:{port}", self._token)
        self._project = self._studio.request("POST", "/api/projects", json=_project())["id"]
        tasks = [{"image": f"/data/local-files/?d=bench/{name}"} for name in self._names]
        self._studio.request("POST", f"/api/projects/{self._project}/import", json=tasks)
        url = f"http://127.0.0.1:{backend}"
        wait_for("label-studio-ml's server", lambda: _answers(f"{url}/health"), BOOT_S)
        connection = {"project": self._project, "url": url, "title": "stock"}
        self._studio.request("POST", "/api/ml", json=connection)
        self._studio.request("PATCH", f"/api/projects/{self._project}", json={"model_version": "stock"})

    def _run(self, command: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        log = (self._home / f"{len(self._programs)}.log").open("wb")
        program = subprocess.Popen(
            command,
            cwd=self._home,
            env={"PATH": os.environ["PATH"], "HOME": str(self._home), "LANG": "C.UTF-8"} | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        self._logs.append(log)
        self._programs.append(program)
        return program


def _project() -> dict[str, Any]:
    return {"title": "stock", "label_config": (REPO / "configs" / "labels" / "everyday.xml").read_text()}


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False
