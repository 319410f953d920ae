"""`make backup`, and what `make status` says of backups."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from lifecycle.backup.archive import (
    CLOCK_LEEWAY_SECONDS,
    ahead_in_words,
    archives_ahead,
    dated,
    newest_archive,
)
from lifecycle.backup.service import DOWN, parse_answer, read_status
from lifecycle.console import Failure, heading, line
from lifecycle.home import Home
from lifecycle.runtime.runtime import Stack, running_stack
from lifecycle.settings import settings as settings_module
from lifecycle.settings.given import is_yes


def backup(home: Home, given: Mapping[str, str]) -> None:
    """One archive, while people label. IMAGES=1: volumes/images too; SECRETS=1: what .env holds too."""
    heading("Backup")
    stack = running_stack(home, settings_module.load(home))
    write_archive(home, stack, images=is_yes(given, "IMAGES"), secrets=is_yes(given, "SECRETS"))


def write_archive(home: Home, stack: Stack, *, images: bool = False, secrets: bool = False) -> Path:
    """Has the backup service write an archive, and says what is in it and what isn't. Returns: the archive.

    Raises:
        Failure: why there is none.
    """
    if not home.has_labels:
        raise Failure("there is nothing to back up yet", do="`make up` starts labelloop.")
    options = [*(["images"] if images else []), *(["env"] if secrets else [])]
    env = home.env_file.read_bytes() if secrets else b""
    answer = parse_answer(stack.backup_service(["once", *options], env))
    if answer.get("error"):
        raise Failure(str(answer["error"]))
    archive = home.backups / str(answer["archive"])
    counts = answer["counts"]
    line("archive", f"{archive.relative_to(home.root)} ({archive.stat().st_size / 1e6:.1f} MB, mode 600)")
    counted = ", ".join(f"{counts[name]} {name}" for name in ("annotations", "tasks", "models", "rounds"))
    line("in it", f"{counted}, uploads, configs/" + (", volumes/images" if images else ""))
    left_out = [
        *([] if images else ["volumes/images, which are your own files (IMAGES=1 takes them in)"]),
        *([] if secrets else [".env (SECRETS=1)"]),
        "volumes/cache, which is made again",
    ]
    line("left out", "; ".join(left_out))
    return archive


def count(stack: Stack) -> dict[str, Any]:
    """What the backup service counts of the state in place: projects, counts; or error, when it can't."""
    try:
        return parse_answer(stack.backup_service(["count"]))
    except Failure as error:
        return {"error": str(error)}


def against(counted: Mapping[str, Any], annotations: int) -> str:
    """How many annotations a state holds that `count` has counted, beside an archive's."""
    if counted.get("error"):
        return f"annotations that can't be counted ({counted['error']}), the archive has {annotations}"
    now = int(counted["counts"]["annotations"])
    if now > annotations:
        more = f": at least {now - annotations} came after the backup and are there alone"
    elif now < annotations:
        more = f": at least {annotations - now} were deleted after the backup"
    else:
        more = ""
    return f"{now} annotations, the archive has {annotations}{more}"


def say_status(home: Home, service: Optional[str] = None) -> None:
    """A line on the newest archive and the schedule, which is a warning when the schedule fails.

    service: the state of the backup service's container.
    """
    archive = newest_archive(home)
    newest = f"{archive.name}, {_ago(time.time() - dated(archive))}" if archive else "none yet"
    status = read_status(home)
    if service in DOWN:
        line("backups", f"WARNING: the backup service is {service}; newest: {newest}")
    elif status is None:
        line("backups", newest)
    elif status.error:
        line("backups", f"WARNING: the schedule fails since {status.since}: {status.error} Newest: {newest}")
    else:
        every = f"every {status.every_hours} h" if status.every_hours else "only by `make backup`"
        line("backups", f"{every}; newest: {newest}")
    if ahead := archives_ahead(home):
        line("backups", f"WARNING: {ahead_in_words(ahead)}")


def _ago(seconds: float) -> str:
    if seconds < -CLOCK_LEEWAY_SECONDS:
        return "dated in the future"
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"
