"""`labelloop`: what a person asks of the loop. A file's commands register with `app` when it is imported."""

from trainer.cli import data, demo, intake, overview, rounds, simulation, takeaway
from trainer.cli.command import app

__all__ = ["app", "data", "demo", "intake", "overview", "rounds", "simulation", "takeaway"]
