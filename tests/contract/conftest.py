"""The backend on a real port, and Label Studio's own code to drive it with."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.backend_home import LABEL_CONFIG, PASSWORD, Ask, Home
from support.fake_trainer import FakeTrainer
from werkzeug.serving import make_server

DRIVER = Path(__file__).with_name("label_studio_side.py")


@pytest.fixture
def trainer() -> Iterator[FakeTrainer]:
    fake = FakeTrainer()
    yield fake
    fake.close()


@pytest.fixture
def home(tmp_path: Path, trainer: FakeTrainer) -> Iterator[Home]:
    """Project 1 has no model yet."""
    made = Home.below(tmp_path / "home", trainer_url=trainer.url)
    yield made
    made.stop.set()


@pytest.fixture
def url(home: Home) -> Iterator[str]:
    """Where the backend listens."""
    server = make_server("127.0.0.1", 0, home.client.application, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()


@pytest.fixture(scope="session")
def label_studio_python() -> Path:
    """The Python that has Label Studio: LABELSTUDIO_BIN, or the work tree's virtual environment."""
    work_tree = Path(__file__).parents[2]
    folder = Path(os.environ.get("LABELSTUDIO_BIN") or work_tree / ".venv" / "labelstudio" / "bin")
    python = folder / "python"
    if not python.exists():
        pytest.skip(f"no Label Studio in {folder}; `make up` on the host installs it, or set LABELSTUDIO_BIN")
    return python


@pytest.fixture
def label_studio(url: str, label_studio_python: Path, tmp_path: Path) -> Ask:
    """Makes Label Studio's code call the backend: label_studio(["setup"], ["predict", tasks]) -> outcomes."""

    def ask(*calls: list[Any], label_config: str = LABEL_CONFIG, password: str = PASSWORD) -> list[Any]:
        order = {"url": url, "password": password, "label_config": label_config, "calls": calls}
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "LABEL_STUDIO", "DJANGO"))
        }
        done = subprocess.run(
            [str(label_studio_python), str(DRIVER)],
            input=json.dumps(order),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**environment, "LABEL_STUDIO_BASE_DATA_DIR": str(tmp_path / "label-studio")},
        )
        answers = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
        if not answers:
            print(done.stdout[-2000:], done.stderr[-4000:], file=sys.stderr)
            pytest.fail(f"Label Studio's side failed with {done.returncode}")
        outcomes: list[Any] = json.loads(answers[-1].removeprefix("RESULT"))
        return outcomes

    return ask
