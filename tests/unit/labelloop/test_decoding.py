"""What an image takes is known before it is decoded, and no image takes a service down twice."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from support.memory import grown_mib

from labelloop import decoding, images, locks
from labelloop.images import ImageBusy, ImageError, check_image, image_size, read_image, upright

ROOT = Path(__file__).parents[3]


def _use_upright(path: Path) -> None:
    with upright(path):
        pass


DECODERS: list[Callable[[Path], object]] = [read_image, check_image, _use_upright]


@pytest.fixture(autouse=True)
def turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for turns and marks, of this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"labelloop-{os.getuid()}"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.new("RGB", (40, 20), "red").save(path)
    return path


def child(code: str, folder: Path) -> subprocess.Popen[str]:
    """A fresh process with that folder for temporary files; it gives memory back as soon as it is freed."""
    malloc = {"MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}
    environment = {**os.environ, **malloc, "TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=pipe, stderr=pipe, text=True
    )


MEASURED = """
from io import BytesIO
from PIL import Image
from labelloop import decoding, images, locks
from labelloop.images import read_image

def status(key):
    return int(next(line for line in open("/proc/self/status") if line.startswith(key)).split()[1]) << 10

def show(name, image, kind, **how):
    file = BytesIO()
    image.save(file, kind, **how)
    content = file.getvalue()
    with Image.open(BytesIO(content)) as opened:
        needed = decoding.needed_bytes(opened)
    open("/proc/self/clear_refs", "w").write("5")
    before = status("VmRSS")
    read_image(content)
    print(name.replace(" ", "_"), needed, status("VmHWM") - before)

side = 1000
images._STRIP_PIXELS = 1 << 15
rgb = Image.linear_gradient("L").resize((side, side)).convert("RGB")
turned = Image.Exif()
turned[274] = 6
show("warm-up", rgb.resize((64, 64)), "PNG")
for mode in ("RGB", "L", "CMYK"):
    show(f"JPEG {mode}", rgb.convert(mode), "JPEG")
    show(f"progressive JPEG {mode}", rgb.convert(mode), "JPEG", progressive=True, subsampling=0)
show("turned JPEG", rgb, "JPEG", exif=turned)
for mode in ("RGB", "RGBA", "P", "1", "LA", "L", "I;16"):
    show(f"PNG {mode}", (rgb.convert("L") if mode == "I;16" else rgb).convert(mode), "PNG", compress_level=1)
for how in ({}, {"lossless": True, "quality": 0}):
    show(f"WEBP {how}", rgb, "WEBP", method=0, **how)
show("BMP", rgb, "BMP")
show("GIF", rgb.convert("P"), "GIF")
for mode in ("RGB", "CMYK", "F", "I", "L", "RGBA"):
    for rows in (64 * 1024, 1 << 30):
        how = {"compression": "tiff_adobe_deflate", "strip_size": rows}
        show(f"TIFF {mode} {rows}", rgb.convert(mode), "TIFF", **how)
show("turned TIFF", rgb, "TIFF", compression="tiff_lzw", tiffinfo={274: 6})
"""


def test_of_every_kind_decoding_takes_what_the_header_foretold(tmp_path: Path) -> None:
    """Peaks are read from the kernel; what is freed goes back to it at once, so that none hides another's."""
    process = child(MEASURED, tmp_path)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    rows = [line.split() for line in out.splitlines()]
    assert len(rows) > 25
    slack = 3 << 20  # for the pieces that are worked on
    wrong = [(name, needed, took) for name, needed, took in rows if int(took) > int(needed) + slack]
    assert wrong == []
    doubled = [row for row in rows[1:] if int(row[1]) > 2 * int(row[2]) + slack]
    assert doubled == []  # an estimate that is far too high would refuse what could be read


SETUP = """
from support.bombs import float_tiff, tiled_tiff
from labelloop import decoding
from labelloop.images import ImageError, check_image, image_size, read_image
content = {make}
assert len(content) < 700_000
"""
REFUSED = """
decoding.MAX_BYTES = 90 << 20
for read in (image_size, check_image, read_image):
    try:
        read(content)
        raise SystemExit("it was read")
    except ImageError as error:
        assert "MiB" in str(error)
"""


