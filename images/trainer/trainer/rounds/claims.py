"""Records which round owns a folder: round.json in it names the project and the request.

A round number can be used twice, as a restored table of rounds may be older than the folders beside it. A
round never uses files that another round left in its folder. That folder is moved aside.
"""

import json
import logging
import time
from pathlib import Path
from typing import Any

from labelloop.files import write_text
from trainer.rounds.folder import CLAIM, LOG, STAGES_LOCK
from trainer.rounds.table import Round, Rounds, State

log = logging.getLogger(__name__)

_ASIDE = ".of-another-round-"
_BEFORE_A_ROUND = frozenset({LOG, STAGES_LOCK})


def claim(rounds: Rounds, round_: Round) -> Path:
    """The round's folder, created if it is missing, without files of another round.

    A folder without round.json is taken to be from an earlier release, and belongs to this round if the round
    has begun already.

    Raises:
        OSError: the folder cannot be made or moved aside.
    """
    folder = rounds.folder(round_.id)
    if folder.is_dir() and not _is_of(folder, round_):
        aside = folder.with_name(f"{folder.name}{_ASIDE}{time.strftime('%Y%m%d-%H%M%S')}")
        folder.rename(aside)
        aside.touch()
        log.warning(
            "round %d of project %d: its folder held %s; that is %s now",
            round_.id,
            round_.project,
            _described(aside),
            aside,
        )
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / CLAIM).is_file():
        write_text(folder / CLAIM, json.dumps(_claim_of(round_)) + "\n")
    return folder


def moved_aside(rounds: Rounds) -> list[Path]:
    """The folders that `claim` moved aside. Their modification time is when that happened."""
    return sorted(rounds.root.glob(f"*{_ASIDE}*"))


def _is_of(folder: Path, round_: Round) -> bool:
    named = _named(folder)
    if named is not None:
        return bool(named == _claim_of(round_))
    return round_.state != State.REQUESTED or {path.name for path in folder.iterdir()} <= _BEFORE_A_ROUND


def _claim_of(round_: Round) -> dict[str, Any]:
    return {"round": round_.id, "project": round_.project, "requested_at": round_.requested_at}


def _named(folder: Path) -> Any:
    """The contents of a folder's round.json; None when there is none, {} when it is damaged."""
    try:
        return json.loads((folder / CLAIM).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}


def _described(folder: Path) -> str:
    named = _named(folder)
    if isinstance(named, dict) and "project" in named:
        return f"the files of a round of project {named['project']}, requested at {named.get('requested_at')}"
    return "another round's files"
