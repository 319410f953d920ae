"""What the page Effort foretells of the images that are left."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from support.dashboard import words
from support.fake_studio import FakeStudio
from support.labelling_people import box as region
from support.made_scores import History, Judge, snapshot_of

from trainer.dashboard.ahead import models
from trainer.dashboard.loop import WatchedLoop
from trainer.judging.forecast import reached
from trainer.judging.scoring import score_all
from trainer.judging.standing import standing


def label(studio: FakeStudio, images: int, lead_time: float | None = 20.0, version: str = "v0001") -> None:
    """In each image two boxes are right and one is drawn."""
    boxes: list[dict[str, Any]] = [region(10, 10), region(40, 10), region(70, 10)]
    times = {"created_at": "2026-11-22T19:00:00Z", "updated_at": "2026-11-22T19:00:00Z"}
    for _ in range(images):
        task = studio.tasks[studio.add_task(annotations=1)]
        begun = {"id": 7, "created_at": "2026-11-22T18:00:00Z", "model_version": version}
        task["predictions"] = [begun | {"result": boxes[:2]}]
        task["annotations"] = [{"id": task["id"], "lead_time": lead_time, "result": boxes} | times]


def leave(studio: FakeStudio, images: int) -> None:
    for _ in range(images):
        studio.add_task()


def said(client: TestClient) -> str:
    return words(client.get("/effort?project=1").text)


def test_the_pace_is_that_of_the_newest_version_with_enough_images(
    client: TestClient, fake_studio: FakeStudio
) -> None:
    """v0002 has ten, of 10 and 30 s in turn; v0003 too few."""
    label(fake_studio, 12, 90.0, "v0001")
    for lead in (10.0, 30.0) * 5:
        label(fake_studio, 1, lead, "v0002")
    label(fake_studio, 2, 5.0, "v0003")
    leave(fake_studio, 40)
    page = said(client)
    # 40 × 20 s, ± 40 × 10.54 s × √(1/10 + 1/40); 40 × (2 × 0.5 s + 7 s); 40 × (2 × 1.7 s + 7 s)
    time = "13:20 min ± 2:29 min by the times recorded, 5:20 min by the quick table, 6:56 min by the careful"
    assert f"Images left 40 Time for them {time} table" in page
    assert "the images labelled from v0002, as if the model got no better" in page


@pytest.mark.parametrize("seconds", [1.5e308, 10**400], ids=["large", "larger"])
def test_no_time_that_somebody_tells_of_ends_the_page(
    client: TestClient, fake_studio: FakeStudio, seconds: float
) -> None:
    """Whoever may label may send any number, and the sum of two of these is infinite."""
    label(fake_studio, 12, seconds)
    leave(fake_studio, 40)
    answer = client.get("/effort?project=1")
    assert answer.status_code == 200 and "Images left 40" in words(answer.text)


def test_with_few_images_it_says_so(client: TestClient, fake_studio: FakeStudio) -> None:
    label(fake_studio, 9)
    leave(fake_studio, 5)
    page = said(client)
    assert "Images left 5 Time for them too few images to say mAP" in page
    assert "models trained on three different numbers of images are needed to say" in page


def test_when_nothing_is_left_nothing_is_foretold(client: TestClient, fake_studio: FakeStudio) -> None:
    label(fake_studio, 12)
    assert "When it is done" not in said(client)


@pytest.fixture
def history(loop: WatchedLoop) -> History:
    """Three promotions; of 30 objects a label they find 14, 14, 20 and 24 on today's hold-out."""
    made = History(loop.models(1), loop.rounds)
    for number, (candidate, champion) in enumerate(((6, 3), (10, 6), (24, 20)), start=1):
        snapshot = snapshot_of(range(1, 20 * number + 1), range(100, 100 + 10 * number))
        made.round(snapshot, {"ball": candidate, "crate": candidate}, {"ball": champion, "crate": champion})
    score_all(
        made.models, made.rounds, 1, Judge({name: {"ball": 14, "crate": 14} for name in ("v0000", "v0001")})
    )
    return made


def test_the_curve_is_that_of_the_projects_models(
    client: TestClient, fake_studio: FakeStudio, history: History
) -> None:
    label(fake_studio, 70)
    leave(fake_studio, 80)
    found = models(standing(history.models, history.rounds, 1))
    assert sorted((model.images, round(model.mAP, 2)) for model in found) == [
        (0, 0.47),
        (20, 0.47),
        (40, 0.66),
        (60, 0.8),
    ]
    assert [model.holdout_sd for model in found] == pytest.approx([1 / 3.92] * 4)
    then = reached(found, 120)
    assert then is not None and then.mAP > 0.8
    expected = f"mAP then {then.mAP:.2f}, between {then.low:.2f} and {then.high:.2f} with a chance of 80 %"
    page = said(client)
    assert f"{expected}; now 0.80" in page
    assert "scored on today's hold-out, to 120 images to train on" in page


def test_what_was_learnt_at_once_upon_one_version_counts_together(
    client: TestClient, fake_studio: FakeStudio
) -> None:
    """There is an instant version for nearly every image, so none would ever have enough of them."""
    label(fake_studio, 12, 90.0, "v0001")
    for number in range(1, 11):
        label(fake_studio, 1, 20.0, f"i0001.{number:04d}")
    leave(fake_studio, 40)
    page = said(client)
    assert "the images labelled from v0001, at once, as if the model got no better" in page
    assert "Time for them 13:20 min ± 0" in page
    assert "v0001 – 12" in page and "v0001, at once – 10" in page and "i0001" not in page
