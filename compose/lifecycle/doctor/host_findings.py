"""What `make doctor` looks at without asking any service: settings, folders, clock and backups."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path

from labelloop import layout
from labelloop.findings import Finding, ok, problem, warning
from lifecycle import engine
from lifecycle.backup.archive import CLOCK_LEEWAY_SECONDS, ahead_in_words, archives_ahead, newest_archive
from lifecycle.backup.service import DOWN, read_status
from lifecycle.console import Failure
from lifecycle.database.client import Database
from lifecycle.doctor import checks
from lifecycle.doctor.findings import of_failure
from lifecycle.home import Home
from lifecycle.runtime.volumes import PRIVATE, SHARED, STATE
from lifecycle.settings import settings as settings_module
from lifecycle.settings.host import host_memory
from lifecycle.settings.known import ALL_SECRETS
from lifecycle.settings.settings import Settings

SHOWN = 3


def host(home: Home) -> Iterator[Finding]:
    system = f"{platform.system()} {platform.release()} ({platform.machine()})"
    yield ok("host", f"{system}, Python {platform.python_version()}, {os.cpu_count()} cores")
    total = host_memory()
    yield ok("memory", checks.memory(total) if total else "can't be told here")


def settings(home: Home) -> Iterator[Finding]:
    try:
        settings_module.check_stored(home, {})
    except Failure as error:
        yield problem("settings", error.text, error.do, "make up")
        return
    yield ok("settings", "every one has a possible value")


def env_file(home: Home) -> Iterator[Finding]:
    if not home.env_file.exists():
        yield warning(".env", "not there", "`make up` writes it.", "make up")
        return
    mode = home.env_file.stat().st_mode & 0o777
    if mode & 0o077:
        yield problem(
            ".env",
            f"mode {mode:o}: others can read its secrets",
            "Close it; if somebody may have read it, `make rotate-secrets`.",
            f"chmod 600 {home.env_file}",
        )
    else:
        yield ok(".env", f"mode {mode:o}")


def gpu(values: Settings, info: Mapping[str, object], runtime: str) -> Iterator[Finding]:
    """Compares the GPU there is with the one asked for and the one built for. info: `docker info`."""
    architecture = engine.gpu_architecture()
    runtimes = info.get("Runtimes")
    reached = runtime == "host" or (isinstance(runtimes, dict) and "nvidia" in runtimes)
    asked, built = values.accelerator, values.get("COMPOSE_ACCELERATOR", "")
    toolkit = "Install the driver and NVIDIA's Container Toolkit: docs/how-to/gpu.md."
    if architecture and reached:
        if asked == "auto" and built == "cpu":
            yield warning("gpu", f"compute capability {architecture}, unused", "Build for it.", "make up")
        else:
            yield ok("gpu", f"compute capability {architecture}, asked for: {asked}")
    elif "cuda" in (asked, built):
        seen = "nvidia-smi lists one, Docker doesn't"
        if not architecture:
            seen = "none that nvidia-smi lists, so all runs on the CPU"
        yield problem("gpu", f"{seen}; asked for: {asked}", toolkit, "make up ACCELERATOR=cpu")
    elif architecture and asked == "auto":
        yield warning("gpu", "Docker can't use the one that nvidia-smi lists", toolkit, "make up")
    else:
        yield ok("gpu", "none in use")


def disk(home: Home, info: Mapping[str, object]) -> Iterator[Finding]:
    docker_root = Path(str(info.get("DockerRootDir") or home.root))
    wheres = {str(home.root), str(docker_root if docker_root.is_dir() else home.root)}
    for where in sorted(wheres):
        try:
            free = checks.disk(
                Path(where),
                checks.RUN_GB,
                "Free some, or keep less: KEEP_ROUNDS, KEEP_VERSIONS, BACKUP_KEEP.",
            )
            yield ok("disk", f"{where}: {free}")
        except Failure as error:
            command = "docker system prune" if info else f"du -sh {home.volumes}/*"
            yield problem("disk", error.text, error.do, command)


def volumes(home: Home, values: Settings, runtime: str) -> Iterator[Finding]:
    """Whether the folders of state are there, the services' own, and closed where tokens are in them. A
    machine that has joined a cluster has those alone that it shares with the head.
    """
    wanted = SHARED if values.cluster_head else layout.VOLUMES
    missing = [name for name in wanted if not (home.volumes / name).is_dir()]
    if missing and values.cluster_head:
        text = f"not there: {', '.join(missing)}"
        yield problem(
            "volumes", text, "Mount the head's there: docs/how-to/several-machines.md.", "make join"
        )
    elif missing:
        yield warning("volumes", f"not there yet: {', '.join(missing)}", "`make up` makes them.", "make up")
    there = [name for name in wanted if name not in missing]
    foreign = [name for name in STATE if name in there and not _is_ours(home.volumes / name, values, runtime)]
    if foreign:
        user = _user(values) if runtime != "host" else (os.geteuid(), os.getegid())
        folders = " ".join(str(home.volumes / name) for name in foreign)
        yield problem(
            "volumes",
            f"not the services' own: {', '.join(foreign)}",
            f"Give them to user {user[0]}.",
            f"sudo chown -R {user[0]}:{user[1]} {folders}",
        )
    opened = [name for name in PRIVATE if name in there and _is_open(home.volumes / name)]
    for name in opened:
        text = f"volumes/{name} is open to others, and holds tokens"
        yield problem("volumes", text, "Close it.", f"chmod 700 {home.volumes / name}")
    if not missing and not foreign and not opened:
        yield ok("volumes", "all there, and the services' own")


def secrets(home: Home, values: Settings, runtime: str) -> Iterator[Finding]:
    folder = home.secrets
    anew = "`make up` writes them anew from .env."
    if not folder.is_dir():
        yield warning("secrets", f"no {folder}", anew, "make up")
        return
    files = {path.name: path.stat() for path in folder.iterdir()}
    missing = [name for name in ALL_SECRETS if name not in files]
    opened = [name for name, status in files.items() if status.st_mode & 0o077]
    if folder.stat().st_mode & 0o077:
        opened.insert(0, "the folder")
    if missing:
        yield problem("secrets", f"missing: {', '.join(missing)}", anew, "make up")
    if opened:
        text = f"open to others: {', '.join(opened)}"
        yield problem("secrets", text, "Close them.", f"chmod -R go= {folder}")
    if runtime != "host" and any(status.st_uid != _user(values)[0] for status in files.values()):
        yield problem("secrets", f"not readable by user {_user(values)[0]}, the services'", anew, "make up")
    if not missing and not opened:
        yield ok("secrets", f"{len(files)} files")


def clock(home: Home) -> Iterator[Finding]:
    """Files of state that are dated in the future: the clock was set back, or runs wrong."""
    limit = time.time() + CLOCK_LEEWAY_SECONDS
    folders = [home.volumes / name for name in STATE if name != layout.CACHE]
    paths = chain.from_iterable(chain(folder.glob("*"), folder.glob("*/*")) for folder in folders)
    late = sorted(path for path in paths if path.lstat().st_mtime > limit)
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    if not late:
        yield ok("clock", f"{now}; nothing in volumes/ is dated later")
        return
    names = ", ".join(str(path.relative_to(home.root)) for path in late[:SHOWN])
    yield warning(
        "clock",
        f"it is {now}, and {len(late)} files are dated later: {names}",
        "Set the clock; if it is right, date those files today.",
        f"find {home.volumes} -newermt '+1 minute' -exec touch {{}} +",
    )


def backups(home: Home, service: str = "") -> Iterator[Finding]:
    """The newest archive and the schedule. service: its container's state, empty without one."""
    archive = newest_archive(home)
    newest = f"newest: {archive.name}" if archive else "no archive yet"
    status = read_status(home)
    if service in DOWN:
        yield problem("backups", f"the backup service is {service}; {newest}", "Start it again.", "make up")
    elif status is not None and status.error:
        text = f"the schedule fails since {status.since}: {status.error} {newest}"
        yield problem("backups", text, "Mend what it says; meanwhile make one by hand.", "make backup")
    elif archive is None and home.has_labels:
        yield warning("backups", newest, "Make one; the schedule makes the next.", "make backup")
    else:
        every = f"every {status.every_hours} h" if status and status.every_hours else "only by `make backup`"
        yield ok("backups", f"{every}; {newest}")
    if ahead := archives_ahead(home):
        yield warning(
            "backups",
            ahead_in_words(ahead),
            "Set the clock if it is behind. If it is right, it was ahead then: rename or delete them.",
            "date --utc",
        )


