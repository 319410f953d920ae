"""Data: what is used and what isn't, by reason, with links: page, table and `make status`."""

import csv
import io
from html import unescape

import pytest
from fastapi.testclient import TestClient
from rich.console import Console
from support.dashboard import words
from support.fake_backend import FakeBackend
from support.fake_studio import FakeStudio
from support.labelled_tasks import label, region, submit

from trainer.dashboard.loop import WatchedLoop
from trainer.dataset.snapshot import collect
from trainer.health.status import gather
from trainer.peers.projects import fetch
from trainer.terminal import render
from trainer.worker.surveyor import Surveyor


@pytest.fixture
def labelled(loop: WatchedLoop, fake_studio: FakeStudio) -> WatchedLoop:
    """Twelve labelled images, of which three cannot be used, one has a sliver, and one is a twin."""
    images = loop.settings.images_dir
    for _ in range(7):
        label(fake_studio, images)
    label(fake_studio, images, region(from_name="box"))
    label(fake_studio, images, region(type=None), plain=False)
    (images / f"{label(fake_studio, images)}.png").write_bytes(b"")
    label(fake_studio, images, region(value=region()["value"] | {"width": 0.4}))
    (images / f"{label(fake_studio, images)}.png").write_bytes((images / "1.png").read_bytes())
    collect(loop.studio, 1, loop.settings, lambda fraction, text: None)
    loop.forget_status()
    return loop


def shown(loop: WatchedLoop) -> str:
    console = Console(record=True, width=200, file=io.StringIO())
    render.status(gather(loop.settings, loop.studio, loop.backend), console)
    return words(console.export_text())


def test_it_says_what_is_used_and_what_is_not_with_the_reason_and_a_link(
    client: TestClient, labelled: WatchedLoop
) -> None:
    html = client.get("/data?project=1").text
    page = unescape(words(html))
    assert "Labelled 12 Used by the next round 8 Not used 4 Trained on at the last look 7 Held out 1" in page
    assert "Annotations that could not be understood: 2" in page
    assert "Task 8 , images/8.png : region r: made by 'box', which the label config does not have" in page
    assert "Task 9 , images/9.png : region r: it has no type" in page
    assert "Images that cannot be read: 1" in page and "Task 10 , images/10.png : the file is empty" in page
    assert "The same image in another task: 1" in page
    assert "Slivers: 1" in page and "Task 11" in page
    assert 'href="http://testserver:8080/projects/1/data?task=8"' in html
    assert "Not used 4 images, boxes of 1" in words(client.get("/live?project=1").text)


def test_the_table_has_every_entry(client: TestClient, labelled: WatchedLoop) -> None:
    rows = list(csv.DictReader(io.StringIO(client.get("/data.csv?project=1").text)))
    assert sorted(row["task"] for row in rows) == ["1", "10", "11", "8", "9"]
    assert all(row["what"] and row["reason"] and row["way out"] for row in rows)


def test_status_has_a_line_of_it(labelled: WatchedLoop) -> None:
    said = shown(labelled)
    assert "data 4 of 12 labelled images are not used: 2 × annotations that could not be understood, " in said
    assert "1 × images that cannot be read, 1 × the same image in another task" in said
    assert "boxes that are not learned, in so many images: 1 × slivers; the dashboard's page Data" in said


def test_entries_go_with_their_cause(
    client: TestClient, labelled: WatchedLoop, fake_studio: FakeStudio
) -> None:
    submit(fake_studio, 8, region())
    for number in (9, 10, 12):
        del fake_studio.tasks[number]
    submit(fake_studio, 11, region())
    Surveyor(labelled.settings, labelled.studio).run(fetch(labelled.studio, 1))
    labelled.forget_status()
    page = words(client.get("/data?project=1").text)
    assert "Labelled 9 Used by the next round 9 Not used 0" in page
    assert "None: every labelled image is used." in page
    assert " data " not in shown(labelled)


def test_before_the_first_look_it_says_so(client: TestClient) -> None:
    page = words(client.get("/data?project=1").text)
    assert "Nobody has looked yet" in page and "Labelled 0" in page


def test_an_image_that_the_backend_could_not_read_names_its_project_and_goes_with_its_task(
    loop: WatchedLoop, client: TestClient, fake_studio: FakeStudio, fake_backend: FakeBackend
) -> None:
    there = fake_studio.add_task()
    fake_backend.listed = [
        {"task": number, "url": f"labelstudio/media/upload/1/{number}.jpg", "reason": "the file is empty"}
        for number in (there, 99)
    ]
    files = gather(loop.settings, loop.studio, loop.backend).unreadable
    assert [(file.path, file.reason) for file in files] == [
        (f"labelstudio/media/upload/1/{there}.jpg", f"project 1, task {there}: the file is empty")
    ]
    loop.forget_status()
    assert f"project 1, task {there}: the file is empty" in words(client.get("/data").text)
    del fake_studio.projects[1]
    assert gather(loop.settings, loop.studio, loop.backend).unreadable == []
