"""Docker: is there an engine, which accelerator has it, and `docker compose` for this checkout."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Optional

from lifecycle.console import Failure
from lifecycle.shell import answer, ask

SERVICES = ("labelstudio", "trainer", "mlbackend")
FOLDER_LABEL = "labelloop.folder"
"""Of a container that Swarm runs: the checkout that it is of."""
PROBE_SECONDS = 30.0
"""An engine that builds or starts much may take so long to say who it is."""
BUILDX_SINCE = 23
_WITHOUT = "or run without Docker: `make up RUNTIME=host`."
# What docker says, whether there is an engine then, and the way out.
_REFUSALS = (
    ("could not start", False, "Install Docker Engine,"),
    ("permission denied", True, "`sudo usermod -aG docker $USER` and log in again,"),
    ("did not answer within", True, "`sudo systemctl restart docker` if it stays so,"),
    ("", False, "`sudo systemctl start docker`,"),
)


class NoEngine(Failure):
    """No engine answers. is_there: it refuses us or hangs; otherwise there is none, or it is down."""

    def __init__(self, said: str) -> None:
        self.is_there, do = next((there, do) for words, there, do in _REFUSALS if words in said.lower())
        super().__init__(f"no Docker engine answers: {said}", do=f"{do} {_WITHOUT}")


def trouble() -> Optional[NoEngine]:
    """Why no engine answers; None when one does."""
    try:
        ask(["docker", "version", "--format", "{{.Server.Version}}"], seconds=PROBE_SECONDS)
    except Failure as error:
        return NoEngine(error.text)
    return None


def engine_version() -> Optional[str]:
    """The engine's version; None when none answers."""
    return answer(["docker", "version", "--format", "{{.Server.Version}}"], seconds=PROBE_SECONDS) or None


def compose_version() -> Optional[str]:
    return answer(["docker", "compose", "version", "--short"], seconds=PROBE_SECONDS) or None


def can_build() -> bool:
    """Whether the client has BuildKit: as its plugin buildx, or, before Docker 23, within itself."""
    if answer(["docker", "buildx", "version"], seconds=PROBE_SECONDS) is not None:
        return True
    client = answer(["docker", "version", "--format", "{{.Client.Version}}"], seconds=PROBE_SECONDS)
    major = re.match(r"\d+", client or "")
    return major is not None and int(major[0]) < BUILDX_SINCE


def engine_info() -> dict[str, Any]:
    """`docker info`; empty when no engine answers."""
    info = json.loads(answer(["docker", "info", "--format", "{{json .}}"], seconds=PROBE_SECONDS) or "{}")
    return info if isinstance(info, dict) else {}


def nvidia_runtime_answers() -> bool:
    """Whether the engine knows the NVIDIA runtime and the host's driver lists a GPU."""
    return "nvidia" in engine_info().get("Runtimes", {}) and gpu_architecture() is not None


def gpu_architecture() -> Optional[str]:
    """The first GPU's compute capability, for example 8.6; None without a GPU."""
    told = answer(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"], seconds=PROBE_SECONDS)
    match = re.match(r"\d+\.\d+", told or "")
    return match[0] if match else None


def compose(*arguments: str) -> list[str]:
    """The command line of `docker compose`, for the checkout's root, whose .env names files and project."""
    return ["docker", "compose", *arguments]


def containers(project: str) -> list[dict[str, Any]]:
    """`docker inspect` of the project's containers, running or not."""
    ours = f"label=com.docker.compose.project={project}"
    ids = answer(["docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", ours])
    if not ids:
        return []
    found = json.loads(answer(["docker", "inspect", *ids.split()]) or "[]")
    # What `docker compose run` starts beside a service is not the service.
    return [one for one in found if not _is_one_off(one)] if isinstance(found, list) else []


def service_of(container: dict[str, Any]) -> str:
    return str(container["Config"]["Labels"].get("com.docker.compose.service", ""))


def _is_one_off(container: dict[str, Any]) -> bool:
    labels = container.get("Config", {}).get("Labels") or {}
    return bool(labels.get("com.docker.compose.oneoff") == "True")


def folder_of(container: dict[str, Any]) -> str:
    """The project directory that the container was started from."""
    labels = container["Config"]["Labels"]
    return str(labels.get("com.docker.compose.project.working_dir") or labels.get(FOLDER_LABEL, ""))


def published_ports(containers: list[dict[str, Any]]) -> set[int]:
    """Of the host, by those of `containers` that run. The trainer has the dashboard's itself where it is on
    the host's own network (compose/cluster-hosts.yml).
    """
    running = [container for container in containers if container["State"]["Running"]]
    published = [bound for one in running for bound in (one["HostConfig"]["PortBindings"] or {}).values()]
    told = [word for one in running if _is_on_the_hosts_network(one) for word in one["Config"]["Env"] or ()]
    own = {int(word.rpartition(":")[2]) for word in told if word.startswith("DASHBOARD_BIND=")}
    return own | {int(place["HostPort"]) for places in published for place in places if place["HostPort"]}


def _is_on_the_hosts_network(container: dict[str, Any]) -> bool:
    return bool(container["HostConfig"].get("NetworkMode") == "host")


def build_arguments() -> dict[str, str]:
    """The host's package index, proxies and certificates, for every build: x-build-args of
    docker-compose.yml.
    """
    names = ("PIP_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "CA_PEM")
    found = {name: os.environ.get(name) or os.environ.get(name.lower()) for name in names}
    return {name: value for name, value in found.items() if value}
