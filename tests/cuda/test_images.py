"""The CUDA images, built for real, on the CPU that they fall back to. It needs Docker and no GPU.

A job of its own: `make test TESTS=tests/cuda/test_images.py`. The first run compiles mmcv-full's CUDA
operators, which later ones find in the machine's cache.
"""

import json
import os
import subprocess
from collections.abc import Iterator

import pytest
from support import shapes, shapes_stack
from support.stack import Stack, wait_for

from lifecycle.engine import gpu_architecture

ARCH = "9.0"
BUILD_S = 7200
LABELLED = 16
ITERATIONS = 120
ASK = """
import torch, mmcv.ops, mmdet.apis
from mmcv.ops import get_compiling_cuda_version, nms
boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
kept, indices = nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)
print(torch.version.cuda, get_compiling_cuda_version(), torch.cuda.is_available(), indices.tolist())
print(torch.linalg.inv(torch.eye(2) * 2)[0, 0].item(), torch.backends.cudnn.version() > 90000)
"""

pytestmark = [
    pytest.mark.timeout(BUILD_S),
    pytest.mark.skipif(gpu_architecture() is not None, reason="it has a GPU: `make gpu-check` is for it"),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Built for a GPU; not up."""
    made = Stack.copy_of_work_tree(tmp_path_factory.mktemp("cuda"), f"labelloop-cuda-{os.getpid()}")
    made.runtime = "docker"
    made.run("build", timeout=BUILD_S, ACCELERATOR="cuda", TORCH_CUDA_ARCH_LIST=ARCH, PORT=made.port)
    try:
        yield made
    finally:
        print(made.run("logs", check=False, timeout=60)[-8000:])
        made.run("down", check=False, timeout=180)


@pytest.mark.parametrize("service", ["mlbackend", "trainer"])
def test_an_image_with_cuda_runs_on_a_host_without_a_gpu(stack: Stack, service: str) -> None:
    command = ["docker", "run", "--rm", "--network", "none", "--user", "10001", f"labelloop/{service}:cuda"]
    done = subprocess.run([*command, "python", "-c", ASK], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["13.0 13.0 False [0, 2]", "0.5 True"]


def test_the_stack_starts_and_says_that_there_is_no_gpu(stack: Stack) -> None:
    output = shapes_stack.up(stack, ITERATIONS, timeout=1800, RETRAIN_EVERY=0)
    assert "nvidia-smi lists no GPU here" in output and "labelloop is up" in output, output
    running = subprocess.run(
        ["docker", "ps", "--format", "{{.Image}}", "--filter", f"name={stack.name}-"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {"labelloop/trainer:cuda", "labelloop/mlbackend:cuda"} <= {*running}
    assert "none that nvidia-smi lists, so all runs on the CPU" in stack.run("doctor", check=False)


def test_a_round_on_the_cpu_is_promoted(stack: Stack) -> None:
    pictures = shapes.save(stack.images / "shapes", LABELLED + 4)
    labelled = sorted(pictures)[:LABELLED]

    def tasks() -> dict[str, int]:
        rows = stack.studio().iter_tasks(1, fields="task_only", page_size=100)
        found = {str(row["data"]["image"]).rpartition("/")[2]: int(row["id"]) for row in rows}
        return found if found.keys() == pictures.keys() else {}

    ids = wait_for("the images' tasks", tasks, 120)
    for name in labelled:
        annotation = {"result": pictures[name].annotation()}
        stack.studio().request("POST", f"/api/tasks/{ids[name]}/annotations/", json=annotation)
    output = stack.run("retrain", timeout=1800)
    assert "promoted v0001" in output, output
    card = json.loads((stack.home / "volumes/models/1/v0001/card.json").read_text())
    assert card["device"].startswith("cpu,"), card["device"]

    def proposed() -> bool:
        rows = [boxes for task, boxes in stack.predictions().items() if task not in map(ids.get, labelled)]
        return all(boxes and boxes[-1]["model_version"] == "v0001" for boxes in rows)

    wait_for("its boxes on the images that are left", proposed, 180)
    assert "on cpu" in stack.run("status")
