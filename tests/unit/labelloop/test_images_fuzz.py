"""Image files that are damaged, huge or of another kind than their name says."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.memory import grown_mib

from labelloop.images import MAX_PIXELS, ImageError, image_size, read_image

KINDS = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "RGBA", "P", "I;16", "1", "LA"),
    "WEBP": ("RGB", "RGBA"),
    "BMP": ("RGB", "1"),
    "TIFF": ("RGB", "CMYK", "I;16", "F", "I"),
    "GIF": ("P",),
}


def encoded(kind: str, mode: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise = np.random.default_rng(1).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    image = (
        Image.fromarray(np.asarray(image)[..., 0].astype(np.uint16) * 257)
        if mode == "I;16"
        else image.convert(mode)
    )
    buffer = BytesIO()
    image.save(buffer, kind, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}))
    return buffer.getvalue()


SAMPLES = [(f"{kind} {mode}", encoded(kind, mode)) for kind, modes in KINDS.items() for mode in modes]


def bomb(width: int, height: int, rows: int | None = None) -> bytes:
    """A black PNG, a bit per pixel; only `rows` of its rows are there."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows_of_zeros = zlib.compress(b"\0" * ((width + 7) // 8 + 1) * (height if rows is None else rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows_of_zeros) + chunk(b"IEND", b"")


@given(
    sample=st.sampled_from(SAMPLES),
    places=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
    cut=st.none() | st.integers(0, 2000),
)
def test_damaged_bytes_are_pixels_or_an_image_error(
    sample: tuple[str, bytes], places: list[tuple[int, int]], cut: int | None
) -> None:
    content = bytearray(sample[1])
    for place, value in places:
        content[place % len(content)] = value
    for read in (image_size, read_image):
        try:
            found = read(bytes(content[:cut]), "a.jpg")
        except ImageError as error:
            assert str(error).startswith("a.jpg: ")
        else:
            assert isinstance(found, tuple) or (found.dtype == np.uint8 and min(found.shape) > 0)


@pytest.mark.parametrize(("name", "content"), SAMPLES)
def test_a_wrong_suffix_does_no_harm(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    assert read_image(path).shape == (*image_size(path)[::-1], 3)


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (2**31 - 1, 2**31 - 1), (0, 10), (10, 0)])
def test_a_size_that_cannot_be_is_refused_before_anything_is_decoded(width: int, height: int) -> None:
    for read in (image_size, read_image):
        with pytest.raises(ImageError):
            read(bomb(width, height, rows=0), "bomb.png")


def test_an_animated_png_and_webp_show_their_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    for name in ("a.png", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert (read_image(tmp_path / name) > 250).all()


def test_floats_that_are_no_numbers_become_pixels(tmp_path: Path) -> None:
    values = np.array([[np.nan, np.inf, -np.inf], [0, 1, 300]], dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "f.tiff")
    assert read_image(tmp_path / "f.tiff").shape == (2, 3, 3)
    Image.fromarray(values * np.nan).save(tmp_path / "nan.tiff")
    assert (read_image(tmp_path / "nan.tiff") == 0).all()


SETUP = "from pathlib import Path\nfrom labelloop.images import ImageError, image_size, read_image\n"


def test_a_bomb_of_900_million_pixels_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(30_000, 30_000))
    assert path.stat().st_size < 1 << 20
    refused = "except ImageError as error:\n    assert '30000' in str(error)"
    code = f"try:\n    read_image(Path({str(path)!r}))\n{refused}"
    assert grown_mib(SETUP, code) < 50


def test_the_largest_image_that_is_read_takes_eight_bytes_a_pixel(tmp_path: Path) -> None:
    """Four of Pillow's own, three of the array, and the pieces on the way."""
    path = tmp_path / "large.png"
    side = 6000
    assert side * side < MAX_PIXELS
    Image.new("RGB", (side, side)).save(path, compress_level=1)
    assert grown_mib(SETUP, f"read_image(Path({str(path)!r}))") < 8 * side * side / (1 << 20)
