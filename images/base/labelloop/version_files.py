"""The files of one version in the model registry, written as a whole."""

import shutil
from pathlib import Path

from labelloop import graph
from labelloop.card import Card
from labelloop.files import fsync_dir, link_or_copy, new_folder, sha256_file, write_text

CONFIG, WEIGHTS, CARD = "config.py", "weights.pth", "card.json"
_TEMPORARY, _LEAVING = ".writing-", ".removing-"


def write(parent: Path, name: str, card: Card, config_text: str, weights: Path) -> None:
    """Writes the folder `name` below `parent`: all of it, or none of it.

    weights: a file that holds only a state_dict; a graph beside it is added too. The files are hard-linked
    where the file system allows it, else copied, so they must not be changed afterwards.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for leftover in parent.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(leftover)
    with new_folder(parent / name, _TEMPORARY) as folder:
        _fill(folder, card.model_copy(update={"version": name}), config_text, weights)


def _fill(folder: Path, card: Card, config_text: str, weights: Path) -> None:
    link_or_copy(weights, folder / WEIGHTS)
    write_text(folder / CONFIG, config_text)
    for part in graph.FILES:
        if (weights.parent / part).is_file():
            link_or_copy(weights.parent / part, folder / part)
    digests = {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
    complete = card.model_copy(update={"weights_sha256": digests.pop(WEIGHTS), "sha256": digests})
    write_text(folder / CARD, complete.model_dump_json(indent=2) + "\n")


def complaint(folder: Path, card: Card) -> str:
    """What is wrong with the files that a version needs to serve; empty when they are as written."""
    for name, expected in {CONFIG: card.sha256.get(CONFIG), WEIGHTS: card.weights_sha256}.items():
        if not (folder / name).is_file():
            return f"{folder / name} is missing"
        if expected and sha256_file(folder / name) != expected:
            return f"{folder / name} is damaged: its sha256 is not the one in card.json"
    return ""


def leave(folder: Path) -> None:
    """Takes a version away in one step; `clear` then deletes its files."""
    folder.rename(folder.with_name(f"{_LEAVING}{folder.name}"))
    fsync_dir(folder.parent)


def clear(parent: Path) -> None:
    """Deletes the files of versions that were taken away."""
    for leftover in parent.glob(f"{_LEAVING}*"):
        shutil.rmtree(leftover)


def stamps(folder: Path) -> list[tuple[int, int, int] | None]:
    """Values that change when config, weights or card do; None for one that is missing."""
    found: list[tuple[int, int, int] | None] = []
    for name in (CONFIG, WEIGHTS, CARD):
        try:
            stat = (folder / name).stat()
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return found
