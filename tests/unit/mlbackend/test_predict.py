"""Predictions: one per task, in order, whatever the images are."""

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.backend_home import LABEL_CONFIG, Home

from labelloop.boxes import Boxes
from labelloop.order import lot
from mlbackend.unreadable import FORGOTTEN_AFTER_S, Unreadable

ORIENTATION = 0x0112


def test_predict_works_before_any_setup(home: Home) -> None:
    answer = home.predict(home.add_image("a.png"))
    assert answer.status_code == 200
    assert answer.json["model_version"] == "v0000"


def test_one_result_per_task_in_the_tasks_order(home: Home) -> None:
    urls = [home.add_image(f"{n}.png", size=(40 + n, 20)) for n in range(37)]
    urls[5], urls[36] = "/data/local-files/?d=images/gone.png", ""
    results = home.results(*urls)
    widths = [r["result"][0]["original_width"] if "result" in r else None for r in results]
    assert widths == [None if n in (5, 36) else 40 + n for n in range(37)]


def test_no_tasks_no_results(home: Home) -> None:
    assert home.results() == []


def test_an_unreadable_image_gets_no_prediction_but_the_reason(home: Home) -> None:
    folder = home.settings.images_dir
    good = home.add_image("good.png")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("not an image")
    whole = folder / "whole.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)).save(whole)
    (folder / "torn.jpg").write_bytes(whole.read_bytes()[:650])
    names = ["empty.jpg", "text.png", "torn.jpg", "missing.jpg"]
    results = home.results(good, *(f"/data/local-files/?d=images/{name}" for name in names), good)
    assert ["result" in r for r in results] == [True, False, False, False, False, True]
    for name, result in zip(names, results[1:5], strict=True):
        assert name in result["error"]
        assert result["model_version"] == "v0000" and "score" not in result, "Label Studio stores no score"
    assert [entry["url"] for entry in home.project_health()["unreadable"]] == [
        f"images/{name}" for name in names
    ]
    assert "the file is empty" in home.project_health()["unreadable"][0]["reason"]


def test_unreadable_list_is_bounded_and_heals(home: Home) -> None:
    home.results(*(f"/data/local-files/?d=images/{n}.png" for n in range(70)))
    entries = home.project_health()["unreadable"]
    assert [entry["task"] for entry in entries] == list(range(20, 70))
    home.results(*(home.add_image(f"{n}.png") for n in range(70)))
    assert home.project_health()["unreadable"] == []


def test_what_nobody_asks_for_any_more_leaves_the_unreadable_list() -> None:
    now = 0.0
    found = Unreadable(lambda: now)
    found.add(1, "gone.jpg", "there is no file")
    found.add(2, "torn.jpg", "the file is empty")
    now = FORGOTTEN_AFTER_S - 1.0
    found.add(2, "torn.jpg", "the file is empty")
    now = FORGOTTEN_AFTER_S + 1.0
    assert [entry["task"] for entry in found.entries()] == [2]


@pytest.mark.parametrize(
    "url", [None, 5, ["/data/upload/1/a.png"], {"a": 1}, "\ud800", "http://[", "x" * 5000, "\0"]
)
def test_no_value_of_the_image_field_breaks_a_batch(home: Home, url: object) -> None:
    first, second = home.results(url, home.add_image("a.png"))
    assert "result" not in first and first["error"]
    assert second["result"]


def test_task_without_the_data_key_is_named(home: Home) -> None:
    body = {"tasks": [{"id": 7, "data": {"photo": "x"}}], "project": "1.1", "label_config": LABEL_CONFIG}
    (result,) = home.client.post("/predict", json=body).json["results"]
    assert "task 7" in result["error"] and "'image'" in result["error"]


@pytest.mark.parametrize(
    ("image", "data"),
    [
        ("$meta.photo", {"meta": {"photo": "a.png"}}),
        ("$images[0]", {"images": ["a.png"]}),
        ("/data/local-files/?d=images/$file", {"file": "a.png"}),
    ],
)
def test_the_image_is_found_wherever_the_config_says(home: Home, image: str, data: dict[str, Any]) -> None:
    url = home.add_image("a.png")
    data = json.loads(json.dumps(data).replace("a.png", "a.png" if "file" in data else url))
    above = LABEL_CONFIG.replace("<View>", '<View><Text name="caption" value="$caption"/>')
    body = {"tasks": [{"id": 7, "data": {"caption": "no image", **data}}], "project": "1.1"}
    given = {**body, "label_config": above.replace("$image", image)}
    (result,) = home.client.post("/predict", json=given).json["results"]
    assert "error" not in result and len(result["result"]) == 1


