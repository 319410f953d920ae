"""IMAGES=s3://…: images in a bucket become tasks, are shown by presigned URLs, and read through the cache."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from integration.labelstudio.test_provisioning import state
from integration.support.bucket_server import BucketServer
from integration.support.fake_s3 import FakeS3
from integration.support.labelstudio import LabelStudio
from integration.support.people import log_in
from pydantic import SecretStr
from support import shapes

from labelloop.images import ImageAway
from labelloop.remote_images import RemoteImages
from labelloop.settings import Settings
from labelloop.task_images import image_name, resolve_task_image
from trainer.worker.bucket_import import BucketImport, read_state

KEYS = {"S3_ACCESS_KEY": "an-access-key", "S3_SECRET_KEY": "a-secret-key"}


class Line:
    """A bucket of its own, with a prefix that is connected to the project. url: of the prefix."""

    def __init__(
        self, label_studio: LabelStudio, server: BucketServer, home: Path, prefix: str = "line-3"
    ) -> None:
        self.label_studio, self.server = label_studio, server
        self.bucket = f"photos-{len(list(server.folder.iterdir()))}"
        self.url = f"s3://{self.bucket}/{prefix}"
        self.when_empty: str | None = None
        shapes.picture(1).image.save(home / "a.png")
        self.picture = (home / "a.png").read_bytes()
        token = SecretStr(label_studio.environment["API_TOKEN"])
        self.settings = Settings(
            labelloop_home=home,
            labelstudio_url=label_studio.url,
            api_token=token,
            images=self.url,
            s3_endpoint=server.url,
        )
        self.settings.rounds_dir.mkdir(parents=True)
        self.project = int(state(label_studio)["project"])

    @contextlib.contextmanager
    def connected(self, **settings: str) -> Iterator[None]:
        """Provisioned with IMAGES, as `make up` does; the storages go in the end, with their tasks."""
        before = dict(self.label_studio.environment)
        wanted = {"IMAGES": self.settings.images, "S3_ENDPOINT": self.server.url, **KEYS, **settings}
        self.label_studio.environment |= wanted
        try:
            done = self.label_studio.provision()
            assert done.returncode == 0, done.stderr
            yield
        finally:
            self.label_studio.environment = before
            studio = self.label_studio.studio
            for task in self.tasks():
                studio.request("DELETE", f"/api/tasks/{task['id']}/")
            for storage in (row for row in studio.buckets(self.project) if row["title"] == self.url):
                studio.request("DELETE", f"/api/storages/s3/{storage['id']}")

    def put(self, key: str) -> None:
        self.server.put(self.bucket, key, self.picture)

    def look(self) -> int:
        """What the trainer's worker does every IMPORT_EVERY seconds."""
        return BucketImport(self.label_studio.studio, self.settings).run([self.project])

    def tasks(self, below: str = "") -> list[dict[str, Any]]:
        """Those of the bucket, below a part of the prefix."""
        wanted = f"{self.url}/{below}/" if below else f"{self.url}/"
        rows = self.label_studio.studio.iter_tasks(self.project)
        return [row for row in rows if image_name(row["data"].get("image")).startswith(wanted)]

    def names(self, below: str) -> list[str]:
        return sorted(image_name(task["data"]["image"]) for task in self.tasks(below))

    @property
    def problem(self) -> str | None:
        found = read_state(self.settings)
        assert found is not None
        return f"{found.problem}. {found.fix}" if found.problem else None


@pytest.fixture(scope="module")
def line(
    provisioned: LabelStudio, bucket_server: BucketServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Line]:
    """Connected while it is empty. Each test puts its keys below a part of the prefix that is its own."""
    made = Line(provisioned, bucket_server, tmp_path_factory.mktemp("home"))
    made.put("line-30/b.png")
    with made.connected():
        assert made.look() == 0
        made.when_empty = made.problem
        yield made


def test_a_prefix_with_nothing_in_it_is_named_and_stops_nothing(line: Line) -> None:
    assert line.when_empty == f"{line.url} has nothing in it. Copy images there, or correct IMAGES."


