"""The trainer's settings, in addition to the shared ones."""

from functools import cache
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator

from labelloop import layout
from labelloop.settings import Settings, within

ALL: Literal["all"] = "all"
_ADDRESS = r"^.+:\d{1,5}$"


class TrainerSettings(Settings):
    """The trainer's settings.

    PROJECT chooses among several projects. TRAINER_BIND and DASHBOARD_BIND are address and port of the HTTP
    API and of the dashboard. ADOPT_PROJECTS connects the ML backend to projects made by hand, see
    trainer.worker.adoption. KEEP_ROUNDS, KEEP_VERSIONS and KEEP_PREDICTIONS say how many of the newest are
    kept, see trainer.worker.retention. INSTANT says whether projects learn at once, see
    trainer.worker.at_once.
    """

    project: int | None = None
    trainer_bind: str = Field(default=f"127.0.0.1:{layout.TRAINER_PORT}", pattern=_ADDRESS)
    dashboard_bind: str = Field(default=f"127.0.0.1:{layout.DASHBOARD_PORT}", pattern=_ADDRESS)
    dashboard_secret: SecretStr | None = None
    adopt_projects: Literal["all"] | bool = True
    instant: bool = True
    keep_rounds: int = within("KEEP_ROUNDS", 20)
    keep_versions: int = within("KEEP_VERSIONS", 20)
    keep_predictions: int = within("KEEP_PREDICTIONS", 2)

    @field_validator("adopt_projects", mode="before")
    @classmethod
    def _in_any_case(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value

    @property
    def bind(self) -> tuple[str, int]:
        return _address(self.trainer_bind)

    @property
    def dashboard_address(self) -> tuple[str, int]:
        return _address(self.dashboard_bind)


def _address(bind: str) -> tuple[str, int]:
    host, _, port = bind.rpartition(":")
    return host, int(port)


@cache
def get_settings() -> TrainerSettings:
    return TrainerSettings()
