"""What a host must have before anything is changed on it."""

from __future__ import annotations

import platform
import re
import shlex
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from labelloop import layout
from lifecycle import engine
from lifecycle.build import host_python
from lifecycle.console import Failure, line
from lifecycle.database import server
from lifecycle.database.client import Database
from lifecycle.home import Home
from lifecycle.settings.host import host_memory, services_user
from lifecycle.settings.network import free_port, is_here, port_is_free
from lifecycle.settings.settings import Settings, load

ENGINE = (20, 10)
COMPOSE = (2, 20)
BUILD_GB = 20
RUN_GB = 2
HOST_BUILD_GB = 10
MEMORY_GB = 3.5
PROCESSORS = ("x86_64", "amd64")
_MOUNTED = ("configs", "compose", "images/base/labelloop")
HOST_PORTS = ("MLBACKEND_PORT", "TRAINER_PORT")


def check_docker(
    home: Home,
    settings: Settings,
    *,
    built: bool,
    running: Optional[list[dict[str, Any]]] = None,
    given: Optional[Mapping[str, str]] = None,
) -> None:
    """Engine, Compose, what builds, processor, folders, disk, memory, project name and ports.

    running: the stack's containers on this host; None for Compose's. given: what was typed, for the way out.

    Raises:
        Failure: the first thing that is missing.
    """
    info = engine.engine_info()
    line("engine", engine_version(info))
    check_users(info)
    line("compose", compose_version())
    if not built:
        check_buildx()
    check_processor(str(info.get("Architecture") or PROCESSORS[0]))
    check_readable(home, (settings.containers_user or services_user(home))[0])
    root = Path(str(info.get("DockerRootDir", "/var/lib/docker")))
    line(
        "disk",
        disk(
            root if root.is_dir() else home.root,
            RUN_GB if built else BUILD_GB,
            "Free some (`docker system prune` removes unused images), or move the engine's data-root.",
        ),
    )
    if total := float(info.get("MemTotal", 0)):
        line("memory", memory(total))
    running = engine.containers(settings.project_name) if running is None else running
    check_name(home, settings.project_name, running)
    for text in ports(settings, ours=engine.published_ports(running), given=given):
        line("port", text)


def check_host(
    home: Home,
    settings: Settings,
    *,
    built: bool,
    running: bool,
    given: Optional[Mapping[str, str]] = None,
) -> None:
    """Folder, Python, disk, memory, and the ports of all services. given: what was typed, for the way out.

    Raises:
        Failure: the first thing that is missing.
    """
    for folder in (home.root, home.venvs):
        check_folder(folder)
    check_processor(platform.machine())
    line("python", host_python.find_python())
    if settings.on_postgres:
        line("database", database(home, settings, running=running))
    needed = RUN_GB if built else HOST_BUILD_GB
    line("disk", disk(home.root, needed, "Free some, or clone the repository onto a larger disk."))
    if total := host_memory():
        line("memory", memory(total))
    for text in ports(settings, ours=load(home).published_ports if running else (), given=given):
        line("port", text)
    check_inner_ports(settings, running=running)


def database(home: Home, settings: Settings, *, running: bool) -> str:
    """What PostgreSQL needs of this host, and its port.

    Raises:
        Failure: what is missing; a server elsewhere that lets nobody in.
    """
    if settings.own_postgres:
        port = settings.database_port
        if "DATABASE_PORT" in settings and not running and not port_is_free("127.0.0.1", port):
            raise Failure(
                f"port {port} on 127.0.0.1",
                found="another program listening",
                needed="a free port for DATABASE_PORT",
                do=f"Write DATABASE_PORT={free_port(port)} into {home.env_file}.",
            )
        return f"PostgreSQL of {server.check(home)}, on 127.0.0.1 alone"
    found = Database.of(home, database_environment(home, settings))
    assert found is not None, "settings that are on PostgreSQL name a server"
    [[version]] = found.ask("SHOW server_version")
    return f"PostgreSQL {version} at {found.access.place}"


def database_environment(home: Home, settings: Settings) -> dict[str, str]:
    """What `Database.of` reads, of settings that need not be kept yet."""
    ca = settings.get("DATABASE_CA", "")
    return {
        "DATABASE_URL": settings.database_url(),
        "DATABASE_CA": ca,
        "DATABASE_PASSWORD": settings.get("DATABASE_PASSWORD", ""),
    }


def engine_version(info: dict[str, Any]) -> str:
    """`info`: the engine's own words, see engine.engine_info.

    Raises:
        Failure: no engine, or one that is too old.
    """
    return _version(
        "engine", info.get("ServerVersion"), ENGINE, "Install Docker Engine, or use RUNTIME=host."
    )


def compose_version() -> str:
    """Raises Failure when there is no Compose v2, or one that is too old."""
    do = "Install the Compose v2 plugin, or use RUNTIME=host."
    return _version("compose", engine.compose_version(), COMPOSE, do)


def check_buildx() -> None:
    """Raises Failure for a client that needs the plugin for building, and lacks it."""
    if not engine.can_build():
        raise Failure(
            "Docker buildx",
            found="none",
            needed="the plugin, which Docker 23 and newer build with",
            do="Install it (docker-buildx-plugin, or docker-buildx), or use RUNTIME=host.",
        )


def check_users(info: dict[str, Any]) -> None:
    """Raises Failure for an engine whose containers' users are others on this host."""
    options = " ".join(info.get("SecurityOptions") or ())
    for option, name in (("name=rootless", "rootless mode"), ("name=userns", "userns-remap")):
        if option in options:
            raise Failure(
                "Docker engine",
                found=name,
                needed="containers that run as the user who owns volumes/",
                do="Use the system's own engine (`docker context ls`), or RUNTIME=host.",
            )


