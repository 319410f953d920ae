"""Crops of sure boxes are answered page by page, and become annotations, or drafts, of whoever answered."""

import io
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from support.dashboard import words
from support.fake_studio import FakeStudio
from support.labelling_people import box, labelled_image, submitted
from support.stack import wait_for
from support.verify_data import ADDRESS, FAINT, SURE, answer, crops, judged, propose, undo

from labelloop.verified import is_verified
from trainer.dashboard import verifying
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.sure import Proposed, SureBox
from trainer.dashboard.verify_store import Store

ANN, BEA = 1, 2

Propose = Callable[..., int]


@pytest.fixture
def image(loop: WatchedLoop, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch) -> Propose:
    """Makes tasks; v0001 is in service. A page waits until all of them have been looked through."""
    monkeypatch.setattr(verifying, "FIRST_WAIT_S", 60.0)
    judged(loop)
    return lambda *boxes, **more: propose(loop, fake_studio, *boxes, **more)


def seen(told: dict[str, object]) -> list[tuple[int, str]]:
    return [(row["task"], row["region"]) for row in told["crops"]]  # type: ignore[attr-defined]


def test_an_image_whose_boxes_are_all_right_is_submitted_in_the_name_of_whoever_saw_them(
    image: Propose, client: TestClient, fake_studio: FakeStudio
) -> None:
    first, second = image(("ball", SURE), ("ball", SURE)), image(("ball", SURE))
    told = crops(client)
    assert told["label"] == "ball"
    assert sorted(seen(told)) == [(first, f"r{first}-0"), (first, f"r{first}-1"), (second, f"r{second}-0")]
    said = answer(client, told, seconds="0.003")
    assert "3 right, 0 wrong. 2 images submitted." in said
    assert "Nothing sure any more" in said
    [written] = fake_studio.tasks[first]["annotations"]
    assert (written["completed_by"], written["parent_prediction"]) == (ANN, 500 + first)
    assert written["lead_time"] == pytest.approx(0.002)
    assert is_verified(written["result"])
    [row, _] = written["result"]
    assert row["meta"]["verified"]["by"] == "ann@example.org"
    assert row["value"]["x"] == 5.0 and "score" not in row and "beside" not in row


def test_a_wrong_box_makes_the_image_a_draft_without_it_that_never_comes_back(
    image: Propose, client: TestClient, fake_studio: FakeStudio
) -> None:
    task = image(("ball", SURE), ("ball", SURE))
    said = answer(client, crops(client), 2)
    assert "1 right, 1 wrong. 1 image left to Label Studio as a draft of yours" in said
    [draft] = fake_studio.tasks[task]["drafts"]
    assert [(row["id"], row["meta"]) for row in draft["result"]] == [
        (f"r{task}-0", {"text": ["seen right by ann@example.org on the page Verify"]})
    ]
    assert fake_studio.tasks[task].get("annotations", []) == [] and draft["user"] == ANN
    fake_studio.tasks[task]["drafts"].clear()
    assert crops(client)["crops"] == []


def test_an_image_that_has_to_be_opened_anyway_is_left_to_label_studio(
    image: Propose, client: TestClient, fake_studio: FakeStudio
) -> None:
    """An earlier release's prediction has but a score, 1 / (1 + the sum of all boxes' entropies)."""
    done = [
        image(("ball", SURE), beside=0.09),
        image(("ball", SURE), beside=None, score=1 / (1 + 0.1985 + 0.32)),
    ]
    left = [
        image(("ball", SURE), beside=0.1),
        image(("ball", SURE), ("crate", FAINT)),
        image(("ball", SURE), beside=None, score=1 / (1 + 0.1985 + 0.33)),
        image(("ball", SURE), beside=None, score=None),
    ]
    told = crops(client)
    assert [task for task, _ in seen(told)] == done
    assert "2 right, 0 wrong. 2 images submitted." in answer(client, told)
    assert "the model also sees something that it is not sure of" in crops(client)["empty"]
    rows = fake_studio.tasks
    assert [len(rows[task].get("annotations", [])) for task in done + left] == [1, 1, 0, 0, 0, 0]
    assert not [task for task in left if rows[task].get("drafts")]


def test_where_the_label_config_asks_for_more_than_boxes_nothing_is_submitted(
    image: Propose, client: TestClient, fake_studio: FakeStudio
) -> None:
    choices = '<Choices name="light" toName="image" required="true"><Choice value="day"/></Choices></View>'
    config = fake_studio.projects[1]["label_config"].replace("</View>", choices)
    fake_studio.projects[1]["label_config"] = config
    task = image(("ball", SURE))
    assert "left to Label Studio" in answer(client, crops(client))
    assert len(fake_studio.tasks[task]["drafts"]) == 1


