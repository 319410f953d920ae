"""Training goes on from its last checkpoint as if it had never stopped."""

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
    """mmcv's loop over iterations, from the end of the one that the checkpoint `last` was saved after.

    The checkpoint holds all that the next iteration depends on: weights, optimizer, learning rate, what the
    detector counts, and the random generators. The batches before it are drawn once more, and not read. So
    the weights become those of a run that was never stopped: to the bit, when as many threads do the sums
    and this process loads the images. The loader's worker processes, on a GPU, take the same images in the
    same order, and draw their flips and crops anew.

    A checkpoint that cannot be read, or is of another model, is deleted, and training starts anew.
    """

    def __init__(self, *args: Any, last: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._last = Path(last)

    def run(self, data_loaders: list[Any], workflow: list[tuple[str, int]], **kwargs: Any) -> None:
        self.go_on()
        skip(data_loaders[0].batch_sampler, self.iter)
        super().run(data_loaders, workflow, **kwargs)

    def go_on(self) -> None:
        """Takes everything from the checkpoint, if there is one."""
        if not self._last.exists():
            return
        try:
            self._restore(torch.load(self._last, map_location="cpu", weights_only=True))
        except Exception as error:  # whatever is wrong with the file, the round can do without it
            self.logger.warning("%s cannot be resumed from, starting anew: %s", self._last, error)
            self._last.unlink()

    def _restore(self, content: dict[str, Any]) -> None:
        """Changes nothing before all of it is known to fit.

        Raises:
            ValueError, KeyError: it does not.
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
        self._iter = self._inner_iter = done
        self.register_hook(states)
        self.logger.info("resumed at iteration %d", self.iter)


def save(runner: Any, path: Path, done: int) -> None:
    """Replaces a checkpoint by one of the state after `done` iterations."""
    model = unwrapped(runner.model)
    content = {
        "iter": done,
        "state_dict": model.state_dict(),
        "optimizer": runner.optimizer.state_dict(),
        "counted": counted(model),
        "generators": generators(),
        "meta": runner.meta or {},
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)


def _shapes(state: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in state.items()}


def unwrapped(model: Any) -> torch.nn.Module:
    found: torch.nn.Module = model.module if is_module_wrapper(model) else model
    return found


def skip(sampler: Any, batches: int) -> None:
    """Lets mmdet's endless sampler draw that many batches, of which nothing is loaded."""
    for _ in islice(sampler, batches):
        pass
    # The sampler drops a batch that it handed out only when it is asked for the next one.
    for group in sampler.buffer_per_group.values():
        if len(group) == sampler.batch_size:
            group.clear()


def counted(model: torch.nn.Module) -> dict[str, dict[str, Any]]:
    """The numbers beside the tensors, by module: YOLOX counts iterations and keeps the size it drew."""
    return {
        name: {key: value for key, value in vars(module).items() if _is_plain(value)}
        for name, module in model.named_modules()
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return isinstance(value, int | float)


def generators() -> dict[str, Any]:
    """The states of the random generators of Python, numpy and torch, in what a checkpoint may hold."""
    kind, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
    }


class _Generators(Hook):  # type: ignore[misc]  # mmcv is untyped
    """Sets the generators when the loader is there, for which mmcv draws a number."""

    def __init__(self, states: dict[str, Any]) -> None:
        self._states = states

    def before_epoch(self, runner: Any) -> None:
        random.setstate(self._states["python"])
        kind, keys, *rest = self._states["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
        torch.set_rng_state(self._states["torch"])
