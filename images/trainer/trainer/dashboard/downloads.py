"""Downloads: a version as an archive, and a round's dataset."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, HTTPException, status
from fastapi.responses import HTMLResponse, StreamingResponse

from labelloop.registry import RegistryError
from trainer.dashboard import stored
from trainer.dashboard.archive import Archive
from trainer.dashboard.model import chosen_card
from trainer.dashboard.pages import Asked
from trainer.dataset.export import FORMATS, ExportError, export
from trainer.rounds.table import Round, RoundError
from trainer.worker.retention import removed, snapshot_removed, weights_removed

router = APIRouter()

VERSION_FILES = ("config.py", "weights.pth", "card.json")
SHOWN_ROUNDS = 20
SCRATCH = ".dataset-"
DOWNLOADING = "Downloading models and datasets"


@dataclass(frozen=True)
class Dataset:
    """A round's snapshot that can be downloaded."""

    round: Round
    images: int
    boxes: int


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
                datasets.append(Dataset(round_, found.images, found.boxes))
            elif removed(page.loop.rounds.folder(round_.id)):
                gone.append(f"round {round_.id}")
        gone += models.removed()
    return page.show(
        "downloads.html",
        cards=cards,
        datasets=datasets,
        gone=gone,
        formats=FORMATS,
        downloading=DOWNLOADING,
    )


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
    files = {f"{version}/{name}": folder / name for name in VERSION_FILES}
    return Archive(f"labelloop-{page.project}-{version}.zip", files, page.require_still)


@router.get("/rounds/{round_id}/dataset-{format_name}.zip")
def dataset_archive(round_id: int, format_name: str, page: Asked) -> StreamingResponse:
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
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=page.loop.settings.rounds_dir))
    try:
        made = export(snapshot, format_name, scratch / "dataset", page.loop.settings)
    except ExportError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from error
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    name = f"labelloop-{round_.project}-round-{round_.id}-{format_name}"
    files = {f"{name}/{path.relative_to(made)}": path for path in sorted(made.rglob("*"))}
    return Archive(f"{name}.zip", files, page.require_still, scratch)


def clear_scratch(rounds_dir: Path) -> None:
    """Deletes folders left behind by downloads that a kill -9 ended."""
    for leftover in rounds_dir.glob(f"{SCRATCH}*"):
        shutil.rmtree(leftover, ignore_errors=True)
