"""`make import`: new images become tasks; with DATASET, labels that exist elsewhere are brought."""

from __future__ import annotations

import getpass
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Union
from urllib.parse import urlsplit

from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.runtime.docker_stack import DockerStack
from lifecycle.runtime.runtime import running_stack
from lifecycle.settings import settings
from lifecycle.settings.given import is_yes

TAKES = (
    "DATASET=DIR",
    "IMAGES=DIR",
    "FORMAT=yolo",
    "AS=predictions",
    "SHAPES=boxes",
    "MAP=owl=bird",
    "PEOPLE=3=ann@example.org",
    "FROM=3",
    "TOKEN_FILE=FILE",
    "TOKEN=…",
    "NAME=set",
    "YES=1",
    "ALL=1",
    "AGAIN=1",
    "PROJECT=2",
)
_FOLDERS = ("PROJECT", "AGAIN")
"""What is taken without DATASET."""
TOKEN = "IMPORT_TOKEN"
_FORMATS = ("coco", "yolo", "voc", "csv", "labelstudio")
_WORDS = {"FORMAT": _FORMATS, "AS": ("annotations", "predictions"), "SHAPES": ("boxes",)}
_OPTIONS = {"FORMAT": "--format", "AS": "--as", "MAP": "--map", "PEOPLE": "--people", "FROM": "--from"}
_LOCALHOST = ("localhost", "127.0.0.1", "::1")


def import_(home: Home, given: Mapping[str, str]) -> None:
    """Has the trainer import; it gets to see DATASET and IMAGES wherever they are, and cannot change them.

    Raises:
        Failure: a path or a word is wrong, or there is no token for another Label Studio.
    """
    if "DATASET" not in given:
        alone = [name for name in given if name not in _FOLDERS and f"{name}=" in "".join(TAKES)]
        if alone:
            raise Failure("make import", found=f"{alone[0]} without DATASET", needed="DATASET=path too")
        again = ["--again"] if is_yes(given, "AGAIN") else []
        running_stack(home, settings.load(home)).labelloop(["import", *again], given.get("PROJECT"))
        return
    if "AGAIN" in given:
        raise Failure("make import", found="AGAIN with DATASET", needed="one of the two")
    dataset = given["DATASET"]
    options = _options(given)
    stack = running_stack(home, settings.load(home))
    if re.match(r"https?://", dataset):
        if isinstance(stack, DockerStack) and urlsplit(dataset).hostname in _LOCALHOST:
            raise Failure(
                "DATASET",
                found=f"{dataset}, which within a container is the container itself",
                needed="the address by which other machines reach it",
            )
        os.environ[TOKEN] = _token(given, dataset)
        stack.labelloop_reading(["intake", dataset, *options], given.get("PROJECT"), [], TOKEN)
        return
    path = _path("DATASET", dataset)
    images = [_path("IMAGES", given["IMAGES"])] if given.get("IMAGES") else []
    if images and not images[0].is_dir():
        raise Failure("IMAGES", found=f"the file {images[0]}", needed="a folder with images")
    name = given.get("NAME") or (path.stem if path.is_file() else path.name)
    arguments: list[Union[str, Path]] = ["intake", path, "--name", name, *options]
    if images:
        arguments += ["--images", images[0]]
    stack.labelloop_reading(arguments, given.get("PROJECT"), [path, *images], None)


def _options(given: Mapping[str, str]) -> list[str]:
    for name, words in _WORDS.items():
        if name in given and given[name] not in words:
            raise Failure(name, found=repr(given[name]), needed=" or ".join(words))
    if "FROM" in given and not given["FROM"].isdigit():
        raise Failure("FROM", found=repr(given["FROM"]), needed="the id of a project there, such as FROM=3")
    options = [f"{option}={given[name]}" for name, option in _OPTIONS.items() if given.get(name)]
    flags = [
        *(["--boxes"] if "SHAPES" in given else []),
        *(["--yes"] if is_yes(given, "YES") else []),
        *(["--all"] if is_yes(given, "ALL") else []),
    ]
    return [*options, *flags]


def _path(name: str, given: str) -> Path:
    """A path as it is behind all links.

    Raises:
        Failure: nothing is there.
    """
    path = Path(given).expanduser()
    if not path.exists():
        raise Failure(name, found=f"nothing at {path.absolute()}", needed="a folder or a file that is there")
    return path.resolve()


def _token(given: Mapping[str, str], url: str) -> str:
    if given.get("TOKEN_FILE"):
        try:
            return Path(given["TOKEN_FILE"]).expanduser().read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise Failure("TOKEN_FILE", found=str(error), needed="a file with the token alone") from error
    if given.get("TOKEN"):
        return given["TOKEN"]
    if not sys.stdin.isatty():
        raise Failure("make import", found="no token", needed=f"TOKEN_FILE=, with the token of {url}")
    return getpass.getpass(f"Token of {url}: ").strip()
