"""The cluster's detectors, for the trainer on this machine: `python -m cluster.pool`.

POST /predict is answered as the ML backend does, POST /look with all that a version finds in images, each by
the detector that has the least to do. GET /health says how many batches can be asked for at once. It listens
on 127.0.0.1 alone.

Ray ends a program whose head is away for a minute. supervisord starts this one again, which waits for it.
"""

import logging
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
import anyio.to_thread
import ray
import uvicorn
from fastapi import Depends, FastAPI, Request, status
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from cluster.detectors import Detectors, NoDetector
from labelloop.connection import USER
from labelloop.errors import in_one_line
from labelloop.layout import pool_port
from labelloop.log_lines import SHORT_LINE, TIMES
from labelloop.settings import MissingSecret
from trainer.cluster.code_version import code_version
from trainer.cluster.driver import CannotReach, connect
from trainer.cluster.nodes import Node, alive
from trainer.env import TrainerSettings, get_settings
from trainer.system.basic_auth import only

log = logging.getLogger(__name__)

LOOK_S = 3.0
HEAD_PAUSE_S = 5.0
LONGEST_S = 1200.0
"""A batch of a large detector on a CPU takes minutes for each of two looks, and shares it with another."""
REQUESTS = 1000


class Asked(BaseModel):
    """within_s: the seconds in which an answer is worth having."""

    within_s: Annotated[float, Field(gt=0, le=LONGEST_S)] = LONGEST_S


class Predict(Asked):
    """The part of label-studio-ml's request that a detector needs, and the version and classes that are
    wanted.
    """

    tasks: list[dict[str, Any]]
    project: str
    label_config: str
    version: str
    classes: list[str]


class Look(Asked):
    """folder: of a version. It and the files are paths below LABELLOOP_HOME."""

    folder: str
    files: list[str]


def create_app(detectors: Detectors, password: str) -> FastAPI:
    """The application; what it answers but /health wants basic auth, as the ML backend does."""

    @asynccontextmanager
    async def with_threads(app: FastAPI) -> AsyncIterator[None]:
        """Requests wait for machines, on a thread each."""
        anyio.to_thread.current_default_thread_limiter().total_tokens = REQUESTS
        yield

    app = FastAPI(
        title="labelloop's detectors", docs_url=None, redoc_url=None, openapi_url=None, lifespan=with_threads
    )

    guarded = [Depends(only(USER, password))]

    @app.get("/health")
    async def health() -> dict[str, Any]:
        places = detectors.places
        return {"status": "UP" if places else "DOWN", "places": places, "machines": detectors.machines}

    @app.exception_handler(NoDetector)
    def none(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": in_one_line(error)}, status.HTTP_503_SERVICE_UNAVAILABLE)

    @app.post("/predict", dependencies=guarded)
    def predict(asked: Predict) -> dict[str, Any]:
        return {"results": detectors.predict(**asked.model_dump())}

    @app.post("/look", dependencies=guarded)
    def look(asked: Look) -> dict[str, Any]:
        return {"results": detectors.look(**asked.model_dump())}

    return app


def joined(rows: list[dict[str, Any]], head: str) -> list[Node]:
    """The machines that live, but for the head's, whose device the ML backend has.

    rows: of ray.nodes(). head: its address.
    """
    return [node for row in rows if row["NodeManagerAddress"] != head for node in alive([row])]


def follow(detectors: Detectors, settings: TrainerSettings) -> None:
    """Waits for the head, and looks at the cluster's machines for good."""
    said = ""
    while not ray.is_initialized():
        try:
            connect(settings)
        except CannotReach as error:
            if str(error) != said:
                said = str(error)
                log.info("waiting: %s", said)
            time.sleep(HEAD_PAUSE_S)
    version, head = code_version(), settings.cluster_address.rpartition(":")[0]
    while True:
        try:
            detectors.follow(joined(ray.nodes(), head), version)
        except Exception:
            log.exception("the cluster's machines could not be looked at")
        time.sleep(LOOK_S)


def main() -> int:
    settings = get_settings()
    logging.basicConfig(level=settings.log_level.upper(), format=SHORT_LINE, datefmt=TIMES)
    try:
        detectors, password = Detectors(settings), settings.secret("backend_password")
    except MissingSecret as error:
        log.error("%s", error)
        return 2
    threading.Thread(target=follow, args=(detectors, settings), name="machines", daemon=True).start()
    app, port = create_app(detectors, password), pool_port(settings.cluster_port)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
