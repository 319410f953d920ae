"""What a host must have before anything is changed on it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, Optional

from lifecycle import engine, host_python
from lifecycle.console import Failure, line
from lifecycle.home import Home
from lifecycle.network import free_port, port_is_free
from lifecycle.settings import dashboard_port, host_memory

ENGINE = (20, 10)
COMPOSE = (2, 20)
BUILD_GB = 20
RUN_GB = 2
HOST_BUILD_GB = 10
MEMORY_GB = 3.5
HOST_PORTS = ("MLBACKEND_PORT", "TRAINER_PORT")


def check_docker(home: Home, settings: dict[str, str], *, built: bool) -> None:
    """Engine, Compose, disk, memory, project name and ports.

    Raises:
        Failure: the first thing that is missing.
    """
    info = engine.engine_info()
    _version("engine", info.get("ServerVersion"), ENGINE, "Install Docker Engine, or use RUNTIME=host.")
    _version(
        "compose", engine.compose_version(), COMPOSE, "Install the Compose v2 plugin, or use RUNTIME=host."
    )
    root = Path(str(info.get("DockerRootDir", "/var/lib/docker")))
    _disk(
        root if root.is_dir() else home.root,
        RUN_GB if built else BUILD_GB,
        "Free some (`docker system prune` removes unused images), or move the engine's data-root.",
    )
    _memory(float(info.get("MemTotal", 0)))
    project = settings.get("COMPOSE_PROJECT_NAME", "labelloop")
    running = engine.containers(project)
    _project(home, project, running)
    services = {engine.service_of(container) for container in running if container["State"]["Running"]}
    _ports(settings, label_studio_ours="labelstudio" in services, dashboard_ours="trainer" in services)


def check_host(home: Home, settings: dict[str, str], *, built: bool, running: bool) -> None:
    """Python, disk, memory, and the ports of all services.

    Raises:
        Failure: the first thing that is missing.
    """
    line("python", host_python.find_python())
    _disk(
        home.root,
        RUN_GB if built else HOST_BUILD_GB,
        "Free some, or clone the repository onto a larger disk.",
    )
    _memory(host_memory())
    _ports(settings, label_studio_ours=running, dashboard_ours=running)
    for name in HOST_PORTS:
        if name in settings and not running and not port_is_free("127.0.0.1", int(settings[name])):
            raise Failure(
                f"port {settings[name]} on 127.0.0.1",
                found="another program listening, perhaps another checkout's",
                needed=f"a free port for {name}",
                do=f"`make up {name}={free_port(int(settings[name]))}`.",
            )


def _version(name: str, found: Optional[Any], needed: tuple[int, int], do: str) -> None:
    wanted = ".".join(map(str, needed))
    match = re.search(r"(\d+)\.(\d+)", str(found or ""))
    if match is None or (int(match[1]), int(match[2])) < needed:
        raise Failure(f"Docker {name}", found=str(found or "none"), needed=f"{wanted} or newer", do=do)
    line(name, f"{found} (needed {wanted})")


def _disk(where: Path, needed: int, do: str) -> None:
    free = shutil.disk_usage(where).free / 1e9
    if free < needed:
        raise Failure(f"disk space at {where}", found=f"{free:.1f} GB free", needed=f"{needed} GB", do=do)
    line("disk", f"{free:.0f} GB free (needed {needed})")


def _memory(total: float) -> None:
    if not total:
        return
    if total < MEMORY_GB * 1e9:
        raise Failure(
            "memory",
            found=f"{total / 1e9:.1f} GB",
            needed=f"{MEMORY_GB} GB",
            do="Give the machine (or Docker's virtual machine) more.",
        )
    line("memory", f"{total / 1e9:.0f} GB (needed {MEMORY_GB})")


def _project(home: Home, project: str, running: list[dict[str, Any]]) -> None:
    elsewhere = {engine.folder_of(container) for container in running} - {str(home.root), ""}
    if elsewhere:
        raise Failure(
            f"the name {project}",
            found=f"a stack of that name from {', '.join(sorted(elsewhere))}",
            needed="a free name",
            do=f"`make down` there, or `make up COMPOSE_PROJECT_NAME={project}2 PORT=…` here.",
        )


def _ports(settings: dict[str, str], *, label_studio_ours: bool, dashboard_ours: bool) -> None:
    label_studio, dashboard = int(settings.get("PORT", "8080")), dashboard_port(settings)
    if label_studio == dashboard:
        raise Failure(
            "DASHBOARD_PORT",
            found=f"{dashboard}, which is PORT",
            needed="another one",
            do=f"For example `make up DASHBOARD_PORT={dashboard + 1}`.",
        )
    _port(settings, label_studio_ours, "PORT", label_studio)
    _port(settings, dashboard_ours, "DASHBOARD_PORT", dashboard)


def _port(settings: dict[str, str], ours: bool, name: str, port: int) -> None:
    address = settings.get("BIND", "127.0.0.1")
    if not ours and not port_is_free(address, port):
        raise Failure(
            f"port {port} on {address}",
            found="another program listening",
            needed="a free port",
            do=f"Stop that program, or choose another: `make up {name}={port + 2}`.",
        )
    line("port", f"{name} {address}:{port}" + (" (ours)" if ours else " is free"))
