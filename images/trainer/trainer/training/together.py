"""What the members of a crew (trainer.training.crew) tell each other. With one process alone nothing is
told.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from typing import Any, TypeVar

import torch
from mmcv.parallel import MMDistributedDataParallel
from mmcv.runner import get_dist_info
from torch import distributed

from labelloop.errors import Explained
from trainer.training.crew import Member

T = TypeVar("T")
_SIGNS = ("gloo", "nccl", "connection closed", "connection reset", "store", "timed out", "timeout")


class NoGpu(Explained):
    """A member has no GPU of its own."""


class PeersLost(Explained):
    """Another member has ended, or does not answer any more."""


@contextmanager
def joined(member: Member, device: str) -> Iterator[None]:
    """Joins the crew, and leaves it in the end. One that trains alone has none.

    Raises:
        NoGpu: the machine has fewer GPUs than members. PeersLost: the others do not come, or one was lost
        later.
    """
    if device == "cuda" and not member.alone:
        _take_gpu(member)
    if member.alone:
        yield
        return
    with noticing_loss(member):
        distributed.init_process_group(
            "nccl" if device == "cuda" else "gloo",
            init_method=member.rendezvous,
            rank=member.rank,
            world_size=member.size,
            timeout=timedelta(seconds=member.patience_s),
        )
        yield
        distributed.destroy_process_group()


@contextmanager
def noticing_loss(member: Member) -> Iterator[None]:
    """Tells what the loss of another member causes from a fault.

    Raises:
        PeersLost: another one has ended, or does not answer any more.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_of_others(error):
            raise
        reason = str(error).rpartition("] ")[2]  # behind the line of gloo's source
        raise PeersLost(
            f"{member}: another one has ended or has not answered for {member.patience_s:.0f} s ({reason})"
        ) from error


def _take_gpu(member: Member) -> None:
    there = torch.cuda.device_count()
    if member.local_rank >= there:
        raise NoGpu(
            f"{member} has no GPU: the machine has {there}; `make up TRAINING_PROCESSES=auto` takes one "
            "process for each"
        )
    torch.cuda.set_device(member.local_rank)


def is_of_others(error: RuntimeError) -> bool:
    """Whether it tells that another member was lost, in the words of gloo, NCCL or torch's store."""
    words = str(error).lower()
    return isinstance(error, distributed.DistError) or any(sign in words for sign in _SIGNS)


def leads() -> bool:
    """Whether this process is the one that writes files."""
    return bool(get_dist_info()[0] == 0)


def rank() -> int:
    return int(get_dist_info()[0])


def size() -> int:
    return int(get_dist_info()[1])


def agreed(mine: bool) -> bool:
    """The leader's word, which all members have to ask for at the same point."""
    if size() == 1:
        return mine
    word = torch.tensor([int(mine)], device=_device())
    distributed.broadcast(word, src=0)
    return bool(word.item())


def everyones(mine: T) -> list[T]:
    """What each member has, by rank."""
    if size() == 1:
        return [mine]
    found: list[Any] = [None] * size()
    distributed.all_gather_object(found, mine)
    return found


def wait() -> None:
    """Returns when every member has come to this point."""
    if size() > 1:
        distributed.barrier()


def average_statistics(model: torch.nn.Module) -> None:
    """Gives every member the mean of what batch normalisation has counted on their images.

    That does not change what is learned meanwhile, and the mean of running means is the running mean of
    means.
    """
    counted = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    if size() == 1 or not counted:
        return
    flat = torch.cat([buffer.detach().flatten().float() for buffer in counted])
    distributed.all_reduce(flat)
    parts = torch.split(flat / size(), [buffer.numel() for buffer in counted])
    for buffer, part in zip(counted, parts, strict=True):
        buffer.copy_(part.reshape(buffer.shape))


def _device() -> str:
    return "cuda" if distributed.get_backend() == "nccl" else "cpu"


class OnCpu(MMDistributedDataParallel):  # type: ignore[misc]  # mmcv is untyped
    """mmcv's distributed model on a CPU, where mmcv would leave batches in their containers."""

    def train_step(self, *inputs: Any, **kwargs: Any) -> Any:
        [inputs], [kwargs] = self.scatter(inputs, kwargs, [-1])
        return super().train_step(*inputs, **kwargs)


def allow_cpus() -> None:
    """Has mmdet's distributed training run on CPUs, too, for as long as this process lives. It refuses them
    in two places: where it wraps the model, and where its sampler gives a seed around, which all members of a
    crew have from the job anyway.
    """

    def wrap(model: torch.nn.Module, device: str, device_ids: list[int], **options: Any) -> OnCpu:
        return OnCpu(model, **options)

    def same(seed: int) -> int:
        return seed

    import_module("mmdet.apis.train").build_ddp = wrap  # type: ignore[attr-defined]
    import_module("mmdet.datasets.samplers.infinite_sampler").sync_random_seed = same  # type: ignore[attr-defined]
