"""`labelloop …` in the test's process."""

from collections.abc import Iterator

import pytest
from support.cli import Run
from typer.testing import CliRunner

from trainer import cli, env
from trainer.env import TrainerSettings
from trainer.rounds import heartbeat
from trainer.rounds.table import Rounds
from trainer.terminal import watch
from trainer.worker import image_index


@pytest.fixture
def run(loop_settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs `labelloop …` in this process."""
    monkeypatch.setattr(watch, "POLL_S", 0.02)
    monkeypatch.setattr(watch, "COUNT_EVERY_S", 0.02)
    monkeypatch.setattr(image_index, "SETTLED_S", 0.0)
    env.get_settings.cache_clear()
    yield lambda *arguments: CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
    env.get_settings.cache_clear()


@pytest.fixture
def rounds(loop_settings: TrainerSettings) -> Rounds:
    return Rounds(loop_settings.rounds_dir)


@pytest.fixture
def alive(loop_settings: TrainerSettings) -> None:
    heartbeat.beat(loop_settings.rounds_dir, {"1": "v0000"}, {})
