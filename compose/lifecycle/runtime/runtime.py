"""Docker, a swarm or the host, CPU or GPU: what this checkout runs on."""

from __future__ import annotations

from typing import Optional, Union

from lifecycle import engine
from lifecycle.console import Failure, line
from lifecycle.home import Home
from lifecycle.runtime.docker_stack import DockerStack
from lifecycle.runtime.host_stack import HostStack
from lifecycle.runtime.swarm_stack import SwarmStack
from lifecycle.settings.settings import Settings

Stack = Union[DockerStack, HostStack]

DOCKER, SWARM, HOST = "docker", "swarm", "host"


def choose_runtime(settings: Settings) -> str:
    """`docker` or `swarm`, whose engine answers, or `host`: see `asked_runtime`, else Docker when there is an
    engine.

    Raises:
        NoEngine: it has to be Docker, or an engine is there but refuses us.
    """
    chosen = asked_runtime(settings)
    if chosen == HOST:
        return chosen
    trouble = engine.trouble()
    if trouble is None:
        return SWARM if chosen == SWARM else DOCKER
    if chosen in (DOCKER, SWARM) or trouble.is_there:
        raise trouble
    line(
        "runtime",
        "no Docker engine answers: running on the host itself (RUNTIME=docker insists on Docker)",
    )
    return HOST


def asked_runtime(settings: Settings) -> str:
    """RUNTIME if it names one, else what the stack ran on last; `auto` where it never ran."""
    return settings.runtime if settings.runtime != "auto" else settings.last_runtime


def check_alone(home: Home, settings: Settings, runtime: str) -> None:
    """Raises Failure while this checkout's stack runs on another runtime: all keep state in volumes/."""
    runs = {
        HOST: HostStack(home, settings).is_there,
        DOCKER: DockerStack(home, settings.project_name).runs_here,
        SWARM: SwarmStack(home, settings).runs_here,
    }
    for other, runs_here in runs.items():
        if other != runtime and runs_here():
            raise Failure(
                "the runtime",
                found=f"this checkout's stack running on {other}",
                needed=f"none, to start one on {runtime}",
                do=f"Stop it, `make down RUNTIME={other}`, or stay with it, `make up RUNTIME={other}`.",
            )


def choose_accelerator(settings: Settings, runtime: str) -> str:
    """`cpu` or `cuda`: ACCELERATOR if it names one, else by whether NVIDIA's runtime or driver answers."""
    if settings.accelerator in ("cpu", "cuda"):
        return settings.accelerator
    answers = engine.gpu_architecture() is not None if runtime == HOST else engine.nvidia_runtime_answers()
    return "cuda" if answers else "cpu"


def choose_architecture(settings: Settings, accelerator: str) -> Optional[str]:
    """The GPU that CUDA operators are compiled for: TORCH_CUDA_ARCH_LIST, else this host's; None for `cpu`.

    Raises:
        Failure: `cuda`, and no GPU here to ask.
    """
    if accelerator != "cuda":
        return None
    architecture = settings.get("TORCH_CUDA_ARCH_LIST") or engine.gpu_architecture()
    if not architecture:
        raise Failure(
            "the GPU's architecture",
            found="no GPU that nvidia-smi lists",
            needed="one to compile CUDA operators for",
            do="Name it, for example `make up TORCH_CUDA_ARCH_LIST=8.6`, or use ACCELERATOR=cpu.",
        )
    return architecture


def running_stack(home: Home, settings: Settings) -> Stack:
    """The stack to speak to: the host's if it runs, else the chosen runtime's.

    Raises:
        NoEngine: it is Docker's, and can't be asked.
    """
    host = HostStack(home, settings)
    if settings.runtime not in (DOCKER, SWARM) and host.is_running():
        return host
    runtime = choose_runtime(settings)
    return host if runtime == HOST else docker_stack(home, settings, runtime)


def docker_stack(home: Home, settings: Settings, runtime: str = DOCKER) -> DockerStack:
    """runtime: docker, or swarm."""
    if runtime == SWARM:
        return SwarmStack(home, settings)
    front = settings.replicas > 1
    worker = bool(settings.cluster_head)
    return DockerStack(
        home, settings.project_name, own_postgres=settings.own_postgres, front=front, worker=worker
    )
