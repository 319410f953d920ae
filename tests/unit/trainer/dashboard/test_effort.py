"""What became of the boxes that an annotation started from."""

from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

import pytest
from fastapi.testclient import TestClient
from support.dashboard import words
from support.fake_studio import FakeStudio
from support.labelling_people import box as region
from support.shapes import LABEL_CONFIG

from labelloop.labels import parse_label_config
from labelloop.twins import marked
from trainer.dashboard.book import Effort
from trainer.dashboard.ledger import Ledger, measure
from trainer.dashboard.loop import WatchedLoop
from trainer.dataset.origin import earlier_name
from trainer.judging.effort import CAREFUL, QUICK, Work

CONFIG = parse_label_config(LABEL_CONFIG)
EARLY, LATE = "2026-11-22T18:00:00Z", "2026-11-22T19:00:00.500000Z"


def task(annotated: list[Any], predicted: list[Any] | None, **fields: Any) -> dict[str, Any]:
    annotation = {"id": 1, "created_at": LATE, "updated_at": LATE, "lead_time": 12.5, "result": annotated}
    predictions = (
        [{"id": 7, "created_at": EARLY, "model_version": "v0001", "result": predicted}]
        if predicted is not None
        else []
    )
    return {"id": 1, "annotations": [annotation | fields], "predictions": predictions}


@pytest.mark.parametrize(
    "annotated, predicted, expected",
    [
        ([region(10, 10)], [region(10, 10)], (1, 0, 0, 0)),
        ([region(10.1, 10)], [region(10, 10)], (1, 0, 0, 0)),
        ([region(12, 10)], [region(10, 10)], (0, 1, 0, 0)),
        ([region(10, 10, "crate")], [region(10, 10, "ball")], (0, 1, 0, 0)),
        ([], [region(10, 10)], (0, 0, 1, 0)),
        ([region(10, 10)], [], (0, 0, 0, 1)),
        ([region(60, 60)], [region(10, 10)], (0, 0, 1, 1)),
        ([], [], (0, 0, 0, 0)),
        ([region(10, 10), region(50, 50)], [region(50, 50), region(10, 12)], (1, 1, 0, 0)),
    ],
)
def test_each_box_is_counted_once(
    annotated: list[Any], predicted: list[Any], expected: tuple[int, int, int, int]
) -> None:
    (effort,) = measure([task(annotated, predicted)], CONFIG)
    work = effort.work
    assert (work.accepted, work.adjusted + work.relabelled, work.deleted, work.drawn) == expected
    assert (effort.version, effort.images, effort.lead_times) == ("v0001", 1, (12.5,))


def fetched(x: float, y: float, moved: bool = False) -> dict[str, Any]:
    """A box as Label Studio stores it when a click has fetched it."""
    origin = "prediction-changed" if moved else "prediction"
    return region(x, y) | {"meta": {"from": "click"}, "origin": origin}


def test_a_box_that_a_click_fetched_is_neither_drawn_nor_the_proposals_merit(
    client: TestClient, fake_studio: FakeStudio
) -> None:
    """What was proposed at its place was deleted before."""
    annotated = [fetched(10, 10), fetched(30, 30, moved=True), fetched(70, 70), region(50, 50)]
    made = task(annotated, [region(10, 11)])
    (effort,) = measure([made], CONFIG)
    assert effort.work == Work(deleted=1, drawn=1, clicked=2, click_adjusted=1)
    add(fake_studio, made)
    page = words(client.get("/effort?project=1").text)
    # By hand 28 s; with the model 1 + 7 + 3 × 1.9 + 2 × 0.5 + 3.5, or 2 + 7 + 3 × 1.9 + 2 × 1.7 + 4.5
    assert "v0001 – 1 0 0 0 1 1 3 0% 12 s 10 s 5 s" in page
    assert "Click on an object, so that a box appears 3 1.9 1.9 Papadopoulos" in page
    assert "or at what a click has fetched 2 0.5 1.7 assumed" in page
    assert "Move or resize one 1 3.5 4.5 assumed" in page


def test_what_a_version_proposed_under_earlier_labels_is_that_versions() -> None:
    made = task([region(10, 10)], [region(10, 10)], parent_prediction=7)
    made["predictions"][0]["model_version"] = earlier_name("v0001")
    made["predictions"].append({"id": 8, "created_at": EARLY, "model_version": "v0001", "result": []})
    (effort,) = measure([made], CONFIG)
    assert (effort.version, effort.work) == ("v0001", Work(accepted=1))


