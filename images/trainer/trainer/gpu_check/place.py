"""What the checks look at, where, and how long they may take."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from labelloop.settings import Settings
from trainer.gpu_check.lines import Figures


@dataclass(frozen=True)
class Place:
    """settings: of the checkout, whose configs and cached weights are used; nothing is written there.

    device: the GPU as torch names it; tests have the CPU in its place. boxes: the detectors whose boxes are
    compared. trained: the one whose round is, for so many iterations, of which the CPU does as many as it can
    in reference_s seconds. batches: the sizes that are served, each for size_s seconds. pictures: how many.
    """

    settings: Settings
    device: str = "cuda:0"
    boxes: tuple[str, ...] = ("yolox_s", "fcos_r50", "faster_rcnn_r50")
    trained: str = "yolox_s"
    iterations: int = 50
    reference_s: float = 60.0
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    size_s: float = 1.5
    pictures: int = 16

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")


@dataclass
class Peak:
    """gb: the most memory of the GPU in use at once; None on a CPU."""

    gb: float | None = None
    figures: Figures = field(default_factory=dict)


@contextmanager
def peak_memory(place: Place) -> Iterator[Peak]:
    import torch

    found = Peak()
    if place.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    yield found
    if place.on_gpu:
        torch.cuda.synchronize()
        found.gb = torch.cuda.max_memory_allocated() / 1e9
        found.figures = {"peak GB": found.gb}


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Without TF32, which keeps 10 bits of a factor: for comparisons with a CPU."""
    import torch

    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
