"""What a browser shows of an image that Label Studio serves is what the loop reads: the browser is asked.

Every orientation of every kind of file, oddities of where it stands, and files that break off.
"""

import base64
import shutil
import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from integration.labelstudio.test_provisioning import state
from integration.support.labelstudio import LabelStudio
from integration.support.people import log_in
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Page
from support.browser import chromium

from labelloop.images import ImageError, image_size, read_image

WIDTH, HEIGHT = 48, 32
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"></x:xmpmeta>'
NOTHING = "nothing"
Shown = NDArray[np.int64] | str
"""(height, width, 3) red-green-blue on a white page, or NOTHING."""

# The pixels of each image, or null where the browser reports an error.
LOAD = """async (urls) => {
    const shown = {};
    for (const [name, url] of Object.entries(urls)) {
        const image = new Image();
        const loaded = new Promise(done => {
            image.onload = () => done(true);
            image.onerror = () => done(false);
        });
        image.src = url;
        if (!await loaded) { shown[name] = null; continue; }
        const canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
        const page = canvas.getContext('2d');
        page.fillStyle = 'white';
        page.fillRect(0, 0, canvas.width, canvas.height);
        page.drawImage(image, 0, 0);
        const { data } = page.getImageData(0, 0, canvas.width, canvas.height);
        let text = '';
        for (let at = 0; at < data.length; at += 4096)
            text += String.fromCharCode(...data.subarray(at, at + 4096));
        shown[name] = [canvas.width, canvas.height, btoa(text)];
    }
    return shown;
}"""