def test_without_a_prediction_every_box_was_drawn() -> None:
    assert measure([task([region(10, 10)], None)], CONFIG) == [Effort(None, 1, Work(drawn=1), (12.5,))]


def test_the_prediction_it_started_from_counts_not_a_later_one() -> None:
    made = task([region(10, 10)], [region(10, 10)])
    later = {"id": 8, "created_at": "2026-11-22T20:00:00Z", "model_version": "v0002", "result": []}
    made["predictions"].append(later)
    assert [effort.version for effort in measure([made], CONFIG)] == ["v0001"]
    made["annotations"][0]["parent_prediction"] = 8
    assert [effort.version for effort in measure([made], CONFIG)] == ["v0002"]


def test_skipped_tasks_are_no_work() -> None:
    assert measure([task([], [region(1, 1)], was_cancelled=True)], CONFIG) == []


def test_labels_that_were_brought_from_elsewhere_are_no_work_with_our_boxes() -> None:
    assert measure([task([region(1, 1)], [region(1, 1)], last_action="imported")], CONFIG) == []


def test_the_estimate_adds_up() -> None:
    work = Work(accepted=10, adjusted=3, relabelled=1, deleted=2, drawn=1)
    assert work.seconds_by_hand(QUICK) == work.seconds_by_hand(CAREFUL) == 15 * 7.0
    assert work.seconds(QUICK) == 10 * 0.5 + 4 * 3.5 + 2 * 1.0 + 7.0
    assert work.seconds(CAREFUL) == 10 * 1.7 + 3 * 4.5 + 1 * 3.0 + 2 * 2.0 + 7.0
    assert work.seconds_saved(CAREFUL) == 105 - 44.5
    assert work.share_saved(CAREFUL) == pytest.approx(1 - 44.5 / 105)
    assert Work().share_saved(QUICK) == 0
    assert work.share_accepted == 10 / 16
    assert Work(deleted=5).seconds_saved(QUICK) < 0


def test_before_the_first_label(client: TestClient) -> None:
    assert "Nothing is labelled yet." in words(client.get("/effort").text)
    assert client.get("/effort/accepted.svg").status_code == 200


def test_the_page_shows_each_version(client: TestClient, fake_studio: FakeStudio) -> None:
    for number, lead in enumerate((10.0, 20.0, 90.0)):
        row = fake_studio.tasks[fake_studio.add_task(annotations=1)]
        row |= task(
            [region(10, 10), region(50, 50 + number)], [region(10, 10), region(50, 50)], lead_time=lead
        ) | {"id": row["id"]}
    page = words(client.get("/effort?project=1").text)
    assert "v0001 – 3 4 2 0 0 0 0 67% 20 s 33 s 26 s" in page
    # 6 × 7 s by hand; with the model 4 × 0.5 s + 2 × 3.5 s, or 4 × 1.7 s + 2 × 4.5 s
    assert "Saved, about 33 s by the quick table, 26 s by the careful table Images labelled 3" in page
    assert "Move or resize one 2 3.5 4.5 assumed" in page
    assert "Look at one that is right, or at what a click has fetched 4 0.5 1.7 assumed" in page
    assert "Give one another label 0 3.5 3.0 assumed" in page
    assert "Click on an object, so that a box appears 0 1.9 1.9 Papadopoulos" in page
    assert "In all, careful table by hand 6 × 7.0 s = 42 s; with the model 16 s, 62% less" in page
    assert "With 30 images whose time Label Studio recorded, both tables get this project's own" in page
    assert "there are 3." in page
    assert "Boxes accepted as they were 4, 67% of those proposed" in page
    assert "Median time per image 20 s" in page
    assert "v0001" in client.get("/effort/accepted.svg").text
    assert "/effort/accepted.svg" in client.get("/effort?project=1").text


def test_without_a_proposed_box_there_is_no_empty_chart(client: TestClient, fake_studio: FakeStudio) -> None:
    add(fake_studio, task([region(10, 10)], None))
    page = client.get("/effort?project=1").text
    assert "No image was labelled from boxes of the model yet." in page
    assert "/effort/accepted.svg" not in page


def add(fake_studio: FakeStudio, made: dict[str, Any]) -> None:
    row = fake_studio.tasks[fake_studio.add_task(annotations=1)]
    row |= made | {"id": row["id"]}


