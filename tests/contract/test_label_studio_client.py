"""Label Studio's own client and model code against the backend: what it would show and store."""

import base64
from typing import Any

from support.backend_home import LABEL_CONFIG, PASSWORD, Ask, Home, wait_until
from support.fake_trainer import FakeTrainer

VALUE = {"x", "y", "width", "height", "rotation", "rectanglelabels"}


def serialized(*urls: str) -> list[dict[str, Any]]:
    """Tasks as TaskSimpleSerializer gives them."""
    return [
        {
            "id": 100 + index,
            "data": {"image": url},
            "meta": {},
            "created_at": "2026-11-22T18:00:00.000000Z",
            "updated_at": "2026-11-22T18:00:00.000000Z",
            "is_labeled": False,
            "overlap": 1,
            "inner_id": index + 1,
            "total_annotations": 0,
            "cancelled_annotations": 0,
            "total_predictions": 0,
            "comment_count": 0,
            "project": 1,
            "file_upload": None,
            "annotations": [],
            "predictions": [],
        }
        for index, url in enumerate(urls)
    ]


def test_connecting_asking_for_versions_and_predicting(home: Home, label_studio: Ask) -> None:
    home.add_version()
    wait_until(lambda: home.health()[0] == 200)
    tasks = serialized(
        home.add_image("a.png"), "/data/local-files/?d=images/gone.png", home.add_image("b c.png")
    )
    health, setup, versions, stored, requests = label_studio(
        ["health"], ["setup"], ["versions"], ["predict", tasks], ["requests_of_predict", tasks]
    )
    assert (health["type"], health["status"]) == ("ok", 200)
    assert (setup["type"], setup["response"]) == ("ok", {"model_version": "v0000"})
    assert versions["response"]["versions"] == ["v0000"]
    assert [prediction["task"] for prediction in stored] == [100, 102], "nothing for what nobody could read"
    assert all(prediction["result"] for prediction in stored)
    assert {prediction["model_version"] for prediction in stored} == {"v0000"}
    assert all(0 <= prediction["score"] <= 1 for prediction in stored)
    assert requests == 1


def test_label_studio_would_store_every_prediction(home: Home, label_studio: Ask) -> None:
    home.add_version()
    tasks = serialized(home.add_image("a.png"), "/nope", *(home.add_image(f"{n}.png") for n in range(98)))
    (stored,) = label_studio(["predict", tasks])
    assert [prediction["task"] for prediction in stored] == [100, *range(102, 200)]
    assert label_studio(["refusals", stored]) == [[]]


def test_a_click_gets_a_region_that_label_studio_takes(home: Home, label_studio: Ask) -> None:
    """What it sends: the browser's regions, and the task with its drafts."""
    home.add_version()
    (task,) = serialized(home.add_image("a.png", (200, 100)))
    value = {"x": 25, "y": 50, "width": 0.5, "keypointlabels": ["pet"]}
    where = {"from_name": "kp", "to_name": "image", "original_width": 200, "original_height": 100}
    hint = {"id": "Xy1", "type": "keypointlabels", "value": value, "origin": "manual", **where}
    context = {"result": [{**hint, "image_rotation": 0, "is_positive": True}]}
    (answer,) = label_studio(["click", [{**task, "drafts": []}], context])
    (found,) = answer["response"]["results"]
    (region,) = found["result"]
    assert region["id"] == "Xy1" and set(region["value"]) == VALUE
    assert (region["type"], region["from_name"]) == ("rectanglelabels", "label")
    assert region["value"]["x"] < 1 and 49 < region["value"]["width"] < 51


def test_predictions_carry_the_version_that_made_them(home: Home, label_studio: Ask) -> None:
    home.add_version()
    home.setup()
    home.add_version()
    wait_until(lambda: home.serves("v0001"))
    setup, stored = label_studio(["setup"], ["predict", serialized(home.add_image("a.png"))])
    assert setup["response"]["model_version"] == stored[0]["model_version"] == "v0001"


def test_what_label_studio_shows_of_a_refusal(home: Home, label_studio: Ask) -> None:
    health, setup = label_studio(["health"], ["setup"])
    assert (health["type"], health["status"]) == ("error", 503)
    assert "no model yet" in setup["response"]["error"]
    home.add_version()
    wait_until(lambda: home.health()[0] == 200)
    (setup,) = label_studio(["setup"], label_config="<View></View>")
    assert "400" in setup["response"]["error"] and "RectangleLabels" in setup["response"]["error"]
    (setup,) = label_studio(["setup"], password="wrong")
    assert "401" in setup["response"]["error"] and "BACKEND_PASSWORD" in setup["response"]["error"]


def test_start_training_reaches_the_trainer(home: Home, trainer: FakeTrainer, label_studio: Ask) -> None:
    home.add_version()
    (train,) = label_studio(["train"])
    assert train == {
        "type": "ok", "status": 201, "response": {"round": 7, "state": "requested", "joined": False},
    }  # fmt: skip
    assert trainer.asked == [("POST /projects/1/rounds", {"requested_by": "button"})]


def test_a_trainer_that_is_down_is_shown(home: Home, trainer: FakeTrainer, label_studio: Ask) -> None:
    trainer.close()
    (train,) = label_studio(["train"])
    assert train["status"] == 503
    assert "trainer does not answer" in train["response"]["error"]


def test_webhooks_with_and_without_credentials(trainer: FakeTrainer, label_studio: Ask) -> None:
    token = base64.b64encode(f"labelstudio:{PASSWORD}".encode()).decode()
    bare, known = label_studio(["webhook", {}], ["webhook", {"Authorization": f"Basic {token}"}])
    assert (bare, known) == (401, 201)
    assert trainer.asked == []


BESIDE_BOXES = (
    '<Choices name="c" toName="image"><Choice value="good"/></Choices><TextArea name="t" toName="image"/>'
    '<Relations><Relation value="left of"/></Relations>'
    '<PolygonLabels name="p" toName="image"><Label value="pet"/></PolygonLabels>'
    '<Taxonomy name="x" toName="image"><Choice value="a"><Choice value="b"/></Choice></Taxonomy>'
    '<View visibleWhen="region-selected"><Choices name="k" toName="image" perRegion="true" required="true">'
    '<Choice value="hidden"/></Choices><TextArea name="n" toName="image" perRegion="true"/>'
    '<Rating name="r" toName="image" perRegion="true"/>'
    '<Number name="m" toName="image" perRegion="true"/></View>'
)


def test_label_config_with_more_than_boxes(home: Home, label_studio: Ask) -> None:
    """A prediction has rectangles of our control alone: all else is left to the person."""
    home.add_version()
    config = LABEL_CONFIG.replace("</View>", BESIDE_BOXES + "</View>")
    setup, refused, stored = label_studio(
        ["setup"], ["refuses", config], ["predict", serialized(home.add_image("a.png"))], label_config=config
    )
    assert (setup["type"], refused) == ("ok", "")
    assert {(r["type"], r["from_name"]) for r in stored[0]["result"]} == {("rectanglelabels", "label")}
    assert all(set(region["value"]) == VALUE for region in stored[0]["result"])
    assert label_studio(["refusals", stored], label_config=config) == [[]]
