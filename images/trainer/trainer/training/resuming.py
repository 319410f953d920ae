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

from labelloop.files import replacing


@RUNNERS.register_module()
class ResumingRunner(IterBasedRunner):  # type: ignore[misc]  # mmcv is untyped
    """mmcv's loop over iterations, continued after the iteration at which the checkpoint `last` was saved.

    The checkpoint holds everything that the next iteration depends on: weights, optimizer, learning rate, the
    detector's counters, the random generators, and what `noted` gives. The earlier batches are drawn again,
    but their images are not read. So the weights become those of a run that never stopped. They are equal to
    the bit if the same number of threads computes and this process loads the images. On a GPU, the loader's
    worker processes take the same images in the same order, but draw new flips and crops.

    A checkpoint that cannot be read, or is of another model, is deleted, and training starts anew.
    """

    def __init__(self, *args: Any, last: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._last = Path(last)

    def noted(self) -> dict[str, Any]:
        """What the next iteration depends on beside the model, in types that a checkpoint may hold."""
        return {}

    def take_up(self, noted: dict[str, Any]) -> None:
        """Goes on from what `noted` gave; from nothing where an earlier release saved the checkpoint."""

    def run(self, data_loaders: list[Any], workflow: list[tuple[str, int]], **kwargs: Any) -> None:
        self.go_on()
        skip(data_loaders[0].batch_sampler, self.iter)
        super().run(data_loaders, workflow, **kwargs)

    def go_on(self) -> None:
        """Restores the state from the checkpoint, if there is one."""
        if not self._last.exists():
            return
        try:
            self._restore(torch.load(self._last, map_location="cpu", weights_only=True))
        except Exception as error:  # the round can do without the file, whatever is wrong with it
            self.logger.warning("%s cannot be resumed from, starting anew: %s", self._last, error)
            self._last.unlink()

    def _restore(self, content: dict[str, Any]) -> None:
        """Restores the state. Nothing is changed before all of it is known to fit.

        Raises:
            ValueError, KeyError: the checkpoint does not fit the model.
        """
        model, weights, numbers = unwrapped(self.model), content["state_dict"], content["counted"]
        done, meta, states = content["iter"], content["meta"], _Generators(content["generators"])
        if _shapes(weights) != _shapes(model.state_dict()) or numbers.keys() != counted(model).keys():
            raise ValueError("it is of another model")
        self.optimizer.load_state_dict(content["optimizer"])
        model.load_state_dict(weights)
        for name, module in model.named_modules():
            vars(module).update(numbers[name])
        self.meta = meta
        self.take_up(content.get("noted", {}))
        self._iter = self._inner_iter = done
        self.register_hook(states)
        self.logger.info("resumed at iteration %d", self.iter)


def save(runner: Any, path: Path, done: int) -> None:
    """Replaces the checkpoint with the state after `done` iterations."""
    model = unwrapped(runner.model)
    content = {
        "iter": done,
        "state_dict": model.state_dict(),
        "optimizer": runner.optimizer.state_dict(),
        "counted": counted(model),
        "generators": generators(),
        "meta": runner.meta or {},
        "noted": runner.noted(),
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)


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
