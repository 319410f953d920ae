"""The CUDA images, built for real, on the CPU that they fall back to. It needs Docker and no GPU.

A job of its own: `make test TESTS=tests/cuda/test_images.py`. The first run compiles mmcv-full's CUDA
operators, which later ones find in the machine's cache.
"""

import os
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
ARCH = "9.0"
BUILD_S = 7200
ASK = """
import torch, mmcv.ops, mmdet.apis
from mmcv.ops import get_compiling_cuda_version, nms
boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
kept, indices = nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)
print(torch.version.cuda, get_compiling_cuda_version(), torch.cuda.is_available(), indices.tolist())
print(torch.linalg.inv(torch.eye(2) * 2)[0, 0].item(), torch.backends.cudnn.version() > 90000)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> None:
    checkout = tmp_path_factory.mktemp("cuda") / "labelloop"
    subprocess.run(["git", "clone", "--quiet", str(REPO), str(checkout)], check=True, timeout=120)
    settings = ["RUNTIME=docker", "ACCELERATOR=cuda", f"TORCH_CUDA_ARCH_LIST={ARCH}", "PORT=18480"]
    environment = {**os.environ, "COMPOSE_PROJECT_NAME": "labelloop-cuda-test"}
    command = ["make", "build", *settings]
    subprocess.run(command, cwd=checkout, env=environment, check=True, timeout=BUILD_S)


@pytest.mark.parametrize("service", ["mlbackend", "trainer"])
def test_an_image_with_cuda_runs_on_a_host_without_a_gpu(built: None, service: str) -> None:
    command = ["docker", "run", "--rm", "--network", "none", "--user", "10001", f"labelloop/{service}:cuda"]
    done = subprocess.run([*command, "python", "-c", ASK], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["13.0 13.0 False [0, 2]", "0.5 True"]
