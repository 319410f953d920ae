"""The bucket that IMAGES names, gone through slice by slice, and what `make status` and `make doctor` say."""

from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from labelloop.settings import Settings
from labelloop.studio import Studio, StudioError
from trainer.env import TrainerSettings
from trainer.health import doctor
from trainer.health.status import Status
from trainer.terminal import render
from trainer.worker.bucket_import import BucketImport, BucketState, read_state

URL = "s3://photos/line-3"


class Buckets:
    """Label Studio, with a storage on the bucket in project 1; `answers` are those to the slices."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.asked: list[tuple[int, str]] = []
        self.storages = [{"id": 7, "title": URL}, {"id": 8, "title": "somebody's own"}]

    def buckets(self, project: int) -> list[dict[str, Any]]:
        return self.storages if project in (1, 3) else []

    def sync_bucket(self, storage: int, after: str, most: int, seconds: float) -> dict[str, Any]:
        self.asked.append((storage, after))
        return {"made": 0, "problem": None, "left_out": 0, **self.answers.pop(0)}


@pytest.fixture
def studio() -> Buckets:
    return Buckets()


@pytest.fixture
def settings(tmp_path: Path) -> TrainerSettings:
    found = TrainerSettings(labelloop_home=tmp_path, images=URL)
    found.rounds_dir.mkdir(parents=True)
    return found


def look(studio: Buckets, settings: Settings, *projects: int) -> int:
    return BucketImport(cast(Studio, studio), settings).run(projects or (2, 1))


def test_slices_follow_one_another_to_the_end(studio: Buckets, settings: TrainerSettings) -> None:
    studio.answers = [
        {"following": "c.jpg", "made": 2, "left_out": 1},
        {"following": "m.jpg", "made": 0},
        {"following": None, "made": 3},
    ]
    assert look(studio, settings) == 5
    assert studio.asked == [(7, ""), (7, "c.jpg"), (7, "m.jpg")], "somebody's own is not touched"
    found = read_state(settings)
    assert found is not None and (found.problem, found.left_out) == (None, 1)


def test_each_projects_new_tasks_are_told(
    studio: Buckets, settings: TrainerSettings, caplog: pytest.LogCaptureFixture
) -> None:
    studio.answers = [{"following": None, "made": 5}, {"following": None}]
    with caplog.at_level("INFO", "trainer.worker.bucket_import"):
        assert look(studio, settings, 1, 3) == 5
    assert [text for text in caplog.messages if "new task" in text] == [f"project 1: 5 new tasks from {URL}"]


def test_without_a_bucket_nothing_is_asked(studio: Buckets, settings: TrainerSettings) -> None:
    settings = settings.model_copy(update={"images": ""})
    assert look(studio, settings) == 0
    assert studio.asked == [] and read_state(settings) is None
    assert list(doctor._bucket(settings)) == []


def test_a_storage_that_is_not_there_yet_is_told(studio: Buckets, settings: TrainerSettings) -> None:
    studio.storages = []
    look(studio, settings)
    found = read_state(settings)
    assert found is not None and found.problem == f"{URL}: Label Studio has no storage for it yet"


def test_what_is_known_of_a_former_bucket_is_not_told_of_this_one(settings: TrainerSettings) -> None:
    BucketState("s3://former", "is gone", "x").write(settings.rounds_dir)
    assert read_state(settings) is None
    (found,) = doctor._bucket(settings)
    assert (found.level, found.text) == ("warning", f"{URL} has not been listed yet")


def test_a_label_studio_that_is_away_is_the_chores_to_tell(
    studio: Buckets, settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(storage: int, after: str, most: int, seconds: float) -> dict[str, Any]:
        raise StudioError("does not answer")

    monkeypatch.setattr(studio, "sync_bucket", away)
    with pytest.raises(StudioError):
        look(studio, settings)


def shown(status: Status) -> str:
    console = Console(width=200, record=True, force_terminal=False)
    render.status(status, console)
    return console.export_text()


def test_status_and_doctor_name_the_trouble_with_the_way_out(
    studio: Buckets, settings: TrainerSettings
) -> None:
    wrong, fix = f"{URL} at AWS: not in the region us-east-1", "`make up S3_REGION=eu-central-1`"
    studio.answers = [{"following": None, "problem": wrong, "fix": fix}]
    look(studio, settings)
    (found,) = doctor._bucket(settings)
    assert (found.level, found.text, found.fix) == ("problem", wrong, fix)
    status = Status([], [], [], bucket=read_state(settings))
    assert not status.well
    assert f"bucket       {wrong}. {fix}" in shown(status)
    studio.answers = [{"following": None}]
    look(studio, settings)
    status = Status([], [], [], bucket=read_state(settings))
    assert status.well and f"bucket       {URL}\n" in shown(status)


def test_the_endpoint_is_opened_as_if_image_hosts_named_it(settings: TrainerSettings) -> None:
    from labelloop import urls

    opened = settings.model_copy(update={"s3_endpoint": "http://minio.lan:9000", "http_proxy": "http://p:1"})
    address = urls.parse("http://minio.lan:9000/photos/a.jpg?X-Amz-Signature=x")
    assert opened.outside.opens(address) and opened.outside.proxy_for(address) is None
    assert not settings.outside.opens(address)