def check_processor(machine: str) -> None:
    """Raises Failure for one that the locked packages aren't made for."""
    if machine.lower() not in PROCESSORS:
        raise Failure(
            "the processor",
            found=machine,
            needed="x86-64, for which the packages are locked",
            do="Run labelloop on an x86-64 machine, and open its pages from here: `make up BIND=…` there.",
        )


def check_readable(home: Home, user: int) -> None:
    """Raises Failure when the containers' user can't read what they have from the checkout."""
    trees = (path for name in _MOUNTED for path in (home.root / name, *(home.root / name).rglob("*")))
    for path in (home.volumes / layout.IMAGES, *trees):
        if path.exists() and "__pycache__" not in path.parts and not _is_readable(path, user):
            raise Failure(
                f"{path}",
                found=f"closed to others (mode {path.stat().st_mode & 0o777:o})",
                needed=f"readable by user {user}, the containers'",
                do=f"`chmod -R go+rX {' '.join(_MOUNTED)} volumes/images`.",
            )


def _is_readable(path: Path, user: int) -> bool:
    status = path.stat()
    needed = 0o005 if path.is_dir() else 0o004
    return status.st_uid == user or status.st_mode & needed == needed


def check_folder(folder: Path) -> None:
    """Raises Failure for a name that supervisord would read as two, or not at all."""
    if odd := re.search(r"""[\s%'"\\]""", str(folder)):
        raise Failure(
            f"the folder {folder}",
            found=f"{odd[0]!r} in its name",
            needed="no blank, %, quote or backslash, which supervisord can't take",
            do="Move the checkout (or LABELLOOP_VENVS) to another, or use RUNTIME=docker.",
        )


def check_inner_ports(settings: Settings, *, running: bool) -> None:
    """Those that only the host runtime's own programs use; raises Failure when one is taken."""
    for name in HOST_PORTS:
        if name in settings and not running and not port_is_free("127.0.0.1", int(settings[name])):
            raise Failure(
                f"port {settings[name]} on 127.0.0.1",
                found="another program listening, perhaps another checkout's",
                needed=f"a free port for {name}",
                do=f"`make up {name}={free_port(int(settings[name]))}`.",
            )


def _version(name: str, found: Optional[Any], needed: tuple[int, int], do: str) -> str:
    wanted = ".".join(map(str, needed))
    match = re.search(r"(\d+)\.(\d+)", str(found or ""))
    if match is None or (int(match[1]), int(match[2])) < needed:
        raise Failure(f"Docker {name}", found=str(found or "none"), needed=f"{wanted} or newer", do=do)
    return f"{found} (needed {wanted})"


def disk(where: Path, needed: int, do: str) -> str:
    """Raises Failure where fewer than `needed` GB are free."""
    free = shutil.disk_usage(where).free / 1e9
    if free < needed:
        raise Failure(f"disk space at {where}", found=f"{free:.1f} GB free", needed=f"{needed} GB", do=do)
    return f"{free:.0f} GB free (needed {needed})"


def memory(total: float) -> str:
    """Raises Failure when `total` bytes are too few."""
    if total < MEMORY_GB * 1e9:
        raise Failure(
            "memory",
            found=f"{total / 1e9:.1f} GB",
            needed=f"{MEMORY_GB} GB",
            do="Give the machine (or Docker's virtual machine) more.",
        )
    return f"{total / 1e9:.0f} GB (needed {MEMORY_GB})"


def check_name(home: Home, project: str, running: list[dict[str, Any]]) -> None:
    """Raises Failure when containers of that Compose project come from another checkout."""
    elsewhere = {engine.folder_of(container) for container in running} - {str(home.root), ""}
    if elsewhere:
        raise Failure(
            f"the name {project}",
            found=f"a stack of that name from {', '.join(sorted(elsewhere))}",
            needed="a free name",
            do=f"`make down` there, or `make up COMPOSE_PROJECT_NAME={project}2 PORT=…` here.",
        )


def ports(
    settings: Settings, *, ours: Collection[int], given: Optional[Mapping[str, str]] = None
) -> Iterator[str]:
    """A line on each published port; raises Failure when a program that isn't ours has it."""
    label_studio, dashboard = settings.published_ports
    if label_studio == dashboard:
        raise Failure(
            "DASHBOARD_PORT",
            found=f"{dashboard}, which is PORT",
            needed="another one",
            do=f"For example {_make_up(given, 'DASHBOARD_PORT', dashboard + 1)}.",
        )
    address = settings.bind
    if not is_here(address):
        raise Failure(
            "BIND",
            found=f"{address}, which is no address of this host",
            needed="one that is, or 0.0.0.0 for all of them",
            do="`ip -4 address` lists them.",
        )
    for name, port in (("PORT", label_studio), ("DASHBOARD_PORT", dashboard)):
        yield _port(address, name, port, port in ours, given)


def _port(address: str, name: str, port: int, ours: bool, given: Optional[Mapping[str, str]]) -> str:
    if not ours and not port_is_free(address, port):
        raise Failure(
            f"port {port} on {address}",
            found="another program listening",
            needed="a free port",
            do=f"Stop that program, or choose another: {_make_up(given, name, port + 2)}.",
        )
    return f"{name} {address}:{port}" + (" (ours)" if ours else " is free")


def _make_up(given: Optional[Mapping[str, str]], name: str, value: int) -> str:
    """What to type instead, with all that was typed: nothing of it is kept yet."""
    words = {**(given or {}), name: str(value)}
    return f"`make up {' '.join(shlex.quote(f'{name}={value}') for name, value in words.items())}`"
