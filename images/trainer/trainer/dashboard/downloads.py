"""Downloads: the labels as they are now or as a round saw them, as a dataset; a version as an archive."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, status
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from labelloop.registry import RegistryError
from trainer.dashboard import stored
from trainer.dashboard.archive import Archive
from trainer.dashboard.model import chosen_card
from trainer.dashboard.pages import Asked, Page
from trainer.dashboard.security import checked_form, csrf_token
from trainer.dashboard.taking import DOWNLOADING, take_along
from trainer.dataset.export import ExportError, exported_files
from trainer.dataset.exported_images import ExportedFile, pieces_of
from trainer.dataset.left_out import counts_in_words
from trainer.dataset.snapshot import Snapshot
from trainer.rounds.table import Round, RoundError
from trainer.worker.retention import removed, snapshot_removed, weights_removed

router = APIRouter()

VERSION_FILES = ("config.py", "weights.pth", "card.json")
SHOWN_ROUNDS = 20
SHOWN_LEFT_OUT = 20
SCRATCH = ".dataset-"
PURPOSES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "coco": (
            "COCO",
            "MMDetection, Detectron2, FiftyOne, CVAT and most tools; has everything, ignored boxes too",
        ),
        "yolo": ("YOLO", "training with Ultralytics' YOLO"),
        "voc": ("Pascal VOC", "older tools, and those that want one XML file for each image; whole pixels"),
    }
)
"""By format, its name and what it is for."""


@dataclass(frozen=True)
class Dataset:
    """A round's snapshot that can be downloaded. left_out: how many labelled tasks it does not use."""

    round: Round
    images: int
    boxes: int
    left_out: int


@router.get("/downloads", response_class=HTMLResponse)
def show(page: Asked) -> HTMLResponse:
    cards, datasets, gone = [], [], []
    if page.project is not None:
        models = page.loop.models(page.project)
        for version in reversed(models.versions()):
            try:
                cards.append(models.card(version))
            except RegistryError:
                continue  # `labelloop models` reports it; there is nothing to download
        for round_ in page.loop.rounds.history(page.project, SHOWN_ROUNDS):
            found = stored.contents(page.loop.rounds.folder(round_.id))
            if found is not None:
                datasets.append(Dataset(round_, found.images, found.boxes, found.left_out))
            elif removed(page.loop.rounds.folder(round_.id)):
                gone.append(f"round {round_.called}")
        gone += models.removed()
    return page.show(
        "downloads.html",
        cards=cards,
        datasets=datasets,
        gone=gone,
        downloading=DOWNLOADING,
        **_current(page),
        **take_along(page),
    )


@router.get("/downloads/labels", response_class=HTMLResponse)
def current_labels(page: Asked) -> HTMLResponse:
    """The part of the page about the labels as they are now, which changes while they are read."""
    return page.fragment("current_labels.html", csrf=csrf_token(page.request), **_current(page))


def _current(page: Page) -> dict[str, Any]:
    labels = page.parts.current_labels
    values: dict[str, Any] = {"reading": None, "read": None, "problem": None, "formats": PURPOSES}
    if page.project is None:
        return values
    read = labels.of(page.project)
    values |= {"reading": labels.reading(page.project), "problem": labels.problems.get(page.project)}
    if read is None:
        return values
    rows = read.snapshot.skipped
    left_out = {
        "left_out": rows[:SHOWN_LEFT_OUT],
        "left_out_in_all": len(rows),
        "reasons": counts_in_words(rows),
    }
    return values | left_out | {"read": read, "changed": labels.changed(page.project)}


@router.post("/downloads/labels")
def read_labels(page: Asked, form: Annotated[dict[str, str], Depends(checked_form)]) -> Response:
    """Reads the labels as they are now."""
    page.require_administrator(DOWNLOADING)
    if page.project is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "there is no project in which boxes are drawn")
    page.parts.current_labels.begin(page.project)
    return RedirectResponse(f"/downloads?project={page.project}", status.HTTP_303_SEE_OTHER)


@router.get("/downloads/labels/{format_name}.zip")
def labels_archive(format_name: str, page: Asked, images: bool = True) -> StreamingResponse:
    """The labels that were read last, as a dataset for other tools."""
    page.require_administrator(DOWNLOADING)
    read = page.parts.current_labels.of(page.project) if page.project is not None else None
    if read is None:
        why = "the labels were not read yet, or the dashboard was started anew since: read them on Downloads"
        raise HTTPException(status.HTTP_404_NOT_FOUND, why)
    name = f"labelloop-{page.project}-labels-{read.began:%Y%m%d-%H%M%S}"
    return _dataset(page, read.snapshot, name, format_name, images)


@router.get("/rounds/{round_id}/dataset-{format_name}.zip")
def dataset_archive(round_id: int, format_name: str, page: Asked, images: bool = True) -> StreamingResponse:
    """A round's labelled images as a dataset for other tools."""
    page.require_administrator(DOWNLOADING)
    try:
        round_ = page.loop.rounds.get(round_id)
    except RoundError as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from error
    snapshot = stored.snapshot(page.loop.rounds.folder(round_.id))
    if snapshot is None:
        gone = removed(page.loop.rounds.folder(round_.id))
        why = snapshot_removed(round_id) if gone else f"round {round_id} has no snapshot"
        raise HTTPException(status.HTTP_404_NOT_FOUND, why)
    name = f"labelloop-{round_.project}-round-{round_.id}"
    return _dataset(page, snapshot, name, format_name, images)


def _dataset(page: Page, snapshot: Snapshot, name: str, format_name: str, images: bool) -> Archive:
    """A dataset in one folder. name: its name, without the format."""
    try:
        files = exported_files(snapshot, format_name, page.loop.settings, images)
    except ExportError as error:
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from error
    top = f"{name}-{format_name}" + ("" if images else "-without-images")
    within = (ExportedFile(f"{top}/{file.name}", file.content, file.packed) for file in files)
    return Archive(f"{top}.zip", within, page.require_still)


@router.get("/downloads/{version}.zip")
def version_archive(version: str, page: Asked) -> StreamingResponse:
    """A version's config, weights and card."""
    page.require_administrator(DOWNLOADING)
    card = chosen_card(page, version)
    if card is None or page.project is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no version {version[:40]!r}")
    models = page.loop.models(page.project)
    if version in models.removed():
        raise HTTPException(status.HTTP_404_NOT_FOUND, weights_removed(version))
    folder = models.folder(version)
    files = (
        ExportedFile(f"{version}/{name}", pieces_of(folder / name), packed=True) for name in VERSION_FILES
    )
    return Archive(f"labelloop-{page.project}-{version}.zip", files, page.require_still)


def clear_scratch(rounds_dir: Path) -> None:
    """Deletes folders that downloads of earlier releases left behind when a kill -9 ended them."""
    for leftover in rounds_dir.glob(f"{SCRATCH}*"):
        shutil.rmtree(leftover, ignore_errors=True)