def test_an_image_is_done_when_all_its_labels_are_whoever_answers_last(
    image: Propose, client: TestClient, labeller: TestClient, fake_studio: FakeStudio
) -> None:
    task = image(("ball", SURE), ("crate", SURE))
    hers, his = crops(client, "ball"), crops(labeller, "crate")
    answer(client, hers)
    assert not fake_studio.tasks[task].get("annotations")
    answer(labeller, his)
    [written] = fake_studio.tasks[task]["annotations"]
    assert written["completed_by"] == BEA
    by = [row["meta"]["verified"]["by"] for row in written["result"]]
    assert by == ["ann@example.org", "bea@example.org"]


def test_two_people_have_different_crops_and_a_reload_has_the_same(
    image: Propose, client: TestClient, labeller: TestClient
) -> None:
    for _ in range(15):
        image(("ball", SURE), ("ball", SURE))
    hers, his = crops(client), crops(labeller)
    assert (len(hers["crops"]), len(his["crops"])) == (24, 6)
    assert not set(seen(hers)) & set(seen(his))
    assert crops(client)["crops"] == hers["crops"]
    assert "too old" in answer(labeller, hers | {"csrf": his["csrf"]})


def test_crops_that_nobody_answered_go_to_others_after_a_while(
    image: Propose, app: FastAPI, client: TestClient, labeller: TestClient, fake_studio: FakeStudio
) -> None:
    task = image(("ball", SURE))
    hers = crops(client)
    assert crops(labeller)["crops"] == []
    store = app.state.parts.verifying.of(1).store
    now = store._clock
    store._clock = lambda: now() + 601
    his = crops(labeller)
    assert seen(his) == seen(hers)
    assert "too old" in answer(client, hers, 1)
    answer(labeller, his)
    [written] = fake_studio.tasks[task]["annotations"]
    assert written["completed_by"] == BEA


def test_a_page_that_is_sent_twice_is_written_once(
    image: Propose, client: TestClient, fake_studio: FakeStudio
) -> None:
    task = image(("ball", SURE))
    told = crops(client)
    answer(client, told)
    assert "answered already" in answer(client, told, 1)
    assert len(fake_studio.tasks[task]["annotations"]) == 1


def test_whoever_labels_the_image_in_label_studio_meanwhile_comes_first(
    image: Propose, client: TestClient, fake_studio: FakeStudio
) -> None:
    tasks = [image(("ball", SURE)) for _ in range(4)]
    told = crops(client)
    theirs = {"id": 77, "was_cancelled": False, "result": [], "completed_by": BEA}
    fake_studio.tasks[tasks[0]].update(annotations=[theirs], total_annotations=1)
    fake_studio.tasks[tasks[1]].update(drafts=[{"user": BEA, "result": []}])
    fake_studio.tasks[tasks[2]].update(open_before=BEA)
    said = answer(client, told)
    assert (
        "1 image submitted; 2 images labelled by somebody else meanwhile, which counts; 1 image open" in said
    )
    assert fake_studio.tasks[tasks[0]]["annotations"] == [theirs]
    assert len(fake_studio.tasks[tasks[1]]["drafts"]) == 1


def test_crops_of_images_that_were_labelled_since_they_were_found_are_not_shown(
    image: Propose, client: TestClient, labeller: TestClient, fake_studio: FakeStudio
) -> None:
    tasks = [image(("ball", SURE)) for _ in range(27)]
    crops(labeller)
    for task in (tasks[24], tasks[0]):
        fake_studio.tasks[task]["total_annotations"] = 1
    fake_studio.tasks[tasks[25]]["drafts"] = [{"user": BEA, "result": []}]
    assert [task for task, _ in seen(crops(client))] == [tasks[26]]


def test_what_is_not_shown(image: Propose, client: TestClient, fake_studio: FakeStudio) -> None:
    def proposed(version: str = "v0001") -> tuple[dict[str, Any], dict[str, Any]]:
        task = image(("ball", SURE), version=version)
        return fake_studio.tasks[task], fake_studio.predictions[-1]

    proposed(version="v00010")
    skipped, _ = proposed()
    skipped["cancelled_annotations"] = 1
    drafted, _ = proposed()
    drafted["drafts"] = [{"user": BEA, "result": []}]
    _, of_a_twin = proposed()
    of_a_twin["result"][0]["meta"] = {"from": "near-duplicate"}
    _, near_duplicate = proposed()
    near_duplicate["score"] = 1.0
    _, turned = proposed()
    turned["result"][0]["value"]["rotation"] = 30
    _, unknown = proposed()
    unknown["result"][0]["value"]["rectanglelabels"] = ["owl"]
    told = crops(client)
    assert told["crops"] == [] and "none is left" in told["empty"]