@pytest.mark.parametrize("make", ["float_tiff(5000, 5000)", "tiled_tiff(64, 10_000)"])
def test_what_takes_too_much_is_refused_before_it_is_decoded(make: str) -> None:
    assert grown_mib(SETUP.format(make=make), REFUSED) < 20


def test_a_float_tiff_takes_eight_bytes_a_pixel() -> None:
    """Not 17: values are stretched piece by piece."""
    grown = grown_mib(SETUP.format(make="float_tiff(4000, 4000)"), "read_image(content)")
    assert grown < 9 * 4000 * 4000 / (1 << 20)


def test_the_reason_says_how_much_and_what_to_do(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_BYTES", 6399)
    for read in (*DECODERS, image_size):
        with pytest.raises(ImageError, match=r"a\.png: 40 x 20 pixels .* MiB.*save it with fewer pixels"):
            read(picture)
    monkeypatch.setattr(decoding, "MAX_BYTES", 6400)
    assert read_image(picture).shape == (20, 40, 3)


@pytest.mark.parametrize(
    ("limit", "given"),
    [(None, 1 << 30), ("max", 1 << 30), (str(8 << 30), 1 << 30), (str(1536 << 20), 512 << 20)],
)
def test_a_small_container_gives_a_third_of_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, given: int
) -> None:
    file = tmp_path / "memory.max"
    if limit is not None:
        file.write_text(f"{limit}\n")
    monkeypatch.setattr(decoding, "MEMORY_LIMIT", file)
    assert decoding.given_bytes() == given


def test_a_sequential_jpeg_in_several_scans_counts_as_a_progressive_one() -> None:
    file = BytesIO()
    Image.new("RGB", (64, 64)).save(file, "JPEG")
    content = file.getvalue()
    scan = content.index(b"\xff\xda") + 4
    apart = content[:scan] + b"\x01" + content[scan + 1 :]
    for jpeg, a_pixel in ((content, 8), (apart, 10)):
        with Image.open(BytesIO(jpeg)) as image:
            assert decoding.needed_bytes(image) == a_pixel * 64 * 64


def test_a_jpeg_whose_scans_go_over_it_again_and_again_is_refused() -> None:
    file = BytesIO()
    Image.new("RGB", (640, 640)).save(file, "JPEG", progressive=True)
    whole = file.getvalue()
    assert read_image(whole).shape == (640, 640, 3)
    last_scan = whole[whole.rindex(b"\xff\xda") : -2]
    with pytest.raises(ImageError, match=r"a JPEG in \d+ scans, at most 100 .* save it with"):
        check_image(whole[:-2] + 100 * last_scan + b"\xff\xd9")


OVERLAPS = """
import sys, threading, time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from PIL import ImageFile
from labelloop.images import check_image
load = ImageFile.ImageFile.load
def slow(self):
    if self.tile:
        began = time.monotonic()
        time.sleep(0.1)
        sys.stdout.write(f"{{began}} {{time.monotonic()}}\\n")
    return load(self)
ImageFile.ImageFile.load = slow
threads = [threading.Thread(target=check_image, args=(Path({path!r}),)) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


@pytest.mark.parametrize("large", [True, False])
def test_large_images_are_decoded_one_at_a_time_by_threads_and_processes(tmp_path: Path, large: bool) -> None:
    path = tmp_path / "a.png"
    Image.new("1", (4100, 4100) if large else (40, 20)).save(path)
    children = [child(OVERLAPS.format(path=str(path)), tmp_path) for _ in range(2)]
    said = [process.communicate(timeout=60) for process in children]
    assert [process.returncode for process in children] == [0, 0], said
    times = sorted(tuple(map(float, line.split())) for out, _ in said for line in out.splitlines())
    overlapping = [second[0] < first[1] for first, second in zip(times, times[1:], strict=False)]
    assert len(times) == 4 and any(overlapping) != large


def test_who_waits_too_long_hears_that_others_are_at_it(
    picture: Path, turns: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "WAIT_S", 0.1)
    read_image(picture, alone_from=1)
    with (turns / "large.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ImageBusy, match=r"a\.png: other large images"):
            read_image(picture, alone_from=1)
        assert read_image(picture).shape == (20, 40, 3)  # small
    assert read_image(picture, alone_from=1).shape == (20, 40, 3)


KILLED = """
import os, signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from PIL import ImageFile
from labelloop.images import ImageError, read_image
ImageFile.ImageFile.load = lambda self: os.kill(os.getpid(), signal.SIGKILL)
try:
    read_image(Path({path!r}))
