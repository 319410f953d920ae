"""Images that come without a key, as those of a storage do, are the image tag's."""

from typing import Any

import pytest
from integration.support.labelstudio import LabelStudio
from PIL import Image

BOXES = '<RectangleLabels name="label" toName="image"><Label value="cat"/></RectangleLabels>'
CAPTION = '<Text name="caption" value="$caption"/>'


def synced(label_studio: LabelStudio, xml: str, folder: str) -> dict[str, Any]:
    """The data of the one task that a storage makes of an image in a new project."""
    studio = label_studio.studio
    project = studio.request("POST", "/api/projects", json={"title": folder, "label_config": xml})["id"]
    (label_studio.images / folder).mkdir()
    Image.new("RGB", (8, 8)).save(label_studio.images / folder / "a.png")
    fields = {"project": project, "path": str(label_studio.images / folder), "use_blob_urls": True}
    storage = studio.request("POST", "/api/storages/localfiles", json=fields)["id"]
    studio.sync_storage(storage, 60)
    [task] = studio.iter_tasks(project, fields="all")
    return dict(task["data"])


@pytest.mark.parametrize(
    ("folder", "image", "path"),
    [
        ("below-a-text", 'value="$image"', ["image"]),
        ("in-a-record", 'value="$meta.photo"', ["meta", "photo"]),
        ("in-a-list", 'value="$images[0]"', ["images", 0]),
    ],
)
def test_a_synchronised_image_is_the_image_tags(
    provisioned: LabelStudio, folder: str, image: str, path: list[Any]
) -> None:
    xml = f'<View>{CAPTION}{BOXES}<Image name="image" {image}/></View>'
    data = synced(provisioned, xml, folder)
    found: Any = data
    for step in path:
        found = found[step]
    assert found.endswith(f"/data/local-files/?d=images/{folder}/a.png")
    assert list(data) == path[:1]


def test_of_several_images_it_is_the_one_that_is_drawn_on(provisioned: LabelStudio) -> None:
    xml = f'<View><Image name="hint" value="$hint"/><Image name="image" value="$photo"/>{BOXES}</View>'
    assert list(synced(provisioned, xml, "beside-a-hint")) == ["photo"]


def test_a_project_without_boxes_is_left_to_label_studio(provisioned: LabelStudio) -> None:
    xml = (
        f'<View>{CAPTION}<Image name="image" value="$image"/>'
        '<Choices name="kind" toName="image"><Choice value="x"/></Choices></View>'
    )
    assert list(synced(provisioned, xml, "no-boxes")) == ["caption"]