def test_another_version_brings_its_own_boxes_and_what_was_begun_goes_on(
    image: Propose, client: TestClient, loop: WatchedLoop, fake_studio: FakeStudio
) -> None:
    begun, waits = image(("ball", SURE), ("crate", SURE)), image(("crate", SURE))
    told = crops(client, "ball")
    client.post("/verify?project=1", data={"csrf": told["csrf"], "page": told["page"]})
    judged(loop)
    theirs = fake_studio.predictions[-1]
    row = theirs["result"][0] | {"id": "newer"}
    fake_studio.predictions.append(theirs | {"id": 900, "model_version": "v0002", "result": [row]})
    told = crops(client, "crate")
    assert sorted(seen(told)) == [(begun, f"r{begun}-1"), (waits, "newer")]
    answer(client, told)
    [first], [second] = (fake_studio.tasks[task]["annotations"] for task in (begun, waits))
    assert (first["parent_prediction"], second["parent_prediction"]) == (500 + begun, 900)


def test_under_another_label_config_nothing_of_the_former_is_shown_or_written(
    image: Propose, client: TestClient, fake_studio: FakeStudio
) -> None:
    task = image(("ball", SURE), ("crate", SURE))
    told = crops(client, "ball")
    client.post("/verify?project=1", data={"csrf": told["csrf"], "page": told["page"]})
    project = fake_studio.projects[1]
    project["label_config"] = project["label_config"].replace('value="crate"', 'value="box"')
    assert crops(client)["crops"] == []
    assert not fake_studio.tasks[task].get("annotations") and not fake_studio.tasks[task].get("drafts")


def test_nothing_is_sure_before_a_round_and_with_few_boxes_in_the_hold_out(
    loop: WatchedLoop, client: TestClient, fake_studio: FakeStudio
) -> None:
    assert "Nothing sure yet: no round has scored the model in service" in words(client.get(ADDRESS).text)
    judged(loop, found=8)
    propose(loop, fake_studio, ("ball", SURE))
    said = words(client.get(ADDRESS).text)
    assert "Nothing sure yet: on the hold-out (24 labelled boxes)" in said and "nine boxes" in said


def test_a_page_is_taken_back_with_its_marks_and_answered_anew(
    image: Propose, client: TestClient, fake_studio: FakeStudio
) -> None:
    right, wrong = image(("ball", SURE)), image(("ball", SURE))
    told = crops(client)
    [place] = [row["number"] for row in told["crops"] if row["task"] == wrong]
    answer(client, told, place)
    assert fake_studio.tasks[right]["annotations"] and fake_studio.tasks[wrong]["drafts"]
    assert "Taken back: 2 crops, as you had marked them." in undo(client)
    assert not fake_studio.tasks[right]["annotations"] and not fake_studio.tasks[wrong]["drafts"]
    again = crops(client)
    assert {row["task"]: row["wrong"] for row in again["crops"]} == {right: False, wrong: True}
    answer(client, again)
    assert len(fake_studio.tasks[wrong]["annotations"]) == len(fake_studio.tasks[right]["annotations"]) == 1


def test_pages_are_taken_back_one_after_the_other_the_last_first(
    image: Propose, client: TestClient, labeller: TestClient
) -> None:
    image(("ball", SURE))
    answer(client, crops(client))
    image(("crate", SURE))
    answer(client, crops(client, "crate"))
    assert "There is no page of yours to take back" in undo(labeller)
    assert "1 crop," in undo(client) and crops(client)["label"] == "crate"
    assert "1 crop," in undo(client) and crops(client)["label"] == "ball"


def test_what_somebody_has_changed_since_is_not_taken_back(
    image: Propose, client: TestClient, fake_studio: FakeStudio
) -> None:
    task = image(("ball", SURE))
    answer(client, crops(client))
    fake_studio.tasks[task]["annotations"][0]["updated_by"] = BEA
    assert "Nothing could be taken back. 1 changed in Label Studio since" in undo(client)
    assert len(fake_studio.tasks[task]["annotations"]) == 1 and crops(client)["crops"] == []


def test_the_page_effort_counts_it_apart_from_what_was_done_in_the_editor(
    image: Propose, client: TestClient, fake_studio: FakeStudio
) -> None:
    image(("ball", SURE), ("ball", SURE))
    answer(client, crops(client))
    [task] = fake_studio.tasks.values()
    task["annotations"][0]["lead_time"] = 3.0
    labelled_image(fake_studio, submitted(ANN, [box(10, 10)]), proposed=[])
    labelled_image(fake_studio, submitted(BEA, [box(10, 10)]), proposed=[])
    said = words(client.get("/effort?project=1").text)
    assert "Of these, on the page Verify 1 image, 2 boxes, 3.0 s an image in the median" in said
    assert "Boxes accepted as they were 2, 100%" in said
    assert "Median time per image 12 s" in said
    rows = client.get("/effort/people.csv?project=1").text.splitlines()
    assert [row.split(",")[:5] for row in rows if "Verify" in row] == [
        ["ann@example.org", "on the page Verify", "1", "1", "3.0"]
    ]


