"""Resumes training from its last checkpoint as if it had never stopped."""

import random
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.parallel import is_module_wrapper
from mmcv.runner import RUNNERS, IterBasedRunner
from mmcv.runner.hooks import Hook

from labelloop.errors import Explained
from labelloop.files import replacing
from trainer.training import together
from trainer.training.pinning import pin


class Apart(Explained):
    """Processes that train a round together have different checkpoints before them."""


@RUNNERS.register_module()
class ResumingRunner(IterBasedRunner):  # type: ignore[misc]  # mmcv is untyped
    """mmcv's loop over iterations, continued after the iteration at which the checkpoint `last` was saved.

    The checkpoint holds everything that the next iteration depends on: weights, optimizer, learning rate, the
    detector's counters, and the random generators. The earlier batches are drawn again, but their images are
    not read. So the weights become those of a run that never stopped. They are equal to the bit if the same
    number of threads computes and this process loads the images. On a GPU, the loader's worker processes take
    the same images in the same order, but draw new flips and crops.

    A checkpoint that cannot be read, or is of another model, is deleted, and training starts anew.

    Processes that train together go on from one checkpoint, each with its own random generators. It may be
    one of another number of processes: those that were not there then draw as at the start of a round, and
    the learning rate is this number's.

    pins: whether batches come in page-locked memory, see `pinning`.
    """

    def __init__(self, *args: Any, last: str, pins: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._last = Path(last)
        self._pins = pins

    def run(self, data_loaders: list[Any], workflow: list[tuple[str, int]], **kwargs: Any) -> None:
        self.go_on()
        _require_one(together.everyones(self.iter), self._last)
        if self._pins:
            pin(data_loaders[0])
        skip(data_loaders[0].batch_sampler, self.iter)
        super().run(data_loaders, workflow, **kwargs)

    def go_on(self) -> None:
        """Restores the state from the checkpoint, if there is one."""
        if not self._last.exists():
            return
        try:
            self._restore(torch.load(self._last, map_location="cpu", weights_only=True))
        except Exception as error:  # the round can do without the file, whatever is wrong with it
            # mmcv lets those that do not lead say errors alone.
            self.logger.error("%s cannot be resumed from, starting anew: %r", self._last, error)
            self._last.unlink(missing_ok=True)

    def kept(self) -> dict[str, Any]:
        """What a subclass adds to a checkpoint, in types that one may hold."""
        return {}

    def take_back(self, kept: dict[str, Any]) -> None:
        """Restores what `kept` gave; {} is from a former release, or from a runner that keeps nothing."""

    def _restore(self, content: dict[str, Any]) -> None:
        """Restores the state. Nothing is changed before all of it is known to fit.

        Raises:
            ValueError, KeyError: the checkpoint does not fit the model.
        """
        model, weights, numbers = unwrapped(self.model), content["state_dict"], content["counted"]
        done, meta, states = content["iter"], content["meta"], _generators_of(content, together.rank())
        if _shapes(weights) != _shapes(model.state_dict()) or numbers.keys() != counted(model).keys():
            raise ValueError("it is of another model")
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(content["optimizer"])
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["initial_lr"] = rate
        model.load_state_dict(weights)
        for name, module in model.named_modules():
            vars(module).update(numbers[name])
        self.take_back(content.get("kept", {}))
        self.meta = meta
        self._iter = self._inner_iter = done
        if states is not None:
            self.register_hook(_Generators(states))
        self.logger.info("resumed at iteration %d", self.iter)


def save(runner: Any, path: Path, done: int) -> None:
    """Replaces the checkpoint with the state after `done` iterations. Of processes that train together, all
    have to call it at the same point, and the first one writes.
    """
    model = unwrapped(runner.model)
    together.average_statistics(model)
    mine, *others = together.everyones(generators())
    if not together.leads():
        return
    content = {
        "iter": done,
        "state_dict": model.state_dict(),
        "optimizer": runner.optimizer.state_dict(),
        "counted": counted(model),
        "generators": mine,
        "others": others,
        "meta": runner.meta or {},
        "kept": runner.kept(),
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)


def _generators_of(content: dict[str, Any], rank: int) -> dict[str, Any] | None:
    """A process's random generators in a checkpoint; None where it was not among those that trained then."""
    everyones = [content["generators"], *content.get("others", [])]
    return everyones[rank] if rank < len(everyones) else None


def _require_one(iterations: list[int], path: Path) -> None:
    """Raises Apart: the processes have not gone on from the same checkpoint."""
    if len(set(iterations)) > 1:
        told = ", ".join(f"process {number} at {at}" for number, at in enumerate(iterations, start=1))
        raise Apart(
            f"the processes that train this round went on from different iterations ({told}): do all "
            f"machines see the same {path}?"
        )


def _shapes(state: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in state.items()}


def unwrapped(model: Any) -> torch.nn.Module:
    found: torch.nn.Module = model.module if is_module_wrapper(model) else model
    return found


def skip(sampler: Any, batches: int) -> None:
    """Lets mmdet's endless sampler draw that many batches without loading their images."""
    for _ in islice(sampler, batches):
        pass
    # The sampler keeps a batch that it has handed out until it is asked for the next one.
    for group in sampler.buffer_per_group.values():
        if len(group) == sampler.batch_size:
            group.clear()


def counted(model: torch.nn.Module) -> dict[str, dict[str, Any]]:
    """The plain numbers in a model, by module: YOLOX counts iterations and keeps the input size it drew."""
    return {
        name: {key: value for key, value in vars(module).items() if _is_plain(value)}
        for name, module in model.named_modules()
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return isinstance(value, int | float)


def generators() -> dict[str, Any]:
    """The states of Python's, numpy's and torch's random generators, in types that a checkpoint may hold."""
    kind, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
    }


class _Generators(Hook):  # type: ignore[misc]  # mmcv is untyped
    """Sets the generators only after mmcv has made the loader, because making it draws a number."""

    def __init__(self, states: dict[str, Any]) -> None:
        self._states = states

    def before_epoch(self, runner: Any) -> None:
        random.setstate(self._states["python"])
        kind, keys, *rest = self._states["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
        torch.set_rng_state(self._states["torch"])
