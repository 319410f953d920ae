"""The first estimate of a round's time comes from steps that were measured."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from trainer.rounds.metrics import Metrics, read
from trainer.training import hooks

STEPS = 300
SLOW_S, USUAL_S = 4.46, 1.2
"""A round on two cores: its first step alone said 22:15 min, and it took 6."""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Metrics]:
    """What the training process writes in such a round."""
    now = [100.0]
    monkeypatch.setattr(hooks.time, "monotonic", lambda: now[0])
    hook = hooks.MetricsHook(str(tmp_path / "metrics.jsonl"))
    runner = SimpleNamespace(
        iter=0, max_iters=STEPS, outputs={"log_vars": {"loss": 1.0}}, current_lr=lambda: [0.01]
    )
    hook.before_run(runner)
    for step in range(STEPS):
        runner.iter = step
        hook.before_train_iter(runner)
        now[0] += SLOW_S if step == 0 else 2.0 if step < 3 else USUAL_S
        hook.after_train_iter(runner)
    return read(tmp_path / "metrics.jsonl")


def test_no_estimate_before_steps_are_measured_and_then_the_right_one(written: list[Metrics]) -> None:
    told = [metrics for metrics in written if metrics.eta is not None]
    first = told[0]
    assert first.iteration == 18, "three to warm up, and fifteen"
    for metrics in told:
        assert metrics.eta == pytest.approx(USUAL_S * (STEPS - metrics.iteration), abs=0.1)
    assert max(metrics.eta or 0.0 for metrics in written) < 6 * 60


def test_lines_of_an_earlier_release_are_read() -> None:
    assert Metrics.of('{"iter": 2, "iterations": 40, "loss": 1.0, "eta": 57.0}').eta == 57.0
    assert Metrics.of('{"iter": 2, "iterations": 40, "loss": 1.0}').eta is None
