"""volumes/labelstudio/provisioned.json: what is provisioned, for `make` and for the next run."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from labelloop.files import write_text


@dataclass(frozen=True)
class State:
    """Ids in Label Studio, and how far the provisioner has come.

    title: the PROJECT_TITLE that `project` was found or made for.
    label_config_sha256: of the file that the project's labels were last taken from.
    label_config_filled: whether what that file leaves open was filled in; earlier releases didn't.
    creating: the path of a request that may still be at work; see `creation.Creator`.
    problem: why the label config of the project is not that of LABEL_CONFIG.
    waiting: why it is not done, in the words of the last attempt.
    connected_instructed: whether projects that earlier releases connected were given instructions.
    clicks_offered: whether connections that earlier releases made were given click to box; who turns it off
    afterwards keeps it off.
    unknown_admins: addresses in ADMINS that no user has.
    labellers: whether anybody but the administrators of ADMIN_EMAIL and ADMINS is a member; None: not known.
    """

    project: int | None = None
    title: str | None = None
    label_config_sha256: str | None = None
    label_config_filled: bool = False
    storage: int | None = None
    backend: int | None = None
    creating: str | None = None
    problem: str | None = None
    waiting: str | None = None
    connected_instructed: bool = False
    clicks_offered: bool = False
    unknown_admins: list[str] = field(default_factory=list)
    labellers: bool | None = None
    done: bool = False


class StateFile:
    """The file, and its last known content as `state`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.state = _read(path)

    def update(self, **changes: Any) -> None:
        """Writes the changed state atomically; a state that stays the same leaves the file alone."""
        changed = replace(self.state, **changes)
        if changed == self.state and self._path.exists():
            return
        write_text(self._path, json.dumps(asdict(changed), indent=2) + "\n")
        self.state = changed


def _read(path: Path) -> State:
    """An unreadable file counts as none: everything in it can be found again in Label Studio."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return State()
    known = State.__dataclass_fields__
    return (
        State(**{name: value for name, value in content.items() if name in known})
        if isinstance(content, dict)
        else State()
    )
