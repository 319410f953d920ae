"""The whole command: its files, its options, and what is left when it breaks off."""

import json
import sys
from dataclasses import replace

import pytest
from support.fake_labelling import LabellingStudio
from support.fake_worker import FakeWorker
from support.simulated import IMAGES, OPTIONS, FakeScorer, MakeRun
from typer.testing import CliRunner

from trainer import cli, env
from trainer.judging.effort import PageCosts
from trainer.rounds import heartbeat
from trainer.simulate import command
from trainer.simulate.errors import SimulationError
from trainer.simulate.options import Options, Person
from trainer.simulate.run import World
from trainer.training.process import TrainingFailed


def test_both_orders_end_up_in_the_files(
    make_run: MakeRun, world: World, labelling_studio: LabellingStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "Scorer", lambda *given: FakeScorer())
    monkeypatch.setattr(command, "_quiet", lambda: None)
    with world.display.console.capture() as said:
        path = command.simulate(world, replace(OPTIONS, seeds=(7,), schedule=("2", "all")))
    document = json.loads(path.read_text())
    assert list(document["orders"]) == ["uncertainty", "random"]
    assert document["options"]["seeds"] == [7]
    assert [row["random"]["n"] for row in document["labels_needed"]] == [1, 1, 1]
    starts = [(row["detector"], row["start_weights"]) for row in document["runs"]]
    assert starts == [("yolox_nano", "2 classes of made.pth")] * 2
    assert "Starting with yolox_nano, weights: 2 classes of made.pth" in said.get()
    rows = [json.loads(row) for row in path.with_suffix(".jsonl").read_text().splitlines()]
    assert [(row["order"], row["labels"]) for row in rows] == [
        (order, labels) for order in ("uncertainty", "random") for labels in (0, 2, IMAGES)
    ]
    assert labelling_studio.deleted == [1, 2]


def test_a_simulation_that_breaks_off_keeps_what_was_complete(
    make_run: MakeRun, world: World, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "Scorer", lambda *given: FakeScorer())
    monkeypatch.setattr(command, "_quiet", lambda: None)

    def fail() -> None:
        if len(worker.learning.calls) > 2:
            raise TrainingFailed("out of paint")

    worker.learning.during_training = fail
    with pytest.raises(SimulationError):
        command.simulate(world, replace(OPTIONS, seeds=(0,), schedule=("2",)))
    (path,) = world.settings.rounds_dir.glob("simulate-*.json")
    assert list(json.loads(path.read_text())["orders"]) == ["uncertainty"]


def test_the_command_line_becomes_options(
    world: World, labelling_studio: LabellingStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Options] = []
    monkeypatch.setattr(command, "simulate", lambda world, options: asked.append(options))
    for name, value in {
        "LABELSTUDIO_URL": labelling_studio.url,
        "API_TOKEN": "t",
        "BACKEND_PASSWORD": "b",
    }.items():
        monkeypatch.setenv(name, value)
    heartbeat.beat(world.settings.rounds_dir, {}, {})
    env.get_settings.cache_clear()
    arguments = "simulate cells --seeds=1,2 --orders=random --budget=9 --draw=5 --predicted=RBC=apple --keep"
    arguments += " --costs=careful --clicks=1 --at-once=all --verify=0 --glance=0.7"
    done = CliRunner().invoke(cli.app, arguments.split())
    refused = CliRunner().invoke(cli.app, ["simulate", "cells", "--orders=best"])
    unknown = CliRunner().invoke(cli.app, ["simulate", "cells", "--costs=free"])
    monkeypatch.setenv("COSTS", "careful")
    env.get_settings.cache_clear()
    by_setting = CliRunner().invoke(cli.app, ["simulate", "cells"])
    env.get_settings.cache_clear()
    assert done.exit_code == 0, done.output
    assert by_setting.exit_code == 0 and asked.pop().costs == Person.of("careful")
    assert unknown.exit_code == 1 and "COSTS=free: choose among quick,careful" in unknown.stderr
    assert asked == [
        Options(
            "cells",
            ("random",),
            (1, 2),
            budget=9,
            predicted={"RBC": "apple"},
            costs=Person(5.0, 4.5, 2.0, 1.7, relabel=3.0, clicks=1, pages=PageCosts(0.7, 2.0, 4.0)),
            at_once=sys.maxsize,
            verify=False,
            keep=True,
        )
    ]
    assert refused.exit_code == 1
    assert "ORDERS=best" in refused.stderr
