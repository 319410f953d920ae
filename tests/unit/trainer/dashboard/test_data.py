"""Data: what is used and what isn't, by reason, with links: page, table and `make status`."""

import csv
import io
from dataclasses import replace
from html import unescape

import pytest
from fastapi.testclient import TestClient
from rich.console import Console
from support.dashboard import words
from support.dashboard_data import finished_round
from support.fake_studio import FakeStudio
from support.labelled_tasks import label, region, submit

from labelloop.files import write_text
from trainer.dashboard import stored
from trainer.dashboard.loop import WatchedLoop
from trainer.dataset.near_duplicates import NearDuplicates
from trainer.dataset.snapshot import collect
from trainer.dataset.survey import Survey
from trainer.health.status import gather
from trainer.peers.projects import fetch
from trainer.terminal import render
from trainer.training.job import Job
from trainer.training.small_objects import SmallObjects
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
    assert (
        "Labelled 12 Used by the next round 8 Not used 4 Trained on in the last round 7 Held out in it 1"
        in page
    )
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


@pytest.mark.parametrize("name", ["=HYPERLINK(0).png", "+1.png", "-1.png", "@SUM(1).png"])
def test_no_name_is_a_formula_in_a_spreadsheet(client: TestClient, labelled: WatchedLoop, name: str) -> None:
    survey = Survey.load(labelled.settings.rounds_dir, 1)
    assert survey is not None
    images = (replace(survey.images[0], url=name, reason="+x"), *survey.images[1:])
    replace(survey, left_out=images).write(labelled.settings.rounds_dir)
    labelled.forget_status()
    [row] = [
        row
        for row in csv.DictReader(io.StringIO(client.get("/data.csv?project=1").text))
        if row["task"] == str(images[0].task)
    ]
    assert (row["image"], row["reason"]) == (f"'{name}", "'+x")


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


def test_near_duplicates_are_shown_with_their_sides(client: TestClient, loop: WatchedLoop) -> None:
    finished_round(loop, 25, stray=5, champion_stray=30)
    snapshot = stored.snapshot(loop.rounds.folder(1))
    assert snapshot is not None
    digest = {image.task: image.sha256 for image in snapshot.images}
    groups = ((digest[1], digest[2], digest[3]), (digest[4], digest[5]), (digest[6], "0" * 64))
    NearDuplicates(groups, images=25).write(loop.models(1).path)
    page = unescape(words(client.get("/data?project=1").text))
    assert "Groups that are trained on and held out: 1" in page
    assert "trained on; like it: tasks 5 (held out)" in page
    assert "Groups on one side: 1" in page
    assert "trained on; like it: tasks 2 (trained on), 3 (trained on)" in page
    assert "tasks 5 (held out)" in client.get("/data.csv?project=1").text


def test_objects_that_are_small_to_the_network_are_told(client: TestClient, loop: WatchedLoop) -> None:
    finished_round(loop, 25, stray=5, champion_stray=30)
    assert "Small objects None that the last round told of." in words(client.get("/data?project=1").text)
    job = Job.load(loop.rounds.folder(1))
    small = SmallObjects(look=352, boxes=50, small=40, typical_px=3.52)
    told = job.model_copy(update={"small_objects": small})
    write_text(loop.rounds.folder(1) / "job.json", told.model_dump_json())
    loop.forget_status()
    page = words(client.get("/data?project=1").text)
    assert "40 of 50 boxes are less than 8 px a side to the network, which sees an image at 352 px" in page
