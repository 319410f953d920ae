"""What programs on the host runtime are given by environment variables."""

from __future__ import annotations

import os

from labelloop import layout, ray_environment
from lifecycle.build.venvs import PACKAGES
from lifecycle.home import Home
from lifecycle.settings.known import ALL_SECRETS
from lifecycle.settings.proxies import proxies
from lifecycle.settings.settings import Settings


def _cluster(home: Home) -> dict[str, str]:
    """By which Ray's programs know one another, as compose/cluster.yml has it."""
    token = home.secrets / "CLUSTER_TOKEN"
    return {"CLUSTER_DIR": str(home.cluster), **ray_environment.variables(home.cluster, token)}


def environment(home: Home, settings: Settings) -> dict[str, str]:
    """What the images and docker-compose.yml give the programs, with this host's paths and ports."""
    bind, port = settings.bind, settings.port
    backend, trainer = f"127.0.0.1:{settings.mlbackend_port}", f"127.0.0.1:{settings.trainer_port}"
    reach = "127.0.0.1" if bind == "0.0.0.0" else bind
    everything = {**os.environ, **settings}
    # A shell's RAY_ADDRESS names another cluster.
    hidden = {*ALL_SECRETS, "RAY_ADDRESS"}
    open_to_see = {name: value for name, value in everything.items() if name not in hidden}
    return {
        **open_to_see,
        "SECRETS_DIR": str(home.secrets),
        "LABELLOOP_HOME": str(home.root),
        # What `make up` found; the operator's word may be auto, or missing.
        "ACCELERATOR": settings.device,
        # An environment for the CPU lacks what torch would call on the GPU that it finds.
        **({} if settings.device == "cuda" else {"CUDA_VISIBLE_DEVICES": ""}),
        "LABELSTUDIO_BIN": str(home.venvs / "labelstudio" / "bin"),
        "ML_BIN": str(home.venvs / "ml" / "bin"),
        "PYTHONPATH": os.pathsep.join(str(home.root / package) for package in (*PACKAGES, "compose")),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": settings.get("THREADS", "1"),
        "OMP_WAIT_POLICY": "PASSIVE",
        "MALLOC_ARENA_MAX": "2",
        "SQLITE_TMPDIR": str(home.volumes / layout.CACHE),
        "DATABASE_URL": settings.database_url(),
        **(_cluster(home) if settings.in_cluster else {}),
        "LABELSTUDIO_URL": f"http://{reach}:{port}",
        "MLBACKEND_URL": f"http://{backend}",
        "TRAINER_URL": f"http://{trainer}",
        "LABELSTUDIO_LOG": "/dev/stdout",
        "LOG_MAXBYTES": "0",
        "LABELSTUDIO_BIND": f"{bind}:{port}",
        "MLBACKEND_BIND": backend,
        "TRAINER_BIND": trainer,
        "DASHBOARD_BIND": f"{bind}:{settings.dashboard_port}",
        "LABELSTUDIO_PORT": str(port),
        "DASHBOARD_PORT": str(settings.dashboard_port),
        **proxies(settings, reach),
    }
