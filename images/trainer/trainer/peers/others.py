"""What a project has from others than this appliance: predictions of other models, and other ML backends."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

from labelloop.connection import TITLE
from labelloop.studio import Studio


@dataclass(frozen=True)
class Others:
    """versions: the model versions of predictions that are not ours, the most numerous first; "" for
    predictions without one. backends: the URLs of ML backends other than ours. connected: whether ours is
    connected.
    """

    versions: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    connected: bool = False

    @classmethod
    def of(cls, studio: Studio, project_id: int, ours: Collection[str], backend_url: str) -> Self:
        """Asks Label Studio, which asks no ML backend for this.

        ours: the names under which this appliance's predictions are stored.

        Raises:
            StudioError: Label Studio does not answer or refuses.
        """
        stored, backends = studio.versions_and_backends(project_id)
        counts: dict[str, int] = {}
        for row in stored:
            name = str(row["model_version"] or "")
            if name not in ours:
                counts[name] = counts.get(name, 0) + int(row["count"])
        urls = {str(row.get("url") or "").rstrip("/"): str(row.get("title") or "") for row in backends}
        connected = [url for url, title in urls.items() if url == backend_url or title == TITLE]
        return cls(
            versions=tuple(sorted(counts, key=lambda name: -counts[name])),
            backends=tuple(url for url in urls if url not in connected),
            connected=bool(connected),
        )
