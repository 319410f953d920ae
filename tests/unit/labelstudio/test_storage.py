import os
import re

import pytest

from provisioner.storage import IMAGE_NAMES


@pytest.mark.parametrize(
    "name", ["a.jpg", "B.JPEG", "x y's 图.PNG", "p.webp", "b.bmp", "s.tif", "s.TIFF", "a.b.jpg"]
)
def test_images_are_imported_whatever_their_case(name: str) -> None:
    assert re.match(IMAGE_NAMES, name)


@pytest.mark.parametrize("name", ["a.gif", "a.jpg.txt", "._a.jpg", ".jpg", os.fsdecode(b"caf\xe9.jpg")])
def test_what_is_no_image_or_would_fail_the_sync_is_not(name: str) -> None:
    assert not re.match(IMAGE_NAMES, name)
