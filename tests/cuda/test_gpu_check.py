"""The whole of `make gpu-check`: on the GPU where there is one, else with the CPU in its place."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

REPO = Path(__file__).parents[2]
SECONDS = 600


def test_the_program_ends_with_a_table_and_its_json(tmp_path: Path) -> None:
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    command = [sys.executable, "-m", "trainer.gpu_check", "--device", device, "--out", str(tmp_path)]
    environment = {**os.environ, "LABELLOOP_HOME": str(REPO), "PYTHONPATH": "images/base:images/trainer"}
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=SECONDS)
    told = json.loads((tmp_path / "gpu-check.json").read_text())
    failed = [line for line in told["lines"] if not line["ok"]]
    assert done.returncode == (1 if failed else 0), done.stderr
    assert {line["check"] for line in told["lines"]} >= {"device", "operators", "boxes"}
    assert device == "cpu" or not failed, done.stdout
