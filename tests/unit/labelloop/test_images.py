import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps
from PIL.PngImagePlugin import PngInfo

from labelloop import images
from labelloop.images import (
    ImageError,
    check_image,
    examine,
    image_size,
    is_turned,
    read_image,
    upright,
)

WIDTH, HEIGHT = 40, 20


def picture(mode: str = "RGB") -> Image.Image:
    """Red, with a blue left quarter."""
    rgb = Image.new("RGB", (WIDTH, HEIGHT), (255, 0, 0))
    rgb.paste((0, 0, 255), (0, 0, WIDTH // 4, HEIGHT))
    return rgb.convert(mode)


@pytest.mark.parametrize("suffix", images.SUFFIXES)
def test_every_kind_is_read_as_blue_green_red(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"Bild mit Leerzeichen 图像 'x'{suffix.upper()}"
    picture().save(path)
    pixels = read_image(path)
    assert pixels.shape == (HEIGHT, WIDTH, 3) and pixels.dtype == np.uint8
    assert abs(pixels[10, 35].astype(int) - [0, 0, 255]).max() < 10
    assert abs(pixels[10, 2].astype(int) - [255, 0, 0]).max() < 40
    assert image_size(path) == (WIDTH, HEIGHT)


@pytest.mark.parametrize(("orientation", "turn"), [(1, 0), (6, -90), (3, 180), (8, 90)])
def test_orientation_is_applied_as_a_browser_does(tmp_path: Path, orientation: int, turn: int) -> None:
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture().save(path, exif=exif, quality=95)
    expected = np.asarray(picture().rotate(turn, expand=True))[:, :, ::-1]
    pixels = read_image(path)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).mean() < 12
    assert image_size(path) == (pixels.shape[1], pixels.shape[0])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_every_orientation_of_every_kind_is_what_a_browser_makes_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, orientation: int
) -> None:
    """Browsers turn no WebP. The browser itself is asked in tests/integration."""
    monkeypatch.setattr(images, "_STRIP_PIXELS", 3 * WIDTH)  # a few pieces, the last one smaller
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{kind.lower()}"
    picture().save(path, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    content = path.read_bytes()
    with Image.open(BytesIO(content)) as opened:
        expected = np.asarray((opened if kind == "WEBP" else ImageOps.exif_transpose(opened)).convert("RGB"))
    for source in (content, path):
        assert (read_image(source)[:, :, ::-1] == expected).all()
        with upright(source) as image:
            assert (np.asarray(image) == expected).all()
        assert image_size(source) == check_image(source) == expected.shape[1::-1]
        assert is_turned(source) == (orientation != 1)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_a_sideways_tiff_has_the_same_sides_whatever_it_is_asked_for(
    tmp_path: Path, mode: str, compression: str | None
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a.tif"
    flat = Image.new("I;16", (WIDTH, HEIGHT)) if mode == "I;16" else picture(mode)
    flat.save(path, exif=exif, compression=compression)
    sides = (HEIGHT, WIDTH)
    assert image_size(path) == check_image(path) == read_image(path).shape[1::-1] == sides
    with upright(path) as image:
        assert image.size == sides


def exif_of(entries: bytes, count: int = 1) -> bytes:
    body = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", count) + entries
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def entry(kind: int, values: int, orientation: int) -> bytes:
    return struct.pack("<HHIHH", 0x0112, kind, values, orientation, 0)


@pytest.mark.parametrize(
    ("segments", "is_sideways"),
    [
        (exif_of(entry(3, 1, 6)), True),
        (exif_of(entry(4, 1, 6)), False),  # of type LONG
        (exif_of(entry(3, 2, 6)), False),  # two values
        (exif_of(entry(3, 1, 9)), False),
        (exif_of(entry(3, 1, 1)) + exif_of(entry(3, 1, 6)), False),
        (exif_of(entry(3, 1, 6)) + exif_of(entry(3, 1, 1)), True),
        (exif_of(entry(3, 1, 6), count=9), True),  # breaks off
        (exif_of(b""), False),
    ],
)
def test_the_first_exif_segment_counts_and_only_what_browsers_take(
    segments: bytes, is_sideways: bool
) -> None:
    file = BytesIO()
    picture().save(file, "JPEG")
    content = file.getvalue()[:2] + segments + file.getvalue()[2:]
    assert image_size(content) == ((HEIGHT, WIDTH) if is_sideways else (WIDTH, HEIGHT))
    assert read_image(content).shape[1::-1] == image_size(content)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_orientation_in_xmp_is_ignored_and_an_export_is_told_of_it(kind: str) -> None:
    xmp = b'<x tiff:Orientation="6"/>'
    given: dict[str, Any] = {"xmp": xmp}
    if kind == "PNG":
        given = {"pnginfo": PngInfo()}
        given["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    if kind == "TIFF":
        given = {"tiffinfo": {700: xmp}}
    file = BytesIO()
    picture().save(file, kind, **given)
    content = file.getvalue()
    assert image_size(content) == check_image(content) == read_image(content).shape[1::-1] == (WIDTH, HEIGHT)
    assert is_turned(content) or kind == "TIFF"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF"])
def test_a_size_is_told_without_decoding(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    file = BytesIO()
    picture().save(file, kind)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("decoded"))
    assert image_size(file.getvalue()) == (WIDTH, HEIGHT)
    assert not is_turned(file.getvalue())


def test_a_png_that_tells_its_orientation_behind_its_pixels_is_not_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = BytesIO()
    picture().save(file, "PNG", exif=exif)
    content = file.getvalue()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4])
    last = content.index(b"IEND") - 4
    late = content[:start] + content[end:last] + content[start:end] + content[last:]
    assert image_size(late) == read_image(late).shape[1::-1] == (WIDTH, HEIGHT)
    assert is_turned(late)


def test_cmyk_grey_alpha_and_sixteen_bits_become_eight_bit_colour(tmp_path: Path) -> None:
    picture("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert abs(read_image(tmp_path / "cmyk.jpg")[10, 35].astype(int) - [0, 0, 255]).max() < 40

    Image.fromarray(np.full((4, 4), 257 * 100, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert (read_image(tmp_path / "deep.png") == 100).all()

    grey = Image.new("LA", (4, 4), (50, 255))
    grey.putpixel((0, 0), (50, 0))
    grey.save(tmp_path / "grey.png")
    pixels = read_image(tmp_path / "grey.png")
    assert (pixels[1, 1] == 50).all() and (pixels[0, 0] == 255).all()


def test_of_an_animation_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (read_image(tmp_path / "a.gif") > 250).all()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.jpg", b"", "empty"),
        ("text.png", b"not an image", "not an image"),
        ("cut.jpg", None, "truncated"),
        ("cut.webp", None, "decoder"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_reason(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    path = tmp_path / name
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    noise.save(path)
    path.write_bytes(path.read_bytes()[:700] if content is None else content)
    with pytest.raises(ImageError, match=words) as caught:
        read_image(path)
    assert name in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.jpg"):
        read_image(tmp_path / "gone.jpg")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture().save(tmp_path / "big.png")
    monkeypatch.setattr(images, "MAX_PIXELS", WIDTH * HEIGHT - 1)
    with pytest.raises(ImageError, match="40 x 20 pixels"):
        read_image(tmp_path / "big.png")


def photo(width: int = 320, height: int = 240) -> Image.Image:
    """Coloured noise on a slope: no two rows are alike."""
    noise = np.random.default_rng(0).integers(0, 60, (height, width, 3))
    slope = np.linspace(0, 190, height)[:, None, None]
    return Image.fromarray((noise + slope).astype(np.uint8))


def cut(kind: str, share: float = 1.0, less: int = 0, **options: Any) -> bytes:
    file = BytesIO()
    photo().save(file, kind, **options)
    content = file.getvalue()
    return content[: int(len(content) * share) - less]


@pytest.mark.parametrize(
    ("kind", "less", "missing"), [("JPEG", 20, 18), ("JPEG", 1, 18), ("PNG", 400, 1), ("BMP", 20, 1)]
)
def test_an_image_without_its_last_bytes_is_read_with_a_warning(kind: str, less: int, missing: int) -> None:
    whole, found = read_image(cut(kind)), read_image(cut(kind, less=less))
    lost = np.s_[:missing] if kind == "BMP" else np.s_[240 - missing :]
    kept = np.s_[missing:] if kind == "BMP" else np.s_[: 240 - missing]
    assert np.abs(found[kept].astype(int) - whole[kept]).max() <= 2
    assert (found[lost] == 255).all()
    examined = examine(cut(kind, less=less))
    assert (examined.width, examined.height, examined.torso) == (320, 240, False)
    assert examined.flaw == f"cut off: {missing} of its 240 rows of pixels are missing"
    assert examine(cut(kind)).flaw == ""


def test_a_png_needs_its_last_chunk_as_little_as_a_browser_does() -> None:
    assert examine(cut("PNG", less=12)).flaw == ""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_half_an_image_is_read_as_it_is_shown_and_is_known_for_a_torso(kind: str) -> None:
    content = cut(kind, share=0.5)
    examined = examine(content)
    missing = int(examined.flaw.split()[2])
    assert examined.torso and 100 < missing < 140
    white = (read_image(content) == 255).all(axis=(1, 2))
    assert white.sum() == missing
    with upright(content) as image:
        assert (np.asarray(image)[:, :, ::-1] == read_image(content)).all()


def test_a_progressive_jpeg_is_read_as_far_as_its_scans_go() -> None:
    whole = read_image(cut("JPEG", progressive=True)).astype(int)
    nearly, early = cut("JPEG", less=20, progressive=True), cut("JPEG", share=0.3, progressive=True)
    assert np.abs(read_image(nearly) - whole)[:220].max() <= 2
    assert examine(nearly).flaw == "cut off: its last details are missing"
    assert np.abs(read_image(early) - whole).mean() < 30
    assert (examine(nearly).torso, examine(early).torso) == (False, True)


def test_a_sideways_image_that_is_cut_off_is_turned_with_what_it_lacks() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = read_image(cut("JPEG", share=0.5, exif=exif))
    assert pixels.shape == (320, 240, 3)
    assert (pixels[:, :90] == 255).all() and not (pixels[:, 150:] == 255).all(axis=(0, 2)).any()


def test_what_is_damaged_in_its_middle_and_shown_otherwise_is_past_reading() -> None:
    content = cut("PNG")
    middle = len(content) // 2
    with pytest.raises(ImageError, match="data stream"):
        read_image(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_export_is_told_of_an_image_that_breaks_off(kind: str) -> None:
    """Other programs refuse it, or fill it up in another way."""
    assert is_turned(cut(kind, less=20))
    assert not is_turned(cut(kind)) and not is_turned(cut(kind) + b"trailing")
