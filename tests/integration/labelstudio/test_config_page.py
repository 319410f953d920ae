"""What Label Studio's own page makes of a config with aliases, nested keys and controls beside the boxes."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from integration.labelstudio.test_labelling_page import Browser
from integration.support.labelstudio import EMAIL, PASSWORD, LabelStudio
from PIL import Image
from support.browser import chromium, log_in_to_label_studio

from labelloop.boxes import Boxes
from labelloop.labels import parse_label_config
from labelloop.regions import from_results, to_results

SIZE = (320, 240)
XML = """<View>
  <Text name="caption" value="$caption"/>
  <RectangleLabels name="label" toName="image">
    <Label value="Katze" alias="cat"/><Label value="$species" alias="other"/>
  </RectangleLabels>
  <Choices name="mood" toName="image" perRegion="true" whenLabelValue="cat"><Choice value="calm"/></Choices>
  <Choices name="weather" toName="image"><Choice value="Regen" alias="rain"/></Choices>
  <Image name="image" value="$meta.photo"/>
</View>"""
CONFIG = parse_label_config(XML)


def boxes(*labels: int) -> list[dict[str, Any]]:
    """Rectangles one below the other on the right, as the backend proposes them."""
    corners = [(200, 20 + 40 * at, 300, 50 + 40 * at) for at in range(len(labels))]
    return to_results(Boxes.of(corners, [0.9] * len(labels), labels), CONFIG, *SIZE)


@pytest.fixture
def admin(provisioned: LabelStudio) -> Iterator[Browser]:
    """The administrator, in a project whose two images came by a storage."""
    studio = provisioned.studio
    folder = provisioned.images / "config-page"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", SIZE, (90, 120, 60)).save(folder / name)
    project = studio.request("POST", "/api/projects", json={"title": "odd", "label_config": XML})["id"]
    fields = {"project": project, "path": str(folder), "use_blob_urls": True}
    studio.sync_storage(studio.request("POST", "/api/storages/localfiles", json=fields)["id"], 60)
    with chromium() as launched:
        page = launched.new_page(viewport={"width": 1280, "height": 900})
        browser = Browser(page, provisioned.url, project)
        log_in_to_label_studio(page, provisioned.url, EMAIL, PASSWORD)
        yield browser
    studio.request("DELETE", f"/api/projects/{project}")
    shutil.rmtree(folder)


def labels(result: list[dict[str, Any]]) -> list[str]:
    return [label for row in result for label in row.get("value", {}).get("rectanglelabels", ())]


def test_what_is_drawn_is_stored_as_the_alias_and_corrections_keep_what_else_there_is(
    admin: Browser, provisioned: LabelStudio
) -> None:
    studio = provisioned.studio
    first, second = studio.iter_tasks(admin.project)
    proposal = {"task": first["id"], "result": boxes(0), "score": 0.9, "model_version": "v0001"}
    studio.import_predictions(admin.project, [proposal])
    studio.update_project(admin.project, model_version="v0001")

    admin.open(f"/projects/{admin.project}/data?task={first['id']}")
    admin.draws(40, regions=2)
    admin.presses("submit", r"/api/tasks/\d+/annotations")
    (drawn,) = studio.request("GET", f"/api/tasks/{first['id']}/annotations")
    assert labels(drawn["result"]) == ["cat", "cat"]

    one, imported, other = boxes(0, 0, 1)
    imported["value"]["rectanglelabels"] = ["Katze"]
    geometry = {name: value for name, value in one["value"].items() if name != "rectanglelabels"}
    mood = {**one, "type": "choices", "from_name": "mood", "value": {**geometry, "choices": ["calm"]}}
    weather = {"id": "w", "type": "choices", "from_name": "weather", "to_name": "image"}
    relation = {"type": "relation", "from_id": one["id"], "to_id": other["id"], "direction": "right"}
    result = [one, mood, imported, other, {**weather, "value": {"choices": ["rain"]}}, relation]
    studio.request("POST", f"/api/tasks/{second['id']}/annotations", json={"result": result})
    admin.open(f"/projects/{admin.project}/data?task={second['id']}")
    admin.draws(40, regions=4)
    admin.presses("submit|update", r"/api/annotations/\d+", "PATCH")
    newest = max(
        studio.request("GET", f"/api/tasks/{second['id']}/annotations"), key=lambda row: row["updated_at"]
    )
    kept = {row["type"]: row for row in newest["result"] if row["type"] not in ("rectanglelabels", "choices")}
    choices = [row["value"]["choices"] for row in newest["result"] if row["type"] == "choices"]
    assert sorted(labels(newest["result"])) == ["Katze", "cat", "cat", "other"]
    assert sorted(choices) == [["calm"], ["rain"]] and kept["relation"]["from_id"] == one["id"]
    found, problems = from_results(newest["result"], CONFIG, SIZE)
    assert sorted(found.labels.tolist()) == [0, 0, 0, 1] and problems == []
