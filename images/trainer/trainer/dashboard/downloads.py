"""Downloads: a version as an archive, and a round's dataset. Also two versions side by side."""

import asyncio
import io
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, HTTPException, status
from fastapi.responses import HTMLResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from labelloop.registry import Card, RegistryError
from trainer.dashboard import stored
from trainer.dashboard.model import chosen_card
from trainer.dashboard.pages import Asked, moment, number
from trainer.dashboard.stored import Scored
from trainer.dataset.export import FORMATS, ExportError, export
from trainer.rounds.table import Round, RoundError
from trainer.worker.retention import removed, snapshot_removed, weights_removed

router = APIRouter()

VERSION_FILES = ("config.py", "weights.pth", "card.json")
CHUNK = 1 << 20
SHOWN_ROUNDS = 20
SCRATCH = ".dataset-"
DOWNLOADING = "Downloading models and datasets"


@dataclass(frozen=True)
class Dataset:
    """A round's snapshot that can be downloaded."""

    round: Round
    images: int
    boxes: int


@dataclass(frozen=True)
class Line:
    """One line of a comparison. better: the column with the higher of two scores; None if neither is."""

    name: str
    left: str
    right: str
    better: str | None = None


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
    return _Archive(f"labelloop-{page.project}-{version}.zip", files, page.require_still)


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
    return _Archive(f"{name}.zip", files, page.require_still, scratch)


class _Archive(StreamingResponse):
    """Files as one archive.

    check: called before each piece; an exception from it ends the answer. scratch: a folder to delete
    afterwards, also when the client disconnects early or never reads a byte.
    """

    def __init__(
        self, name: str, files: dict[str, Path], check: Callable[[], None], scratch: Path | None = None
    ) -> None:
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        super().__init__(_checked(_zipped(files), check), media_type="application/zip", headers=headers)
        self._scratch = scratch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._scratch is not None:
                await asyncio.to_thread(shutil.rmtree, self._scratch, ignore_errors=True)


def _checked(pieces: Iterator[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    for piece in pieces:
        check()
        yield piece


def _zipped(files: dict[str, Path]) -> Iterator[bytes]:
    """The archive in pieces, so that it is never whole in memory or on disk.

    Files are stored without compression, because weights and images are compressed already.
    """
    out = _Pipe()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files.items():
            if path.is_dir():  # an empty side's folder has to be there, too
                archive.mkdir(name)
                continue
            with path.open("rb") as source, archive.open(name, "w", force_zip64=True) as target:
                while chunk := source.read(CHUNK):
                    target.write(chunk)
                    yield out.take()
    yield out.take()


def clear_scratch(rounds_dir: Path) -> None:
    """Deletes folders left behind by downloads that a kill -9 ended."""
    for leftover in rounds_dir.glob(f"{SCRATCH}*"):
        shutil.rmtree(leftover, ignore_errors=True)


class _Pipe(io.RawIOBase):
    """A file that keeps written bytes until they are taken."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._waiting += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken


@router.get("/compare", response_class=HTMLResponse)
def compare(page: Asked, left: str | None = None, right: str | None = None) -> HTMLResponse:
    """Two versions side by side: by default the one in service and the one before it."""
    versions = page.versions
    right_card = chosen_card(page, right)
    before = [version for version in versions if right_card is None or version != right_card.version]
    left_card = chosen_card(page, left or (before[-1] if before else None))
    if left_card is None or right_card is None or page.project is None:
        return page.show("compare.html", lines=[], versions=versions, left=None, right=None)
    scored = stored.comparable_evaluations(page.loop, page.project, (left_card.version, right_card.version))
    return page.show(
        "compare.html",
        lines=[*_about(left_card, right_card), *_scores(*scored)],
        versions=versions[::-1],
        left=left_card.version,
        right=right_card.version,
        same=scored[0] is not None
        and scored[1] is not None
        and scored[0].evaluation.fingerprint == scored[1].evaluation.fingerprint,
    )


def _about(left: Card, right: Card) -> list[Line]:
    def line(name: str, of: str) -> Line:
        return Line(name, *(str(getattr(card, of) or "–") for card in (left, right)))

    return [
        Line("made", *(moment(card.created_at) for card in (left, right))),
        line("in round", "round"),
        line("detector", "detector"),
        line("parent", "parent"),
        line("training images", "images"),
        line("their boxes", "boxes"),
        line("verdict", "verdict"),
        line("why", "reason"),
    ]


def _scores(left: Scored | None, right: Scored | None) -> list[Line]:
    pair = [scored.evaluation if scored else None for scored in (left, right)]
    rows = [
        Line("scored in round", *(str(scored.round.id) if scored else "–" for scored in (left, right))),
        Line("hold-out images", *(str(found.images) if found else "–" for found in pair)),
    ]
    names = [name for found in pair if found for name in found.per_class]
    scores = [("mAP", [found.mAP if found else None for found in pair])]
    scores.append(("AP50", [found.AP50 if found else None for found in pair]))
    for name in dict.fromkeys(names):
        scores.append((f"AP of {name}", [found.per_class.get(name) if found else None for found in pair]))
    return rows + [_score_line(name, *values) for name, values in scores]


def _score_line(name: str, left: float | None, right: float | None) -> Line:
    better = None
    if left is not None and right is not None and left != right:
        better = "left" if left > right else "right"
    return Line(name, number(left), number(right), better)
