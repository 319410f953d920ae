"""The forms in which a model is taken along, and where it lies then. Nothing heavy is imported here."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

EXPORTS = "exports"
ABOUT_FILE = "model.json"


class Format(StrEnum):
    ONNX = "onnx"
    OPENVINO = "openvino"
    TORCHSCRIPT = "torchscript"
    MMDET = "mmdet"


@dataclass(frozen=True)
class About:
    """model: the file's name. needs: what predict.py needs beside numpy and pillow, as `pip install` takes
    it. purpose: what people choose it for. int8: whether it can be had in whole numbers.
    """

    model: str
    needs: str
    purpose: str
    int8: bool = False


ABOUT: Mapping[Format, About] = MappingProxyType(
    {
        Format.ONNX: About(
            "model.onnx", "onnxruntime", "ONNX Runtime, on most machines and from most languages", int8=True
        ),
        Format.OPENVINO: About(
            "model.xml", "openvino", "OpenVINO, on Intel's processors and their graphics", int8=True
        ),
        Format.TORCHSCRIPT: About(
            "model.pt", "torch", "PyTorch, also from C++, without this project's libraries"
        ),
        Format.MMDET: About(
            "weights.pth",
            "'mmdet<3' mmcv-full",
            "MMDetection 2, to train on; the one form for detectors of two stages",
        ),
    }
)


def page(form: Format) -> str:
    """The text of predict.py."""
    pages = files("trainer.takeaway") / "page"
    return "".join((pages / f"{name}.txt").read_text(encoding="utf-8") for name in (form.value, "body"))


def place(rounds_dir: Path, project: int, version: str, form: Format, int8: bool) -> Path:
    """The folder for it. What is made again takes the place of what was there."""
    return rounds_dir / EXPORTS / f"model-{project}-{version}-{form}{'-int8' if int8 else ''}"


@dataclass(frozen=True)
class There:
    """A model that was taken along and lies there still. size: of all its files, in bytes. weights: the
    SHA-256 of the version's weights; None where an earlier release made it.
    """

    folder: Path
    version: str
    form: Format
    int8: bool
    size: int
    weights: str | None = None

    @property
    def name(self) -> str:
        return f"{self.form}{', 8 bits' if self.int8 else ''}"

    @property
    def key(self) -> str:
        return f"{self.version}-{self.form}{'-int8' if self.int8 else ''}"


def there(rounds_dir: Path, project: int) -> list[There]:
    """A project's, the newest version first."""
    found = []
    for folder in (rounds_dir / EXPORTS).glob(f"model-{project}-v*-*"):
        version, _, form = folder.name.removeprefix(f"model-{project}-").partition("-")
        int8, form = form.endswith("-int8"), form.removesuffix("-int8")
        if form in set(Format) and (folder / "README.md").is_file():
            size = sum(path.stat().st_size for path in folder.iterdir())
            found.append(There(folder, version, Format(form), int8, size, _weights(folder)))
    return sorted(found, key=lambda one: (-int(one.version[1:]), one.folder.name))


def _weights(folder: Path) -> str | None:
    with suppress(OSError, ValueError, AttributeError):
        told = json.loads((folder / ABOUT_FILE).read_bytes()).get("weights_sha256")
        return str(told) if told else None
    return None