def test_a_crop_shows_the_box_and_what_is_around_it(image: Propose, client: TestClient) -> None:
    image(("ball", SURE))
    [row] = crops(client)["crops"]
    assert row["xyxy"] == pytest.approx([16, 24, 80, 72]) and (row["width"], row["height"]) == (320, 240)
    shown = client.get(row["picture"])
    assert shown.headers["Content-Type"] == "image/jpeg"
    assert Image.open(io.BytesIO(shown.content)).size == (224, 224)
    assert client.get("/verify/crops/1/7.jpg?project=1").status_code == 404
    html = client.get(ADDRESS).text
    assert re.search(r'<svg viewBox="0 0 96.0 96.0"', html)
    assert '<rect x="16.0" y="24.0" width="64.0" height="48.0"/>' in html


def test_many_people_at_once_never_have_the_same_crop(
    image: Propose, app: FastAPI, client: TestClient, loop: WatchedLoop
) -> None:
    for _ in range(40):
        image(("ball", SURE), ("ball", SURE))
    crops(client)
    stores = [app.state.parts.verifying.of(1).store, Store(loop.models(1).path)]  # another process's, too

    def open_page(person: int) -> list[tuple[int, int]]:
        page = stores[person % 2].page(person, f"{person}@example.org", None)
        return [(crop.task, crop.number) for crop in page.crops] if page else []

    with ThreadPoolExecutor(8) as pool:
        had = [row for rows in pool.map(open_page, range(10, 18), timeout=60) for row in rows]
    assert len(had) == len(set(had)) == 80 - 24


def test_a_page_costs_few_requests_however_many_images_there_are(
    image: Propose, client: TestClient, fake_studio: FakeStudio
) -> None:
    """Task numbers run over all projects, so there are gaps, too."""
    first = image(("ball", SURE))
    pattern, proposed = fake_studio.tasks[first], fake_studio.predictions[0]
    fake_studio.tasks |= {n: pattern | {"id": n} for n in range(3_000_000, 3_000_400)}
    fake_studio.predictions += [proposed | {"id": n, "task": n} for n in range(3_000_000, 3_000_400)]
    fake_studio.pages.clear()
    told = crops(client)
    assert len(told["crops"]) == 24
    found = [total for _, total in fake_studio.pages]
    assert len(found) < 30, found
    fake_studio.pages.clear()
    crops(client)
    own = len(fake_studio.pages)  # the status's and the crops' own tasks: nothing is looked through anew
    assert own <= 6


def test_a_reader_that_began_under_another_version_adds_nothing(loop: WatchedLoop) -> None:
    """It would leave out all images up to where it is, and show the former version's boxes as today's."""
    store = Store(loop.models(1).path)
    store.begin("v0001", "labels")
    box = SureBox(0, "ball", 0.95, (10.0, 10.0, 20.0, 20.0))
    image = Proposed(1, "v0001", 500, "1.jpg", (320, 240), ({"id": "a"},), (box,), True)
    store.begin("v0002", "labels")
    assert not store.put([image], 40, "v0001", "labels")
    assert store.cursor == 0 and store.ready() == {}
    store.begin("v0002", "other labels")
    assert not store.put([image], 40, "v0002", "labels")
    assert store.put([image], 40, "v0002", "other labels")
    assert store.cursor == 40 and store.ready() == {"ball": 1}


def test_a_page_whose_time_ran_out_while_label_studio_was_asked_has_no_crops(loop: WatchedLoop) -> None:
    store = Store(loop.models(1).path)
    assert store.withdraw("a page that is gone", [7]) is None


def test_what_somebody_had_open_is_handed_in_though_nobody_visits_the_page(
    image: Propose, client: TestClient, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "OPEN_WAIT_S", 0.05)
    task = image(("ball", SURE))
    told = crops(client)
    fake_studio.tasks[task]["open_before"] = BEA
    form = {"csrf": told["csrf"], "page": told["page"]}
    client.post("/verify?project=1", data=form)
    assert not fake_studio.tasks[task].get("annotations")
    fake_studio.tasks[task]["open_before"] = None
    wait_for("the annotation", lambda: fake_studio.tasks[task].get("annotations"), 60, every=0.02)
    assert len(fake_studio.tasks[task]["annotations"]) == 1