def test_with_enough_times_the_page_has_the_projects_own_costs(
    client: TestClient, fake_studio: FakeStudio
) -> None:
    """Images take 4 s and 10 s for each drawn box, 2 s for each one accepted; one was open for a while,
    one was changed by somebody else, and one came from a program.
    """
    drawn, accepted = [region(10, 10), region(40, 10)], [region(10, 50), region(40, 50)]
    for number in range(40):
        add_drawn, there = number % 3, number % 2 + 1
        result = drawn[:add_drawn] + accepted[:there]
        lead = 4.0 + 10 * add_drawn + 2 * there
        add(fake_studio, task(result, accepted[:there], lead_time=lead))
    add(fake_studio, task(accepted, accepted, lead_time=4000.0))
    add(fake_studio, task(accepted, accepted, lead_time=290.0, completed_by=1, updated_by=2))
    add(fake_studio, task(accepted, accepted, lead_time=None))
    page = words(client.get("/effort?project=1").text)
    assert "Seconds to How often Quick Careful This project Source of the tables" in page
    assert "Draw a box 39 7.0 7.0 10.0 ± 0.0 Papadopoulos" in page
    assert "Look at one that is right, or at what a click has fetched 66 0.5 1.7 2.0 ± 0.1 assumed" in page
    assert "Delete one 0 1.0 2.0 1.0 ± 2.0 assumed" in page
    assert "Open an image, whatever is in it 43 – – 4.0 ± 0.1 –" in page
    # 66 × 6.5 s; 66 × 5.3 s; 66 × 8 s
    assert "7:09 min by the quick table, 5:50 min by the careful table, 8:48 min ± 5 s by this" in page
    assert "recorded for 40 images, leaning on the quick table" in page


def test_the_chosen_table_is_the_one_that_decides(
    client: TestClient, loop: WatchedLoop, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(fake_studio, task([region(10, 10)], [region(10, 10)]))
    assert "The quick one decides where one must" in words(client.get("/effort?project=1").text)
    monkeypatch.setattr(loop, "settings", loop.settings.model_copy(update={"costs": "careful"}))
    assert "The careful one decides where one must" in words(client.get("/effort?project=1").text)


class Task(dict[str, Any]):
    """One whose end can be noticed."""

    __hash__ = object.__hash__  # type: ignore[assignment]


def test_tasks_are_looked_at_and_let_go_one_by_one(
    loop: WatchedLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: WeakSet[Task] = WeakSet()

    def annotated(project_id: int, predictions: bool) -> Iterator[Task]:
        for number in range(20):
            assert len(alive) <= 1
            made = Task(task([region(10, 10)], [region(10, 10)]) | {"id": number})
            alive.add(made)
            yield made
            del made

    monkeypatch.setattr(loop.studio, "annotated_tasks", annotated)
    (effort,) = Ledger(loop).of(1).book.efforts
    assert (effort.images, effort.work.accepted) == (20, 20)


def test_without_label_studio(client: TestClient, loop: WatchedLoop, fake_studio: FakeStudio) -> None:
    client.get("/")
    fake_studio.down = True
    page = client.get("/effort?project=1")
    assert page.status_code == 200
    assert "503" in page.text
    assert client.get("/effort/accepted.svg").status_code == 200


def test_boxes_from_a_labelled_near_duplicate_are_no_merit_of_the_version(
    client: TestClient, fake_studio: FakeStudio
) -> None:
    """Three boxes of the model, one of which is deleted; two of a twin's, one moved; one drawn."""
    own = [region(10, 10), region(40, 10), region(70, 10)]
    copied = list(marked([region(10, 50), region(40, 50)], 3))
    result = [*own[:2], copied[0], region(43, 50), region(70, 50)]
    [effort] = measure([task(result, [copied[1], *own, copied[0]])], CONFIG)
    assert (effort.version, effort.images) == ("v0001", 1)
    assert effort.work == Work(accepted=2, deleted=1, drawn=1)
    assert effort.from_twins == Work(accepted=1, adjusted=1)
    assert (effort + effort).from_twins == Work(accepted=2, adjusted=2)
    number = fake_studio.add_task(annotations=1)
    whole = task(result, [copied[1], *own, copied[0]])
    fake_studio.tasks[number]["annotations"] = whole["annotations"]
    fake_studio.predictions += [row | {"task": number} for row in whole["predictions"]]
    page = words(client.get("/effort?project=1").text)
    assert "From labelled near-duplicates 1 of 2 boxes accepted as they were; counted apart" in page
    assert "Boxes accepted as they were 2, 67% of those proposed" in page
