"""A backend with a detector that needs no torch: what it sees is in an image's size and brightness."""

import base64
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from flask.testing import FlaskClient
from PIL import Image

from labelloop.boxes import Boxes
from labelloop.images import Pixels
from labelloop.instant import is_instant
from labelloop.raw_boxes import RawBoxes
from labelloop.registry import Card, Registry, RegistryError
from labelloop.settings import Settings
from mlbackend.app import create_app

PASSWORD = "a long secret"
TRAINER_PASSWORD = "another secret"
LABEL_CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image">
  <Label value="pet" predicted_values="cat,dog"/><Label value="car"/>
</RectangleLabels></View>"""
NOBODY = "http://127.0.0.1:9"
Ask = Callable[..., list[Any]]
CLASSES = ("cat", "dog", "car", "kite")
PATIENCE_S = 60.0


class FakeDetector:
    """Sees one object of class 0 in the left half of every image; its score is the image's brightness."""

    def __init__(self, card: Card) -> None:
        self.card: Card | None = card
        self.device = "cpu"
        self.classes = tuple(card.classes)
        self.batches: list[list[tuple[int, int]]] = []
        self.answer: Callable[[Pixels], Boxes] = _left_half
        self.raw_answer: Callable[[Pixels], RawBoxes] | None = None
        self.raw_sizes: list[tuple[int, int]] = []
        self.pause_s = 0.0
        self._inside = threading.Lock()
        self.overlapped = False

    @property
    def batch_size(self) -> int:
        return 4

    @property
    def in_a_pass(self) -> bool:
        return self._inside.locked()

    def predict(self, images: Sequence[Pixels]) -> list[Boxes]:
        self.overlapped |= not self._inside.acquire(blocking=False)
        try:
            time.sleep(self.pause_s)
            self.batches.append([(image.shape[1], image.shape[0]) for image in images])
            return [self.answer(image) for image in images]
        finally:
            if self._inside.locked():
                self._inside.release()

    def raw(self, images: Sequence[Pixels]) -> list[RawBoxes]:
        self.raw_sizes += [(image.shape[1], image.shape[0]) for image in images]
        if self.raw_answer is not None:
            return [self.raw_answer(image) for image in images]
        return [RawBoxes.of_boxes(self.answer(image), len(self.classes)) for image in images]


def _left_half(image: Pixels) -> Boxes:
    height, width = image.shape[:2]
    return Boxes.of([[0, 0, width / 2, height]], [float(image.mean()) / 255], [0])


@dataclass
class Home:
    """A LABELLOOP_HOME in a temporary folder, and a backend on it."""

    settings: Settings
    stop: threading.Event = field(default_factory=threading.Event)
    detectors: list[FakeDetector] = field(default_factory=list)
    load_pause_s: float = 0.0
    may_load: threading.Event = field(default_factory=threading.Event)
    """Until it is set, versions are not loaded; at first it is."""
    _client: FlaskClient | None = None

    def __post_init__(self) -> None:
        self.may_load.set()

    @classmethod
    def below(cls, folder: Path, **changes: Any) -> "Home":
        settings = Settings(
            labelloop_home=folder,
            backend_password=PASSWORD,
            trainer_password=TRAINER_PASSWORD,
            **{"labelstudio_url": NOBODY, "trainer_url": NOBODY, "threads": 2, **changes},
        )
        settings.images_dir.mkdir(parents=True)
        settings.uploads_dir.mkdir(parents=True)
        return cls(settings)

    @property
    def registry(self) -> Registry:
        return Registry(self.settings.models_dir)

    @property
    def detector(self) -> FakeDetector:
        return self.detectors[-1]

    def load(self, folder: Path) -> FakeDetector:
        assert self.may_load.wait(PATIENCE_S)
        time.sleep(self.load_pause_s)
        weights = folder / ("head.pth" if is_instant(folder.name) else "weights.pth")
        if weights.read_bytes().startswith(b"torn"):
            raise RegistryError(f"{folder / 'weights.pth'} holds no weights that can be read")
        detector = FakeDetector(Card.model_validate_json((folder / "card.json").read_bytes()))
        self.detectors.append(detector)
        return detector

    def add_version(
        self, project: int = 1, weights: bytes = b"good", promote: bool = True, **card: Any
    ) -> str:
        models = self.registry.project(project)
        models.path.mkdir(parents=True, exist_ok=True)
        source = models.path.parent / "weights"
        source.write_bytes(weights)
        version = models.write(Card(detector="fake", **{"classes": list(CLASSES), **card}), "", source)
        source.unlink()
        if promote:
            models.promote(version)
        return version

    def learn_at_once(self, head: bytes = b"good", champion: str = "v0000") -> str:
        """Has project 1 learn an instant version, which serves."""
        instant = self.registry.project(1).instant
        version = instant.write(champion, Card(detector="fake", classes=list(CLASSES)), head)
        instant.serve(version)
        return version

    def add_image(
        self, name: str, size: tuple[int, int] = (40, 20), brightness: int = 255, **save: Any
    ) -> str:
        """Returns the URL that Label Studio gives such a file's task."""
        path = self.settings.images_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((size[1], size[0], 3), brightness, np.uint8)).save(path, **save)
        return f"/data/local-files/?d=images/{name}"

    @property
    def client(self) -> FlaskClient:
        """With credentials."""
        if self._client is None:
            app = create_app(self.settings, self.load, self.stop)
            self._client = app.test_client()
            token = base64.b64encode(f"labelstudio:{PASSWORD}".encode()).decode()
            self._client.environ_base["HTTP_AUTHORIZATION"] = f"Basic {token}"
        return self._client

    def predict(self, *urls: object, project: int = 1, label_config: str | None = LABEL_CONFIG) -> Any:
        tasks = [{"id": index, "data": {"image": url}} for index, url in enumerate(urls)]
        body = {"tasks": tasks, "project": f"{project}.1699999999", "label_config": label_config}
        return self.client.post("/predict", json={**body, "params": {"login": None, "context": None}})

    def results(self, *urls: object, **kwargs: Any) -> list[dict[str, Any]]:
        answer = self.predict(*urls, **kwargs)
        assert answer.status_code == 200, answer.json
        return list(answer.json["results"])

    def setup(self, project: int = 1, schema: str = LABEL_CONFIG) -> Any:
        body = {"project": f"{project}.1699999999", "schema": schema, "hostname": "", "access_token": "token"}
        return self.client.post("/setup", json=body)

    def health(self) -> tuple[int, dict[str, Any]]:
        answer = self.client.get("/health")
        return answer.status_code, dict(answer.json or {})

    def project_health(self, project: int = 1) -> dict[str, Any]:
        return dict(self.health()[1]["projects"][str(project)])

    def serves(self, version: str | None, project: int = 1) -> bool:
        return self.project_health(project)["version"] == version


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
