from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from labelloop import images
from labelloop.images import ImageError, check_image, image_size, is_turned, read_image, upright

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
def test_every_orientation_of_every_kind_is_what_pillow_makes_of_it(
    monkeypatch: pytest.MonkeyPatch, kind: str, orientation: int
) -> None:
    monkeypatch.setattr(images, "_STRIP_PIXELS", 3 * WIDTH)  # a few pieces, the last one smaller
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = BytesIO()
    picture().save(file, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    with Image.open(file) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    content = file.getvalue()
    assert (read_image(content)[:, :, ::-1] == expected).all()
    with upright(content) as image:
        assert (np.asarray(image) == expected).all()
    assert image_size(content) == check_image(content) == expected.shape[1::-1]
    assert is_turned(content) == (orientation != 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF"])
def test_a_size_is_told_without_decoding(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    file = BytesIO()
    picture().save(file, kind)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("decoded"))
    assert image_size(file.getvalue()) == (WIDTH, HEIGHT)
    assert not is_turned(file.getvalue())


def test_a_png_that_tells_its_orientation_behind_its_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = BytesIO()
    picture().save(file, "PNG", exif=exif)
    content = file.getvalue()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4])
    last = content.index(b"IEND") - 4
    late = content[:start] + content[end:last] + content[start:end] + content[last:]
    assert image_size(late) == read_image(late).shape[1::-1] == (HEIGHT, WIDTH)
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
    ],
)
def test_what_cannot_be_read_is_named_with_the_reason(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    path = tmp_path / name
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    noise.save(path)
    path.write_bytes(path.read_bytes()[:-1000] if content is None else content)
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
