"""The trainer's HTTP API: the ML backend asks it for rounds."""

import logging
import sys
from functools import cache
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from labelloop.log_lines import SHORT_LINE, TIMES
from labelloop.registry import Registry
from labelloop.settings import MissingSecret
from labelloop.studio import Studio, StudioError
from trainer.api.limits import Limits
from trainer.env import TrainerSettings, get_settings
from trainer.health import health
from trainer.peers.projects import fetch
from trainer.rounds.table import Round, RoundError, Rounds
from trainer.system.basic_auth import only
from trainer.worker.preflight import CannotWork, Preflight

USER = "mlbackend"

log = logging.getLogger(__name__)


class RoundRequest(BaseModel):
    """Who asks, e.g. "button"."""

    requested_by: Annotated[str, Field(min_length=1, max_length=100)] = "api"


class RoundAnswer(BaseModel):
    """joined: True when a round was already open; the answer then describes that round."""

    round: int
    state: str
    joined: bool


def create_app(settings: TrainerSettings, password: str) -> FastAPI:
    """The application; every route but /health asks for basic auth as USER with `password`."""
    app = FastAPI(title="labelloop trainer", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Limits)
    registry = Registry(settings.models_dir)
    rounds = Rounds(settings.rounds_dir, registry)

    @cache
    def connected() -> tuple[Studio, Preflight]:
        studio = Studio.connect(settings)
        return studio, Preflight(settings, studio, registry)

    guarded = [Depends(only(USER, password))]

    def require_project(project_id: int) -> None:
        if project_id not in registry.projects():
            raise HTTPException(status.HTTP_404_NOT_FOUND, f"project {project_id} has no model here")

    def find(round_id: int) -> Round:
        try:
            return rounds.get(round_id)
        except RoundError as error:
            raise HTTPException(status.HTTP_404_NOT_FOUND, str(error)) from error

    @app.exception_handler(RequestValidationError)
    def nonsense(request: Request, error: Exception) -> JSONResponse:
        """Answers without the input, since JSON cannot always represent it."""
        assert isinstance(error, RequestValidationError)
        told = [{"loc": list(row["loc"]), "msg": row["msg"], "type": row["type"]} for row in error.errors()]
        return JSONResponse({"detail": told}, status.HTTP_422_UNPROCESSABLE_CONTENT)

    @app.get("/health")
    def get_health(response: Response) -> dict[str, Any]:
        found = health.look(settings)
        if not found.well:
            response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
        return found.as_dict()

    @app.post("/projects/{project_id}/rounds", status_code=status.HTTP_201_CREATED, dependencies=guarded)
    def request_round(project_id: int, asked: RoundRequest) -> RoundAnswer:
        require_project(project_id)
        try:
            studio, preflight = connected()
            round_, joined = preflight.request(rounds, fetch(studio, project_id), asked.requested_by)
        except CannotWork as error:
            raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from error
        except (StudioError, MissingSecret) as error:
            raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, str(error)) from error
        return RoundAnswer(round=round_.id, state=round_.state, joined=joined)

    @app.get("/projects/{project_id}/rounds", dependencies=guarded)
    def list_rounds(project_id: int) -> list[dict[str, Any]]:
        require_project(project_id)
        return [round_.as_dict() for round_ in rounds.history(project_id)]

    @app.get("/rounds/{round_id}", dependencies=guarded)
    def get_round(round_id: int) -> dict[str, Any]:
        return find(round_id).as_dict()

    @app.post("/rounds/{round_id}/cancel", dependencies=guarded)
    def cancel_round(round_id: int) -> dict[str, Any]:
        find(round_id)
        try:
            return rounds.cancel(round_id).as_dict()
        except RoundError as error:
            raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from error

    return app


def main() -> int:
    settings = get_settings()
    logging.basicConfig(level=settings.log_level.upper(), format=SHORT_LINE, datefmt=TIMES)
    try:
        app = create_app(settings, settings.secret("trainer_password"))
    except MissingSecret as error:
        log.error("%s", error)
        return 2
    host, port = settings.bind
    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=5)
    return 0


if __name__ == "__main__":
    sys.exit(main())
