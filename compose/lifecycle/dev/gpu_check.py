"""`make gpu-check`: whether this host's GPU gives what its CPU gives, and how fast it is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from lifecycle import engine
from lifecycle.build.images import image_name
from lifecycle.console import Failure, heading
from lifecycle.home import Home
from lifecycle.runtime.runtime import HOST, choose_runtime
from lifecycle.settings import settings
from lifecycle.settings.host import cores
from lifecycle.shell import answer

OUT = "build/gpu-check"
FAILED = 1
"""The program's exit status where a check failed."""
NO_GPU = 65
"""The program's exit status where torch finds no GPU; the reason is on the terminal then."""
_WAY_OUT = "docs/how-to/gpu.md says what a GPU needs; `make doctor` looks at it."


def gpu_check(home: Home, given: Mapping[str, str]) -> None:
    """Runs trainer.gpu_check in the trainer's CUDA image, beside what runs, or in the host's environment.

    Raises:
        Failure: there is no GPU, no image or environment for it, or a check failed.
    """
    if engine.gpu_architecture() is None:
        raise Failure("the GPU", found="none that nvidia-smi lists", needed="one, to check it", do=_WAY_OUT)
    out = home.root / OUT
    out.mkdir(parents=True, exist_ok=True)
    in_force = settings.load(home)
    docker = choose_runtime(in_force) != HOST
    command = in_docker(home, in_force.containers_user) if docker else on_the_host(home)
    heading("The GPU beside the CPU: 8 minutes at most")
    environment = {**os.environ, "LABELLOOP_HOME": str(home.root), "OMP_NUM_THREADS": str(cores())}
    status = subprocess.run(command, cwd=home.root, env=environment, stdin=subprocess.DEVNULL).returncode
    if status == NO_GPU:
        raise Failure("the GPU", found="none that torch could use", needed="one, to check it", do=_WAY_OUT)
    if status == FAILED:
        raise Failure(
            "the check of the GPU",
            found="lines that FAILED, above",
            needed="none",
            do=f"docs/how-to/gpu.md says what each holds, {OUT}/gpu-check.json has the figures; "
            "`make up ACCELERATOR=cpu` goes without the GPU meanwhile.",
        )
    if status != 0:
        raise Failure(f"the check of the GPU broke off with {status}", do="Its last words are above.")


def in_docker(home: Home, user: Optional[tuple[int, int]]) -> list[str]:
    """Without network, on a read-only root; only build/gpu-check is written."""
    image = image_name("trainer", "cuda")
    if answer(["docker", "image", "inspect", "--format", "{{.Id}}", image]) is None:
        do = "`make build ACCELERATOR=cuda` makes it."
        raise Failure("the image", found=f"no {image}", needed="one", do=do)
    owner = user or (os.getuid(), os.getgid())
    out = home.root / OUT
    if user is not None and os.getuid() == 0:
        os.chown(out, *owner)
    weights = home.root / "volumes" / "cache"
    mounts = [f"{home.root / 'configs'}:/labelloop/configs:ro", f"{out}:/labelloop/{OUT}"]
    mounts += [f"{weights}:/labelloop/volumes/cache:ro"] if weights.is_dir() else []
    return [
        *("docker", "run", "--rm", "--init", "--gpus", "all", "--network", "none", "--read-only"),
        *("--tmpfs", "/tmp:size=4g,mode=1777", "--shm-size", "2g", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges:true", "--user", f"{owner[0]}:{owner[1]}"),
        *(word for mount in mounts for word in ("--volume", mount)),
        *("--env", f"OMP_NUM_THREADS={cores()}", image),
        *("python", *_PROGRAM),
    ]


def on_the_host(home: Home) -> list[str]:
    """With the host runtime's environment, which must be there already: it is made with the network."""
    python = home.venvs / "ml" / "bin" / "python"
    if not Path(python).exists():
        raise Failure(
            "the environment",
            found=f"no {python}",
            needed="one",
            do="`make build RUNTIME=host ACCELERATOR=cuda` makes it.",
        )
    return [str(python), *_PROGRAM]


_PROGRAM = ("-m", "trainer.gpu_check", "--out", OUT)