ALIASED = """<View><Image name="image" value="$image"/>
<RectangleLabels name="animals" toName="image"><Label value="kite"/></RectangleLabels>
<RectangleLabels name="pets" toName="image"><Label value="Katze" alias="cat"/></RectangleLabels></View>"""


def test_a_box_has_its_labels_alias_and_its_labels_own_control(home: Home) -> None:
    """Label Studio stores the alias; a box of another control would have no label on its page."""
    task = {"id": 7, "data": {"image": home.add_image("a.png")}}
    body = {"tasks": [task], "project": "1.1", "label_config": ALIASED}
    (result,) = home.client.post("/predict", json=body).json["results"]
    (region,) = result["result"]
    assert (region["from_name"], region["value"]["rectanglelabels"]) == ("pets", ["cat"])


def test_boxes_are_percent_of_the_image_as_the_browser_shows_it(home: Home) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    (result,) = home.results(home.add_image("turned.jpg", size=(40, 20), exif=exif))
    (region,) = result["result"]
    assert (region["original_width"], region["original_height"]) == (20, 40)
    assert region["value"] == {
        "x": 0, "y": 0, "width": 50, "height": 100, "rotation": 0, "rectanglelabels": ["pet"],
    }  # fmt: skip
    assert region["from_name"] == "label" and region["to_name"] == "image"


def test_names_with_spaces_quotes_and_chinese(home: Home) -> None:
    from urllib.parse import quote

    name = 'ein "großes" 浣熊 #1 100%.png'
    home.add_image(name)
    (result,) = home.results("/data/local-files/?d=" + quote(f"images/{name}"))
    assert result["result"], result


def test_boxes_below_the_threshold_are_not_proposed_but_count_in_the_score(home: Home) -> None:
    home.add_version(dataset_fingerprint="made", classes=["pet", "car"])
    sure, unsure, dark = (home.add_image(f"{b}.png", brightness=b) for b in (250, 120, 60))
    results = home.results(sure, unsure, dark)
    assert [len(r["result"]) for r in results] == [1, 1, 0]
    scores = [r["score"] for r in results]
    assert all(0 <= score <= 1 for score in scores)
    assert scores[0] > scores[2] > scores[1]


def test_the_first_box_tells_the_best_score_of_what_is_not_proposed(home: Home) -> None:
    """What lies on a proposed box, or is too small to be seen, does not count: the object has its box."""
    home.setup()
    boxes = [[0, 0, 20, 20], [0, 0, 20, 20], [40, 40, 60, 60], [30, 30, 31, 50], [70, 0, 90, 20]]
    home.detector.answer = lambda image: Boxes.of(boxes, [0.9, 0.29, 0.12, 0.28, 0.8], [0, 2, 2, 2, 2])
    regions = home.results(home.add_image("a.png", size=(100, 100)))[0]["result"]
    assert [region.get("beside") for region in regions] == [0.12, None]
    home.detector.answer = lambda image: Boxes.of(boxes[:1], [0.9], [0])
    assert home.results(home.add_image("b.png", size=(100, 100)))[0]["result"][0]["beside"] == 0.0


def test_thresholds_of_the_card_win(home: Home) -> None:
    home.add_version(score_thresholds={"pet": 0.9})
    assert home.results(home.add_image("a.png", brightness=200))[0]["result"] == []


def test_a_starting_version_draws_the_order_by_lot(home: Home) -> None:
    """Its doubts don't tell which images teach the project's labels. An image's lot never changes, also when
    its task is made anew and has another number."""
    urls = [home.add_image(f"{n}.png", brightness=120) for n in range(40)]
    scores = [r["score"] for r in home.results(*urls)]
    assert all(0 <= score < 1 for score in scores) and len(set(scores)) == 40
    assert scores not in (sorted(scores), sorted(scores, reverse=True))
    assert [r["score"] for r in home.results(*reversed(urls))] == scores[::-1]


@pytest.mark.parametrize(("images", "by_lot"), [(3, True), (9, True), (10, False), (0, False)])
def test_the_doubts_of_a_version_of_few_images_do_not_decide_the_order(
    home: Home, images: int, by_lot: bool
) -> None:
    """Cards of old do not say of how many images a version is."""
    home.add_version(dataset_fingerprint="made", classes=["pet", "car"], images=images)
    urls = [home.add_image(f"{n}.png", brightness=120) for n in range(8)]
    scores = [row["score"] for row in home.results(*urls)]
    assert (scores == [lot({"image": url}) for url in urls]) is by_lot
    assert (len(set(scores)) == 1) is not by_lot, "all look the same, so doubts are equal"


def test_an_unreadable_image_shifts_no_other_lot(home: Home) -> None:
    one, other = home.add_image("a.png"), home.add_image("b.png")
    before, gone, after = home.results(one, "/data/local-files/?d=images/gone.png", other)
    assert "score" not in gone
    assert [before["score"], after["score"]] == [r["score"] for r in home.results(one, other)]