def quarters(mode: str = "RGB") -> Image.Image:
    """Blue, green, yellow and red, so that every orientation looks different."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "red")
    image.paste("blue", (0, 0, WIDTH // 2, HEIGHT // 2))
    image.paste("lime", (WIDTH // 2, 0, WIDTH, HEIGHT // 2))
    image.paste("yellow", (0, HEIGHT // 2, WIDTH // 2, HEIGHT))
    return image.convert(mode)


def encoded(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    file = BytesIO()
    (image or quarters()).save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    return made


def with_segments(*segments: bytes) -> bytes:
    """A JPEG with these APP1 segments."""
    content = encoded("JPEG", quality=95)
    written = (b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body for body in segments)
    return content[:2] + b"".join(written) + content[2:]


def raw_exif(kind: int, orientation: int, values: int = 1, entries: int = 1) -> bytes:
    entry = struct.pack("<HHIHH", 0x0112, kind, values, orientation, 0)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", entries) + entry + b"\0\0\0\0"


def turned() -> dict[str, bytes]:
    """By file name."""
    files = {}
    for number in range(1, 9):
        given = {"exif": exif(number)}
        files[f"{number}.jpg"] = encoded("JPEG", quality=95, **given)
        files[f"{number}-progressive.jpg"] = encoded("JPEG", quality=95, progressive=True, **given)
        files[f"{number}.png"] = encoded("PNG", **given)
        files[f"{number}-lossy.webp"] = encoded("WEBP", quality=95, **given)
        files[f"{number}-lossless.webp"] = encoded("WEBP", lossless=True, **given)
        files[f"{number}.tif"] = encoded("TIFF", **given)
        files[f"{number}-lzw.tiff"] = encoded("TIFF", compression="tiff_lzw", **given)
        for mode in ("L", "P", "RGBA", "CMYK"):
            files[f"{number}-{mode}.tif"] = encoded("TIFF", quarters(mode), **given)
    files |= {"plain.bmp": encoded("BMP"), "gif.png": encoded("GIF")}
    return files


def odd() -> dict[str, bytes]:
    late, info, told = encoded("PNG", exif=exif(6)), PngInfo(), PngInfo()
    start = late.index(b"eXIf") - 4
    chunk = late[start : start + 12 + int.from_bytes(late[start : start + 4])]
    end = late.index(b"IEND") - 4
    profile = exif(6).tobytes()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    told.add_text("Raw profile type exif", f"\nexif\n{len(profile):8}\n{profile.hex()}\n", zip=True)
    return {
        "xmp.jpg": encoded("JPEG", quality=95, xmp=XMP),
        "xmp.png": encoded("PNG", pnginfo=info),
        "xmp.webp": encoded("WEBP", lossless=True, xmp=XMP),
        "xmp.tif": encoded("TIFF", tiffinfo={700: XMP}),
        "imagemagick.png": encoded("PNG", pnginfo=told),
        "late.png": late[:start] + late[start + len(chunk) : end] + chunk + late[end:],
        "long.jpg": with_segments(raw_exif(4, 6)),
        "byte.jpg": with_segments(raw_exif(1, 6)),
        "two-values.jpg": with_segments(raw_exif(3, 6, values=2)),
        "nine.jpg": with_segments(raw_exif(3, 9)),
        "two-segments.jpg": with_segments(raw_exif(3, 6), raw_exif(3, 3)),
        "second-segment.jpg": with_segments(raw_exif(3, 1), raw_exif(3, 6)),
        "breaks-off.jpg": with_segments(raw_exif(3, 6, entries=9)),
    }


def photo() -> Image.Image:
    """Noise on a slope, with no two rows alike."""
    noise = np.random.default_rng(0).integers(0, 60, (240, 320, 3))
    return Image.fromarray((noise + np.linspace(0, 190, 240)[:, None, None]).astype(np.uint8))


def cut() -> dict[str, bytes]:
    whole = {
        "baseline.jpg": encoded("JPEG", photo()),
        "grey.jpg": encoded("JPEG", photo().convert("L")),
        "progressive.jpg": encoded("JPEG", photo(), progressive=True),
        "rows.png": encoded("PNG", photo()),
        "upside-down.bmp": encoded("BMP", photo()),
        "lossy.webp": encoded("WEBP", photo()),
        "lossless.webp": encoded("WEBP", photo(), lossless=True),
    }
    files = {}
    for name, content in whole.items():
        for less in (1, 12, 20, 400):
            files[f"less-{less}-{name}"] = content[:-less]
        for percent in (90, 50, 30):
            files[f"first-{percent}-{name}"] = content[: len(content) * percent // 100]
        files[f"stump-{name}"] = content[:40]
    files["zeros-baseline.jpg"] = whole["baseline.jpg"][:9000].ljust(len(whole["baseline.jpg"]), b"\0")
    files["sideways.jpg"] = encoded("JPEG", photo(), exif=exif(6))[:-3000]
    return files


@pytest.fixture
def folder(provisioned: LabelStudio) -> Iterator[Path]:
    made = provisioned.images / "shown"
    made.mkdir()
    yield made
    shutil.rmtree(made)


@pytest.fixture
def page(provisioned: LabelStudio) -> Iterator[Page]:
    with chromium() as browser:
        cookies = log_in(provisioned).session.cookies
        context = browser.new_context()
        context.add_cookies(
            [{"name": c.name, "value": c.value or "", "url": provisioned.url} for c in cookies]
        )
        opened = context.new_page()
        opened.goto(provisioned.url + "/version/")
        yield opened


def served(name: str) -> str:
    return "/data/local-files/?d=" + quote(f"images/shown/{name}")


def by_browser(page: Page, names: list[str]) -> dict[str, Shown]:
    found = page.evaluate(LOAD, {name: served(name) for name in names})
    shown: dict[str, Shown] = {}
    for name, answer in found.items():
        shown[name] = NOTHING
        if answer is not None:
            width, height, data = answer
            rgba = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)
            rgb = rgba[:, :, :3].astype(int)
            shown[name] = NOTHING if (rgb == 255).all() else rgb
    return shown


def by_us(file: Path) -> Shown:
    try:
        pixels = read_image(file)[:, :, ::-1].astype(int)
    except ImageError:
        return NOTHING
    assert image_size(file) == pixels.shape[1::-1], file.name
    return pixels


def test_what_is_read_is_what_is_shown(page: Page, folder: Path) -> None:
    files = {**turned(), **odd(), **cut()}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    shown = by_browser(page, list(files))
    different = []
    for name, theirs in shown.items():
        ours = by_us(folder / name)
        if isinstance(ours, str) or isinstance(theirs, str):
            same = isinstance(ours, str) and isinstance(theirs, str)
        else:
            # Decoders round colours differently.
            same = ours.shape == theirs.shape and float((np.abs(ours - theirs).max(2) <= 8).mean()) > 0.99
        if not same:
            different.append(name)
    assert different == []
    # The browser is not asked in vain.
    assert {name for name, theirs in shown.items() if isinstance(theirs, str)} == {
        name for name in cut() if name.endswith(".webp") or "stump" in name
    }
    sideways = {name for name, theirs in shown.items() if np.shape(theirs)[:2] == (WIDTH, HEIGHT)}
    assert sideways >= {f"{n}.{kind}" for n in (5, 6, 7, 8) for kind in ("jpg", "png", "tif")}
    assert not any(name.endswith(("webp", "bmp")) for name in sideways)


EDITORS_IMAGE = """() => {
    const image = window.Htx?.annotationStore?.selected?.objects?.find(one => one.type === 'image');
    return image?.naturalWidth > 1 ? [image.naturalWidth, image.naturalHeight] : null;
}"""


def test_the_labelling_page_has_the_same_sides(page: Page, folder: Path, provisioned: LabelStudio) -> None:
    """Boxes are in percent of these."""
    studio = provisioned.studio
    config = studio.project(state(provisioned)["project"])["label_config"]
    project = studio.request("POST", "/api/projects", json={"title": "shown", "label_config": config})["id"]
    for name in ("6.tif", "6.jpg", "6-lossless.webp"):
        (folder / name).write_bytes(turned()[name])
        body = {"project": project, "data": {"image": served(name)}}
        task = studio.request("POST", "/api/tasks", json=body)
        page.goto(f"{provisioned.url}/projects/{project}/data?task={task['id']}")
        found = page.wait_for_function(EDITORS_IMAGE, timeout=60_000).json_value()
        assert tuple(found) == image_size(folder / name), name
    studio.request("DELETE", f"/api/projects/{project}")
