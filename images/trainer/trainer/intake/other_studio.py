"""Another Label Studio, from whose API a project's tasks and images are read.

Its token goes to it alone: the session refuses redirects to other servers, and the download sends the token
only over connections made from its own URL.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests

from labelloop.download import download
from labelloop.files import write_bytes
from labelloop.images import SUFFIXES, ImageError
from labelloop.labels import LabelConfigError, parse_label_config
from labelloop.outside import Outside
from labelloop.studio import Studio, StudioError
from trainer.intake import studio_reader
from trainer.intake.named_images import ImageFiles
from trainer.intake.records import IntakeError, Record

UNAUTHORISED = 401


class OtherStudio(Studio):
    """A Label Studio with a legacy token, or a personal one, which is exchanged for one that expires soon."""

    def __init__(self, url: str, token: str) -> None:
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise IntakeError(
                f"DATASET={url}: the token has spaces, line breaks or letters that no token has; TOKEN_FILE= "
                "is a file with the token alone"
            )
        try:
            super().__init__(url, token)
        except ValueError as error:
            raise IntakeError(f"DATASET={url}: {error}") from error
        self._personal = token if token.count(".") == 2 else ""
        self.authorization = f"Token {token}"
        if self._personal:
            self._exchange()

    def request(self, method: str, path: str, **kwargs: Any) -> Any:
        try:
            return super().request(method, path, **kwargs)
        except StudioError as error:
            if error.status != UNAUTHORISED or not self._personal:
                raise
        self._exchange()
        return super().request(method, path, **kwargs)

    def _exchange(self) -> None:
        self._session.headers.pop("Authorization", None)
        answer = super().request("POST", "/api/token/refresh/", json={"refresh": self._personal})
        access = answer.get("access") if isinstance(answer, dict) else None
        if not isinstance(access, str) or not (access.isascii() and access.isprintable()):
            raise IntakeError(
                f"{self.url} answers the token with none that can be used; TOKEN_FILE= has another"
            )
        self.authorization = f"Bearer {access}"
        self._session.headers["Authorization"] = self.authorization

    def image(self, url: str, outside: Outside = Outside()) -> bytes:  # noqa: B008
        """The bytes of a task's image, wherever it lies.

        Raises:
            ImageError: it cannot be had, or its host is refused.
        """
        absolute = urljoin(f"{self.url}/", url.strip())
        return download(absolute, self.url, outside=outside, authorization=self.authorization)


def choose_project(studio: OtherStudio, wanted: int | None) -> dict[str, Any]:
    """The project `wanted`, or else the only one.

    Raises:
        IntakeError: there is none, or several, or the token is refused.
    """
    try:
        rows = studio.projects()
    except StudioError as error:
        if error.status in (UNAUTHORISED, 403):
            raise IntakeError(
                f"{studio.url} refuses the token; TOKEN= is one of its account pages'"
            ) from error
        raise
    listed = ", ".join(f"{row['id']} ({row.get('title')})" for row in rows) or "none"
    found = [row for row in rows if wanted is None or row["id"] == wanted]
    if len(found) != 1:
        raise IntakeError(f"{studio.url}: choose a project by FROM=<id>; there are: {listed}")
    return dict(studio.whole_project(int(found[0]["id"])))


def read(studio: OtherStudio, project: dict[str, Any]) -> Iterator[Record]:
    """The tasks of a project, as they come page by page.

    Raises:
        IntakeError: it is no project with an image. StudioError: it does not answer.
    """
    people = {
        int(row["id"]): str(row["email"]) for row in studio.request("GET", "/api/users/") if row.get("email")
    }
    try:
        key = parse_label_config(str(project.get("label_config") or "")).data_key
    except LabelConfigError:
        key = ""  # without boxes of its own: its polygons may be asked for
    tasks = studio.iter_tasks(int(project["id"]), fields="all", omit="predictions,drafts", page_size=100)
    source = studio_reader.Source(key, people, studio.url)
    yield from studio_reader.read(tasks, source, f"project {project['id']}", ImageFiles([]))


class Fetcher:
    """Downloads images once each. What was downloaded stays until it is stored, also after a kill."""

    def __init__(
        self,
        folder: Path,
        trusted: str,
        other: OtherStudio | None,
        outside: Outside = Outside(),  # noqa: B008
    ) -> None:
        self._folder = folder
        self._outside = outside
        self._trusted = trusted
        self._other = other

    def fetch(self, url: str) -> Path:
        """The file that holds a URL's image. Raises ImageError: it cannot be had."""
        suffix = Path(studio_reader.name_of_url(url)).suffix.lower()
        source = f"{self._other.url if self._other else ''} {url}"
        name = hashlib.sha256(source.encode()).hexdigest()[:32] + (suffix if suffix in SUFFIXES else "")
        path = self._folder / name
        if not path.exists():
            try:
                if self._other:
                    content = self._other.image(url, self._outside)
                else:
                    content = download(url, self._trusted, outside=self._outside)
            except (ValueError, requests.RequestException) as error:
                raise ImageError(str(error)) from error
            write_bytes(path, content)
        return path