def test_an_image_without_boxes_has_a_real_score(home: Home) -> None:
    home.add_version(dataset_fingerprint="made", classes=["pet", "car"])
    home.setup()
    home.detector.answer = lambda image: Boxes.empty()
    answer = home.predict(home.add_image("a.png"))
    json.loads(answer.text, parse_constant=lambda name: pytest.fail(f"{name} in the answer"))
    assert answer.json["results"] == [{"result": [], "score": 1.0, "model_version": "v0001"}]


def test_boxes_that_are_not_finite_or_outside_are_dropped(home: Home) -> None:
    home.setup()
    nan = float("nan")
    home.detector.answer = lambda image: Boxes.of(
        [[nan, 0, 5, 5], [-9, -9, 90, 90], [500, 500, 600, 600]], [0.9, 0.9, 0.9], [0, 2, 0]
    )
    answer = home.predict(home.add_image("a.png"))
    assert "NaN" not in answer.text
    (region,) = answer.json["results"][0]["result"]
    assert region["value"]["x"] == 0 and region["value"]["width"] == 100


def test_classes_that_share_a_label_do_not_double_a_box(home: Home) -> None:
    home.setup()
    home.detector.answer = lambda image: Boxes.of(
        [[0, 0, 20, 20], [1, 0, 20, 20], [2, 2, 9, 9]], [0.8, 0.7, 0.9], [0, 1, 3]
    )
    (region,) = home.results(home.add_image("a.png"))[0]["result"]
    assert region["value"]["rectanglelabels"] == ["pet"]
    assert region["score"] == pytest.approx(0.8)


def test_an_object_has_one_box_which_names_its_close_runner_up(home: Home) -> None:
    home.setup()
    home.detector.answer = lambda image: Boxes.of(
        [[0, 0, 20, 20], [1, 0, 20, 20], [4, 4, 19, 20], [0, 0, 1.5, 20]], [0.6, 0.41, 0.5, 0.9], [2, 0, 2, 2]
    )
    (region,) = home.results(home.add_image("a.png"))[0]["result"]
    assert region["value"]["rectanglelabels"] == ["car"] and region["score"] == pytest.approx(0.6)
    assert region["meta"] == {"text": ["or pet, 0.41"]}
    overlapping = LABEL_CONFIG.replace('value="car"', 'value="car" overlap="true"')
    regions = home.results(home.add_image("b.png"), label_config=overlapping)[0]["result"]
    assert sorted(region["value"]["rectanglelabels"][0] for region in regions) == ["car", "pet"]
    assert not any("meta" in region for region in regions)


def test_labels_that_do_not_match_are_reported_not_dropped_in_silence(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    home.setup(schema=LABEL_CONFIG.replace('value="car"', 'value="wombat"'))
    state = home.project_health()
    assert state["unmatched_labels"] == ["wombat"]
    assert state["unmapped_classes"] == ["car", "kite"]
    assert "wombat" in caplog.text


def test_a_trained_versions_label_is_not_handed_to_another_when_one_is_added(home: Home) -> None:
    """`predicted_values` name classes of the starting model; here they name a label that was trained."""
    labels = '<Label value="worker" predicted_values="person"/><Label value="person"/><Label value="crane"/>'
    config = LABEL_CONFIG.partition("<Label ")[0] + labels + "</RectangleLabels></View>"
    home.add_version(classes=["worker", "person"], dataset_fingerprint="made")
    home.setup(schema=config)
    home.detector.answer = lambda image: Boxes.of([[0, 0, 9, 9], [20, 0, 40, 20]], [0.9, 0.8], [0, 1])
    regions = home.results(home.add_image("a.png"), label_config=config)[0]["result"]
    assert [region["value"]["rectanglelabels"] for region in regions] == [["worker"], ["person"]]
    assert home.project_health()["unmatched_labels"] == ["crane"]


def test_a_model_that_knows_no_label_proposes_nothing_and_draws_the_order_by_lot(home: Home) -> None:
    home.add_version(dataset_fingerprint="made")
    unknown = LABEL_CONFIG.replace('"pet" predicted_values="cat,dog"', '"moth"').replace('"car"', '"bee"')
    first, second = home.results(home.add_image("a.png"), home.add_image("b.png"), label_config=unknown)
    assert (first["result"], second["result"]) == ([], [])
    assert 0 <= first["score"] < 1 and first["score"] != second["score"]


def test_label_config_of_setup_serves_a_request_without_one(home: Home) -> None:
    url = home.add_image("a.png")
    assert home.predict(url, label_config=None).status_code == 400
    home.setup()
    assert home.results(url, label_config=None)[0]["result"]
