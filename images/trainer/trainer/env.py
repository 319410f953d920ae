"""What the trainer reads from the environment beyond the shared settings."""

from functools import cache

from pydantic import Field

from labelloop.settings import Settings


class TrainerSettings(Settings):
    """PROJECT chooses among several projects; TRAINER_BIND is the address and port of the HTTP API."""

    project: int | None = None
    trainer_bind: str = Field(default="127.0.0.1:9191", pattern=r"^.+:\d{1,5}$")

    @property
    def bind(self) -> tuple[str, int]:
        host, _, port = self.trainer_bind.rpartition(":")
        return host, int(port)


@cache
def get_settings() -> TrainerSettings:
    return TrainerSettings()