except ImageError as error:
    print(error)
"""


def die(path: Path, folder: Path) -> str:
    """A process reads the image and dies of it; '' when it did, else what it said."""
    process = child(KILLED.format(path=str(path)), folder)
    out, errors = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGKILL), errors
    return out.strip()


@pytest.mark.parametrize("read", DECODERS)
def test_an_image_that_ended_two_readers_is_named_and_not_read_again_until_it_changes(
    picture: Path, tmp_path: Path, read: Callable[[Path], object]
) -> None:
    assert [die(picture, tmp_path) for _ in range(2)] == ["", ""]
    assert "was ended 2 times" in die(picture, tmp_path)
    with pytest.raises(ImageError, match=r"a\.png: the program that read it was ended 2 times.*save it with"):
        read(picture)
    Image.new("RGB", (41, 20), "red").save(picture)
    read(picture)


def test_one_death_may_be_an_accident_and_a_reading_that_ends_well_forgives_it(
    picture: Path, tmp_path: Path, turns: Path
) -> None:
    for _ in range(2):
        assert die(picture, tmp_path) == ""
        assert read_image(picture).shape == (20, 40, 3)
    assert [path.name for path in turns.iterdir()] == []


def test_an_image_that_is_being_read_elsewhere_is_no_dead_one(picture: Path, turns: Path) -> None:
    began, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with upright(picture):
            began.set()
            go_on.wait(10)

    threads = [threading.Thread(target=hold) for _ in range(3)]
    for thread in threads:
        thread.start()
    began.wait(10)
    assert read_image(picture).shape == (20, 40, 3)
    go_on.set()
    for thread in threads:
        thread.join()
    assert list(turns.iterdir()) == []


def test_a_mark_is_locked_before_others_see_it(
    picture: Path, turns: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who looks in between would count an image that is being read as one that ended its reader."""
    seen: list[list[str]] = []

    def looking(file: Any, *waiting: float) -> bool:
        seen.append([path.name for path in turns.iterdir() if path.name.startswith("key")])
        return locks.take(file, *waiting)

    monkeypatch.setattr(decoding, "locks", SimpleNamespace(take=looking, is_held=locks.is_held))
    with decoding.attempt("key"):
        assert seen == [[]]
        assert len([path for path in turns.iterdir() if path.name.startswith("key")]) == 1
    assert list(turns.iterdir()) == []


def test_damage_is_no_death(tmp_path: Path, turns: Path) -> None:
    path = tmp_path / "cut.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:100])
    for _ in range(4):
        with pytest.raises(ImageError, match="truncated"):
            read_image(path)
    assert list(turns.iterdir()) == []


def test_a_folder_of_somebody_else_is_not_used(picture: Path, turns: Path) -> None:
    turns.symlink_to(turns.parent)
    decoding._folder_of_this_process.cache_clear()
    read_image(picture, alone_from=1)
    assert not (turns / "large.lock").exists()
    decoding._folder_of_this_process.cache_clear()


def test_nothing_decodes_but_by_this_module() -> None:
    decoders = ("Image.open(", "imread(", "imdecode(", "imfrombytes(", "load_image(")
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "images").rglob("*.py")
        if any(name in path.read_text(encoding="utf-8") for name in decoders)
    }
    assert found == {"images/base/labelloop/images.py"}
    assert images.MAX_PIXELS * 4 < decoding.MAX_BYTES
