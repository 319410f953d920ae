"""`make model` and `make token`: the model to take along, and tokens for programs that send images here."""

from __future__ import annotations

from collections.abc import Mapping

from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.runtime.runtime import running_stack
from lifecycle.settings import settings as settings_module
from lifecycle.settings.given import is_yes

FORMATS = ("onnx", "openvino", "torchscript", "mmdet")
MODEL_TAKES = ("FORMAT=onnx", "VERSION=v0001", "INT8=1")
TOKEN_TAKES = ("NAME=camera", "REVOKE=camera")


def model(home: Home, given: Mapping[str, str]) -> None:
    """Raises Failure: FORMAT is none."""
    form = given.get("FORMAT", "")
    if form not in FORMATS:
        found = f"FORMAT={form}" if form else "no FORMAT"
        raise Failure("make model", found=found, needed=f"FORMAT={', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    version = ["--version", given["VERSION"]] if given.get("VERSION") else []
    int8 = ["--int8"] if is_yes(given, "INT8") else []
    _labelloop(home, given, ["model", "--format", form, *version, *int8])


def token(home: Home, given: Mapping[str, str]) -> None:
    """With NAME makes a token, with REVOKE ends one, else lists them."""
    options = [
        word for name in ("NAME", "REVOKE") if given.get(name) for word in (f"--{name.lower()}", given[name])
    ]
    _labelloop(home, given, ["token", *options])


def _labelloop(home: Home, given: Mapping[str, str], command: list[str]) -> None:
    running_stack(home, settings_module.load(home)).labelloop(command, given.get("PROJECT"))
