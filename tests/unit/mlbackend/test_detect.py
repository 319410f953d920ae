"""POST /detect: what tasks of the same image would be shown, in pixels."""

import base64
from io import BytesIO

import pytest
from PIL import Image
from support.backend_home import LABEL_CONFIG, Home


def detect(home: Home, content: bytes, **more: object) -> tuple[int, dict[str, object]]:
    sent = base64.b64encode(content).decode()
    body = {"project": "1.2", "label_config": LABEL_CONFIG, "image": sent, **more}
    answer = home.client.post("/detect", json=body)
    return answer.status_code, answer.json


def test_its_boxes_are_those_of_a_task(home: Home) -> None:
    url = home.add_image("a.png", size=(80, 40))
    [task] = home.results(url)
    status, found = detect(home, (home.settings.images_dir / "a.png").read_bytes())
    assert status == 200
    assert (found["version"], found["width"], found["height"]) == ("v0000", 80, 40)
    told = [
        (r["value"]["rectanglelabels"][0], r["score"], r["value"]["x"], r["value"]["y"])
        for r in task["result"]
    ]
    assert told
    ours = [(b["label"], b["score"], 100 * b["x1"] / 80, 100 * b["y1"] / 40) for b in found["boxes"]]  # type: ignore[attr-defined]
    assert [row[0] for row in ours] == [row[0] for row in told]
    assert [n for row in ours for n in row[1:]] == pytest.approx(
        [n for row in told for n in row[1:]], abs=0.02
    )


def test_a_turned_image_is_found_upright(home: Home) -> None:
    out, exif = BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 40)).save(out, "JPEG", exif=exif)
    _, found = detect(home, out.getvalue())
    assert (found["width"], found["height"]) == (40, 80)


def test_what_it_cannot_read_is_said(home: Home) -> None:
    status, answer = detect(home, b"no image")
    assert status == 415 and "not an image" in str(answer["error"])
    image = (home.settings.images_dir / "a.png").read_bytes() if home.add_image("a.png") else b""
    for wrong in (
        {"image": "§"},
        {"image": 5},
        {"label_config": ""},
        {"project": "x"},
        {"label_config": "<View/>"},
    ):
        assert detect(home, image, **wrong)[0] == 400, wrong


def test_it_asks_for_credentials(home: Home) -> None:
    assert home.client.post("/detect", json={}, headers={"Authorization": "Basic YTpi"}).status_code == 401
