"""What people did is read whole once; from then on only what is new is asked for."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from support.dashboard import words
from support.fake_studio import FakeStudio
from support.labelling_people import box, labelled_image, submitted

from labelloop.labels import LabelConfigError
from labelloop.studio import StudioError
from trainer.dashboard import effort, ledger
from trainer.dashboard.ledger import Ledger, StillReading
from trainer.dashboard.loop import WatchedLoop

ONE = [box(10, 10)]


@pytest.fixture
def eager(loop: WatchedLoop) -> Ledger:
    """Asks Label Studio each time what is new, and has read three images."""
    return Ledger(loop, kept_s=-1.0)


def drawn(kept: ledger.Kept) -> int:
    return sum(found.work.drawn for found in kept.book.efforts)


def touch(studio: FakeStudio, task: int) -> None:
    studio.tasks[task]["updated_at"] = datetime.now(UTC).isoformat()


def test_only_what_was_changed_is_read_again(eager: Ledger, fake_studio: FakeStudio) -> None:
    first, second, _ = (labelled_image(fake_studio, submitted(1, ONE)) for _ in range(3))
    assert drawn(eager.of(1)) == 3
    for task in (first, second):
        fake_studio.tasks[task]["annotations"][0]["result"] = [box(10, 10), box(60, 60)]
    touch(fake_studio, second)
    touch(fake_studio, labelled_image(fake_studio, submitted(1, ONE)))
    assert drawn(eager.of(1)) == 5, "the first was changed without being told, so that it is not asked for"


def test_a_deleted_annotation_is_noticed(eager: Ledger, fake_studio: FakeStudio) -> None:
    gone = labelled_image(fake_studio, submitted(1, ONE))
    labelled_image(fake_studio, submitted(1, ONE))
    assert drawn(eager.of(1)) == 2
    fake_studio.tasks[gone] |= {"annotations": [], "total_annotations": 0}
    assert drawn(eager.of(1)) == 1


def test_a_count_of_label_studio_that_is_wrong_for_good_is_no_reason_to_read_all_again(
    eager: Ledger, fake_studio: FakeStudio, loop: WatchedLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled_image(fake_studio, submitted(1, ONE))
    monkeypatch.setattr(loop.studio, "count_tasks", lambda *of: 0)
    assert drawn(eager.of(1)) == 1
    monkeypatch.setattr(loop.studio, "annotated_tasks", lambda *of, **more: pytest.fail("read again"))
    assert drawn(eager.of(1)) == 1


def test_other_labels_and_long_times_have_all_read_again(
    eager: Ledger, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = labelled_image(fake_studio, submitted(1, ONE))
    assert drawn(eager.of(1)) == 1
    fake_studio.tasks[number]["annotations"][0]["result"] = [box(10, 10), box(60, 60)]
    config = fake_studio.projects[1]["label_config"]
    fake_studio.projects[1]["label_config"] = config.replace('"crate"', '"box"')
    assert drawn(eager.of(1)) == 2
    fake_studio.tasks[number]["annotations"][0]["result"] = []
    assert drawn(eager.of(1)) == 2
    monkeypatch.setattr(ledger, "WHOLE_S", -1.0)
    assert drawn(eager.of(1)) == 0


def test_what_cannot_be_read_is_told_each_time_and_then_read(eager: Ledger, fake_studio: FakeStudio) -> None:
    labelled_image(fake_studio, submitted(1, ONE))
    fake_studio.down = True
    for _ in range(2):
        with pytest.raises(StudioError, match="503"):
            eager.of(1)
    fake_studio.down = False
    assert drawn(eager.of(1)) == 1
    fake_studio.projects[1]["label_config"] = "<View/>"
    with pytest.raises(LabelConfigError):
        eager.of(1)


@pytest.fixture
def slow(loop: WatchedLoop, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, ...]]:
    """Two events: the first image has been read, and the second may be, before which it is not."""
    one_read, go_on, read = threading.Event(), threading.Event(), loop.studio.annotated_tasks

    def annotated(project_id: int, predictions: bool) -> Iterator[dict[str, Any]]:
        for number, task in enumerate(read(project_id, predictions)):
            if number == 1:
                one_read.set()
                assert go_on.wait(60)
            yield task

    monkeypatch.setattr(loop.studio, "annotated_tasks", annotated)
    monkeypatch.setattr(ledger, "WAIT_S", 0.3)
    yield one_read, go_on
    go_on.set()


def test_the_page_says_how_far_the_first_reading_is_and_loads_itself_anew(
    client: TestClient, fake_studio: FakeStudio, slow: tuple[threading.Event, ...]
) -> None:
    one_read, go_on = slow
    for _ in range(3):
        labelled_image(fake_studio, submitted(1, ONE))
    client.get("/effort?project=1")
    assert one_read.wait(60)
    waiting = client.get("/effort?project=1")
    assert "being read for the first time: 1 of 3 labelled images are read." in words(waiting.text)
    assert waiting.headers["Refresh"] == str(effort.RELOAD_S)
    answer = client.get("/effort/people.csv?project=1")
    assert answer.status_code == 503 and "1 of 3" in answer.text
    go_on.set()
    deadline = datetime.now(UTC) + timedelta(seconds=60)
    while "Refresh" in (shown := client.get("/effort?project=1")).headers:
        assert datetime.now(UTC) < deadline
    assert "Images labelled 3" in words(shown.text)


def test_the_end_of_the_dashboard_ends_the_reading(
    loop: WatchedLoop, fake_studio: FakeStudio, slow: tuple[threading.Event, ...]
) -> None:
    one_read, go_on = slow
    for _ in range(3):
        labelled_image(fake_studio, submitted(1, ONE))
    reading = Ledger(loop)
    with pytest.raises(StillReading):
        reading.of(1, 0.3)
    assert one_read.wait(60)
    reading.stop()
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "ledger":
            thread.join(20)
    with pytest.raises(StillReading, match="1 of 3"):
        reading.of(1, 0.3)
