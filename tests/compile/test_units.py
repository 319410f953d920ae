"""mmcv-full compiled in a few units, against mmcv's own way: the same operators, the same results.

A job of its own, since mmcv's own way takes 7 to 25 minutes on 2 cores: `make test TESTS=tests/compile`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[2]
COMPILE_S = 3600


def _compiled(folder: Path, **environment: str) -> Any:
    """What the operators of a wheel that is compiled in `folder` give."""
    script = REPO / "images/base/build-mmcv-wheel.sh"
    env = {**os.environ, "ACCELERATOR": "cpu", **environment}
    wheels, packages = folder / "wheels", folder / "packages"
    subprocess.run(["sh", str(script), sys.executable, str(wheels)], env=env, check=True, timeout=COMPILE_S)
    [wheel] = wheels.glob("mmcv_full-*.whl")
    install = ["-m", "pip", "install", "--no-deps", "--no-index", "--target", str(packages), str(wheel)]
    subprocess.run([sys.executable, *install], check=True, timeout=300)
    command = [sys.executable, "-P", str(Path(__file__).with_name("operators.py"))]
    ours = [str(REPO / "images" / name) for name in ("base", "trainer")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), *ours])}
    answer = subprocess.run(command, env=env, check=True, timeout=300, capture_output=True, text=True)
    return json.loads(answer.stdout)


def test_the_units_have_the_same_operators_and_results(tmp_path: Path) -> None:
    ours, plain = _compiled(tmp_path / "units"), _compiled(tmp_path / "plain", MMCV_PLAIN="1")
    assert len(ours["names"]) > 100 and len(ours["results"]) == 21
    assert ours == plain
