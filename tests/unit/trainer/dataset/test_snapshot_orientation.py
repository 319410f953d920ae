"""A box lies in the snapshot where the person saw it, whichever way up the file is stored."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image
from support.a_project import a_row

from labelloop.settings import Settings
from labelloop.studio import Studio
from trainer.dataset.snapshot import collect

CONFIG = """<View><Image name="i" value="$image"/><RectangleLabels name="l" toName="i"><Label value="x"/>
</RectangleLabels></View>"""
UPRIGHT = (400, 600)
BOX = (200.0, 300.0, 300.0, 500.0)


class OneTask:
    def __init__(self, name: str) -> None:
        value = {
            "x": 100 * BOX[0] / 400,
            "y": 100 * BOX[1] / 600,
            "width": 100 * (BOX[2] - BOX[0]) / 400,
            "height": 100 * (BOX[3] - BOX[1]) / 600,
            "rectanglelabels": ["x"],
        }
        region = {"type": "rectanglelabels", "from_name": "l", "to_name": "i", "value": value}
        when = "2026-11-22T18:00:00.000000Z"
        annotation = {"id": 1, "result": [region], "created_at": when, "updated_at": when}
        url = f"/data/local-files/?d=images/{name}"
        self._task = {"id": 1, "data": {"image": url}, "annotations": [annotation]}

    def project(self, project_id: int) -> dict[str, Any]:
        return a_row(id=project_id, label_config=CONFIG)

    def count_tasks(self, project_id: int, *conditions: object) -> int:
        return 1

    def annotated_tasks(self, project_id: int) -> Iterator[dict[str, Any]]:
        yield self._task


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("grey.tif", {"mode": "L"}),
        ("plain.tif", {}),
        ("packed.tif", {"compression": "tiff_lzw"}),
        ("a.jpg", {}),
        ("a.png", {}),
        ("a.webp", {}),
    ],
)
def test_the_box_is_in_the_upright_pixels_that_the_browser_shows(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    """Sideways as tag 6 tells. No browser turns a WebP, so it is stored as it is shown."""
    settings = Settings(labelloop_home=tmp_path)
    settings.images_dir.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = UPRIGHT if name.endswith("webp") else UPRIGHT[::-1]
    image = Image.new(options.pop("mode", "RGB"), stored)
    image.save(settings.images_dir / name, exif=exif, **options)
    taken = collect(cast(Studio, OneTask(name)), 1, settings, lambda fraction, text: None)
    (image_,) = taken.images
    assert (image_.width, image_.height) == UPRIGHT
    assert image_.xyxy == (BOX,)
