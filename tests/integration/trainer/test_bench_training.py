"""The benchmark's comparison with mmdet's own training, which nothing but the benchmark runs."""

import os
import subprocess
import sys
from pathlib import Path

from support.shapes import LABELS
from support.small_rounds import SmallRounds

from labelloop.registry import Card


def test_mmdets_own_training_starts_where_the_round_did(tmp_path: Path) -> None:
    small = SmallRounds.below(tmp_path, "yolox")
    small.weights(tmp_path / "start.pth", LABELS)
    folder = small.round("one", small.snapshot(), Path("start.pth"), LABELS, iterations=2)
    out = folder / "bare"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "LABELLOOP_HOME": str(tmp_path),
        "THREADS": "1",
    }
    command = [sys.executable, "-m", "bench.mmdet_training", "bare", str(folder), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (out / "weights.pth").is_file()
    assert Card.model_validate_json((out / "card.json").read_bytes()).classes == list(LABELS)
