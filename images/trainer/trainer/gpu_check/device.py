"""The device, its driver, and the refusal where there is none."""

from collections.abc import Iterator

from labelloop.errors import Explained
from labelloop.precision import choices
from trainer.gpu_check.lines import Line
from trainer.gpu_check.place import Place


class NoGpu(Explained):
    """There is no GPU that could be checked."""


def require(device: str) -> None:
    """Raises NoGpu: torch sees no GPU; the message says why, and the way out."""
    import torch

    if not device.startswith("cuda") or torch.cuda.is_available():
        return
    if torch.version.cuda is None:
        why = "this torch was built without CUDA: `make build ACCELERATOR=cuda` makes images that have it"
    elif torch.cuda.device_count() == 0:
        why = (
            "torch finds none: does `nvidia-smi` list one, does CUDA_VISIBLE_DEVICES leave it visible, and "
            "under Docker, does `docker run --rm --gpus all ubuntu nvidia-smi`? docs/how-to/gpu.md"
        )
    else:
        why = f"its driver does not serve CUDA {torch.version.cuda}: update the driver"
    raise NoGpu(f"there is no GPU to check: {why}")


def check(place: Place) -> Iterator[Line]:
    import mmcv.ops
    import torch

    figures: dict[str, float | str] = {"torch": torch.__version__, "CUDA": torch.version.cuda or "none"}
    if not place.on_gpu:
        yield Line("device", "the CPU in the GPU's place", True, figures)
        return
    about = torch.cuda.get_device_properties(place.device)
    free, total = torch.cuda.mem_get_info(place.device)
    figures |= {
        "capability": f"{about.major}.{about.minor}",
        "GB": total / 1e9,
        "free GB": free / 1e9,
        "driver": _driver(),
        "cuDNN": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        "16 bits": " ".join(choices(place.device)),
    }
    yield Line("device", about.name, True, figures)
    built = mmcv.ops.get_compiling_cuda_version()
    yield Line(
        "device",
        "mmcv's operators",
        built != "not available",
        {"compiled for CUDA": built},
        "operators compiled for CUDA: make build ACCELERATOR=cuda",
    )


def _driver() -> str:
    import subprocess

    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return (told.splitlines() or ["unknown"])[0]