def database(home: Home, values: Settings) -> Iterator[Finding]:
    """Whether PostgreSQL lets Label Studio in, and which of its databases no folder of state belongs to."""
    try:
        found = Database.of(home, checks.database_environment(home, values))
        assert found is not None, "settings that are on PostgreSQL name a server"
        [[version]] = found.ask("SHOW server_version")
        size = found.size() / 1e6
        beside = {name for [name] in found.ask("SELECT datname FROM pg_database")}
    except Failure as error:
        yield of_failure("database", error)
        return
    place = found.access.place
    yield ok("database", f"PostgreSQL {version} at {place}, {size:.0f} MB")
    states = home.backups.glob(f"replaced-*/volumes/{layout.LABELSTUDIO}/{layout.DATABASE_NAME_FILE}")
    known = {place.name, *(path.read_text().strip() for path in states)}
    for name in sorted(name for name in beside - known if found.is_of_a_restore(name)):
        text = f"{name} is left of a restore whose replaced-… folder is not in volumes/backups"
        drop = f"psql --dbname={place} --command='DROP DATABASE \"{name}\"'"
        yield warning("database", text, "Drop it, if you have no use for it.", drop)


def project(home: Home) -> Iterator[Finding]:
    """What the provisioner said of Label Studio's project."""
    if not home.provisioned.exists():
        yield warning("project", "Label Studio has not been set up yet", "`make up` does it.", "make up")
        return
    told = json.loads(home.provisioned.read_text())
    if told.get("problem"):
        yield problem("project", str(told["problem"]), "Check the label config.", "make labels")
    elif told.get("waiting"):
        text = f"its setup can't go on: {told['waiting']}"
        yield problem("project", text, "Mend what it says; then set it up again.", "make up")
    elif not told.get("done"):
        yield warning("project", "its setup has not come to its end", "`make up` goes on with it.", "make up")
    else:
        yield ok("project", f"{told.get('project')}: labels, image storage and ML backend are connected")
    if told.get("unknown_admins"):
        yield warning("admins", unknown_admins(told["unknown_admins"]), "Correct ADMINS.", "make up ADMINS=…")


def unknown_admins(addresses: Iterable[str]) -> str:
    return (
        f"ADMINS names nobody of Label Studio: {', '.join(addresses)}. They sign up while it does not name "
        "them, then it makes them administrators"
    )


def ports(values: Settings, *, ours: Collection[int], inner: bool) -> Iterator[Finding]:
    """ours: what our own programs publish. inner: the host runtime's own ports, too."""
    try:
        for text in checks.ports(values, ours=ours):
            yield ok("ports", text)
        if inner:
            checks.check_inner_ports(values, running=bool(ours))
    except Failure as error:
        yield of_failure("ports", error)


def _is_ours(folder: Path, values: Settings, runtime: str) -> bool:
    if runtime != "host":
        return folder.stat().st_uid == _user(values)[0]
    return os.access(folder, os.R_OK | os.W_OK | os.X_OK)


def _is_open(folder: Path) -> bool:
    """To others; a clone's folders, with nothing in them, are closed by the first `make up`."""
    return bool(folder.stat().st_mode & 0o077) and any(path.name[0] != "." for path in folder.iterdir())


def _user(values: Settings) -> tuple[int, int]:
    """The containers' user and group."""
    return values.containers_user or (os.geteuid(), os.getegid())
