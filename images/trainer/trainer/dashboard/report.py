"""A project's dashboard pages as one HTML file, which needs no server, no script and no network."""

import base64
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fastapi import HTTPException, Response
from markupsafe import Markup

from labelloop.files import write_text
from labelloop.images import ImageError
from trainer.dashboard import data, effort, glossary, label_errors, model, now, rounds
from trainer.dashboard.charts import THEMES, Theme
from trainer.dashboard.errors import ReportError
from trainer.dashboard.loop import WatchedLoop
from trainer.dashboard.pages import HERE, View, templates
from trainer.dashboard.parts import Parts
from trainer.dataset.labelled import SnapshotImage

FOLDER = "reports"
PICTURE_PX, PICTURE_QUALITY = 400, 70
PICTURES_BYTES = 2_500_000  # before base64, which turns three bytes into four
LOOK_S, LOOK_EVERY_S = 3600.0, 0.5
COUNT_S, COUNT_EVERY_S = 60.0, 1.0
_NAME = re.compile(r"\w[\w .-]*")

# By the page's name, the template and the function for its contents.
PARTS: dict[str, tuple[str, Callable[[View], dict[str, object]]]] = {
    "Now": ("now.html", now.contents),
    "Rounds": ("rounds.html", rounds.contents),
    "Model": ("model.html", model.contents),
    "Effort": ("effort.html", effort.contents),
    "Data": ("data.html", data.contents),
    "Label errors": ("label_errors.html", label_errors.contents),
    "Glossary": ("glossary.html", glossary.contents),
}


@dataclass
class Standalone:
    """Gives templates charts and pictures as data URIs, in place of a server.

    home: the folder to which the pictures' files are relative. left_out: how many pictures are not included.
    """

    home: Path
    left_out: int = 0
    _bytes: int = 0
    _ids: dict[str, str] = field(default_factory=dict)

    def chart(self, draw: Callable[[Theme], Response], theme: str) -> str:
        return _data_uri("image/svg+xml", bytes(draw(THEMES[theme]).body))

    def picture(self, image: SnapshotImage) -> Markup:
        """An SVG element: the picture itself where it is shown first, and a reference to it afterwards."""
        if image.file not in self._ids:
            self._ids[image.file] = f"picture-{len(self._ids)}"
            return self._first(image, self._ids[image.file])
        return Markup('<use href="#{}"/>').format(self._ids[image.file])

    def _first(self, image: SnapshotImage, name: str) -> Markup:
        size = Markup('width="{}" height="{}"').format(image.width, image.height)
        try:
            small = model.thumbnail(self.home / image.file, PICTURE_PX, PICTURE_QUALITY)
        except ImageError:
            small = b""
        if not small or self._bytes + len(small) > PICTURES_BYTES:
            self.left_out += 1
            return Markup('<rect id="{}" class="left-out" {}/>').format(name, size)
        self._bytes += len(small)
        return Markup('<image id="{}" href="{}" {} preserveAspectRatio="none"/>').format(
            name, _data_uri("image/jpeg", small), size
        )


def path_of(rounds_dir: Path, project_id: int, name: str | None) -> Path:
    """A report's path: <rounds_dir>/reports/<name>. The default name has the project and the time.

    Raises:
        ReportError: `name` is no plain file name.
    """
    chosen = name or f"report-{project_id}-{datetime.now():%Y%m%d-%H%M%S}.html"
    if not _NAME.fullmatch(chosen):
        raise ReportError(
            f"FILE={chosen}: found no plain file name, needed one such as june.html; reports go to "
            f"volumes/rounds/{FOLDER}/"
        )
    return rounds_dir / FOLDER / (chosen if chosen.endswith(".html") else f"{chosen}.html")


def look(loop: WatchedLoop, project_id: int, progress: Callable[[str], None]) -> None:
    """Has the model in service look at the labelled images, unless it has done so.

    The confusion matrix, the worst images and the label errors need these predictions. A failure is shown in
    the report.
    """
    view = _view(loop, project_id)
    found = label_errors.contents(view)
    if found["scored"] is None or found["suspects"] is not None:
        return
    version, looking = found["card"].version, view.parts.looking
    looking.begin(project_id, version)
    deadline = time.monotonic() + LOOK_S
    try:
        while not looking.wait(LOOK_EVERY_S) and time.monotonic() < deadline:
            under_way = looking.state(project_id, version)
            progress(under_way.words if under_way else "")
        failed = looking.state(project_id, version)
        if failed is not None:
            raise ReportError(f"{version} could not look at the images. {failed.words}")
    finally:
        looking.stop()


def write(loop: WatchedLoop, project_id: int, path: Path, progress: Callable[[str], None]) -> Path:
    """Writes the report, completely or not at all; returns its path.

    Raises:
        ReportError: Label Studio does not say how many images there are, or the model in service cannot be
            read. OSError: the file cannot be written.
    """
    write_text(path, render(_still(loop, project_id, progress), project_id))
    return path


def _still(loop: WatchedLoop, project_id: int, progress: Callable[[str], None]) -> WatchedLoop:
    """The loop with a fixed status, once Label Studio has counted the images, so that all parts of the report
    show the same moment.
    """
    still = WatchedLoop(loop.settings, loop.studio, loop.backend, status_s=math.inf)
    deadline = time.monotonic() + COUNT_S
    while problem := _uncounted(still, project_id):
        if time.monotonic() > deadline:
            raise ReportError(
                f"Label Studio does not say how many images there are: {problem}; no report was written, see "
                "`make status`"
            )
        progress(problem)
        time.sleep(COUNT_EVERY_S)
        still.forget_status()
    return still


def _uncounted(loop: WatchedLoop, project_id: int) -> str | None:
    """Why the project's images have not been counted; None when they have."""
    found = loop.project_status(project_id)
    if found is not None:
        return "; ".join(found.problems) if found.tasks is None else None
    problems = (service.problem for service in loop.status().services if service.name == "labelstudio")
    return next(problems, None) or f"there is no project {project_id}"


def render(loop: WatchedLoop, project_id: int) -> str:
    """The report's HTML; raises ReportError."""
    view, standalone = _view(loop, project_id), Standalone(loop.settings.labelloop_home)
    try:
        parts = [
            {
                "id": f"part-{name.lower().replace(' ', '-')}",
                "name": name,
                "html": Markup(
                    templates.get_template(PARTS[name][0]).render(
                        standalone=standalone, project=project_id, **PARTS[name][1](view)
                    )
                ),
            }
            for name in PARTS
        ]
    except HTTPException as error:
        raise ReportError(str(error.detail)) from error
    return templates.get_template("report.html").render(
        parts=parts,
        project=project_id,
        title=loop.projects().get(project_id, f"project {project_id}"),
        made_at=datetime.now(UTC),
        left_out=standalone.left_out,
        css=Markup((HERE / "static" / "dashboard.css").read_text(encoding="utf-8")),
    )


def _view(loop: WatchedLoop, project_id: int) -> View:
    """The view that the dashboard's pages have, with no work under way."""
    return View(Parts.of(loop), project_id)


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"