def test_images_of_a_bucket_become_tasks_each_once(line: Line) -> None:
    for key in ("line-3/1/a.png", "line-3/1/deep er/ü&+.PNG", "line-3/1/.thumbnails/a.png"):
        line.put(key)
    line.server.put(line.bucket, "line-3/1/notes.txt", b"no image")
    assert line.look() == 2 and line.problem is None
    assert line.names("1") == [f"{line.url}/1/a.png", f"{line.url}/1/deep er/ü&+.PNG"]
    assert line.look() == 0
    line.put("line-3/1/0-new.png")
    assert line.look() == 1
    gone = next(task for task in line.tasks("1") if image_name(task["data"]["image"]).endswith("/a.png"))
    line.label_studio.studio.request("DELETE", f"/api/tasks/{gone['id']}/")
    assert line.look() == 0, "deleted is deleted"
    again = line.label_studio.provision()
    assert again.returncode == 0 and line.look() == 0, "another `make up` changes nothing"
    assert len(line.tasks("1")) == 2
    assert len(line.label_studio.studio.buckets(line.project)) == 1


def test_a_browser_is_led_to_the_bucket_and_the_loop_fetches_it_once(line: Line, tmp_path: Path) -> None:
    line.put("line-3/2/deep er/ü&+.PNG")
    line.look()
    (task,) = line.tasks("2")
    url = str(task["data"]["image"])
    shown = log_in(line.label_studio).get(url)
    assert shown.status_code in (302, 303)
    place = shown.headers["Location"]
    assert place.startswith(f"{line.server.url}/{line.bucket}/line-3/") and "a-secret-key" not in place
    assert requests.get(place, timeout=30).content == line.picture
    remote = RemoteImages(line.settings.cache_dir, line.settings.outside)
    file = resolve_task_image(url, line.settings, task["id"], remote)
    assert isinstance(file, Path) and file.read_bytes() == line.picture and file.suffix == ".png"
    line.server.stop()
    try:
        assert resolve_task_image(url, line.settings, task["id"], remote) == file, "from the cache"
        other = RemoteImages(tmp_path / "other", line.settings.outside)
        with pytest.raises(ImageAway, match="cannot be reached"):
            resolve_task_image(url, line.settings, task["id"], other)
        line.look()
        assert line.problem and line.problem.startswith(f"{line.url} at {line.server.url}: does not answer")
    finally:
        line.server.start()
    assert line.look() == 0 and line.problem is None


def test_a_large_bucket_is_gone_through_in_slices(line: Line) -> None:
    for key in ("0.png", "1.png", "2.txt", "3.png", "4.png", "5?.png"):
        line.put(f"line-3/3/{key}")
    studio = line.label_studio.studio
    (storage,) = studio.buckets(line.project)
    after, slices = "line-3/3/", []
    while after is not None and len(slices) < 10:
        answer = studio.sync_bucket(storage["id"], after, 2, 60.0)
        after = answer["following"]
        slices.append((answer["made"], answer["left_out"], after))
    assert slices == [(2, 0, "line-3/3/1.png"), (2, 1, None)]
    assert [name.removeprefix(f"{line.url}/3/") for name in line.names("3")] == [
        *("0.png", "1.png", "3.png", "4.png")
    ]


WRONG = {
    "<Code>InvalidAccessKeyId</Code>": (403, "the keys give no access (InvalidAccessKeyId). Correct S3_ACC"),
    "<Code>AccessDenied</Code>": (403, "the keys give no access (AccessDenied)"),
    "<Code>NoSuchBucket</Code>": (404, "there is no such bucket. Make it, or correct IMAGES"),
    "<Code>AuthorizationHeaderMalformed</Code><Region>eu-central-1</Region>": (
        400,
        "not in the region us-east-1, as S3_REGION is empty. `make up S3_REGION=eu-central-1`",
    ),
}


def test_what_is_wrong_with_a_bucket_is_named_with_the_way_out(
    provisioned: LabelStudio, bucket_server: BucketServer, s3: FakeS3, tmp_path: Path
) -> None:
    other = Line(provisioned, bucket_server, tmp_path, "line-4")
    try:
        with other.connected(S3_ENDPOINT=s3.url):
            for words, (status, told) in WRONG.items():
                s3.refusal = status, f"<Error>{words}<Message>no</Message></Error>"
                assert other.look() == 0
                assert other.problem is not None and told in other.problem
    finally:
        s3.refusal = None
