"""Training on a GPU: batches in as many parts as its memory wants, and fp16's scaled gradients."""

from collections.abc import Iterator
from typing import Any

import torch
from mmcv.parallel import DataContainer
from mmcv.runner import RUNNERS
from mmcv.runner.hooks import HOOKS, OptimizerHook

from labelloop.halving import OutOfMemory
from trainer.training import together
from trainer.training.resuming import ResumingRunner

Batch = dict[str, DataContainer]
Gradients = list[tuple[torch.nn.Parameter, torch.Tensor]]


@RUNNERS.register_module()
class PartsRunner(ResumingRunner):
    """A ResumingRunner that computes the gradients of each batch itself, in parts if need be; StepHook then
    takes the optimizer's step.

    A batch for which the GPU's memory does not suffice is divided in two, and so is every later one; the
    gradients of the parts add up. So a round has as many steps as it would have had, on the same images.
    Of processes that train together none can do that by itself, and memory that does not suffice ends the
    round.

    precision: of labelloop.precision; fp16's gradients are scaled. The scale, and the number of parts, are in
    the checkpoint.
    """

    def __init__(self, *args: Any, precision: str, device: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scaler = torch.amp.GradScaler(device, enabled=precision == "fp16")
        self.parts = 1

    def kept(self) -> dict[str, Any]:
        return {"scaler": self.scaler.state_dict(), "parts": self.parts}

    def take_back(self, kept: dict[str, Any]) -> None:
        self.parts = kept.get("parts", 1)
        if self.scaler.is_enabled() and kept.get("scaler"):  # {} if it was trained in another precision
            self.scaler.load_state_dict(kept["scaler"])

    def train(self, data_loader: Any, **kwargs: Any) -> None:
        """One iteration, as IterBasedRunner's, with the gradients."""
        self.model.train()
        self.mode = "train"
        self.data_loader = data_loader
        self._epoch = data_loader.epoch
        self.data_batch = next(data_loader)
        self.call_hook("before_train_iter")
        self.outputs = self._outputs(self.data_batch)
        self.log_buffer.update(self.outputs["log_vars"], self.outputs["num_samples"])
        self.call_hook("after_train_iter")
        del self.data_batch
        self._inner_iter += 1
        self._iter += 1

    def _outputs(self, batch: Batch) -> dict[str, Any]:
        """Raises OutOfMemory: one image of the batch does not fit, or what each of several processes has."""
        before = self._put_aside()
        while True:
            try:
                found = self._in_parts(batch)
            except torch.OutOfMemoryError:
                pass  # Outside of this block, nothing of the failed pass is kept alive by its traceback.
            else:
                _add(before)
                return found
            images = len(batch["img_metas"].data[0])
            if together.size() > 1:
                raise OutOfMemory(
                    f"the {images} images of each of {together.size()} processes, which cannot divide them "
                    "further (TRAINING_PROCESSES=1 can)"
                )
            if self.parts >= images:
                raise OutOfMemory("the training of one image")
            self.parts = min(2 * self.parts, images)
            self.optimizer.zero_grad()
            torch.cuda.empty_cache()
            print(
                f"The GPU's memory does not hold {images} images at once: from iteration {self.iter + 1} on "
                f"each batch is trained on in {self.parts} parts, whose gradients add up",
                flush=True,
            )

    def _put_aside(self) -> Gradients:
        """The gradients that earlier iterations have gathered for the next step, taken from the parameters: a
        failed pass leaves some of its own there, which are thrown away. There are none where each iteration
        takes a step.
        """
        parameters = [one for group in self.optimizer.param_groups for one in group["params"]]
        gathered = [(one, one.grad) for one in parameters if one.grad is not None]
        for parameter, _ in gathered:
            parameter.grad = None
        return gathered

    def _in_parts(self, batch: Batch) -> dict[str, Any]:
        images = len(batch["img_metas"].data[0])
        logged: dict[str, float] = {}
        total = 0.0
        for part in parted(batch, self.parts):
            share = len(part["img_metas"].data[0]) / images
            found = self.model.train_step(part, self.optimizer)
            self.scaler.scale(found["loss"] * share).backward()
            total += float(found["loss"].detach()) * share
            for name, value in found["log_vars"].items():
                logged[name] = logged.get(name, 0.0) + value * share
        return {"loss": total, "log_vars": logged, "num_samples": images}


@HOOKS.register_module()
class StepHook(OptimizerHook):  # type: ignore[misc]  # mmcv is untyped
    """The optimizer's step behind a PartsRunner's gradients: every `cumulative_iters` iterations."""

    def __init__(self, grad_clip: dict[str, Any] | None = None, cumulative_iters: int = 1) -> None:
        super().__init__(grad_clip=grad_clip)
        self._every = cumulative_iters

    def after_train_iter(self, runner: PartsRunner) -> None:
        last = runner.iter + 1 == runner.max_iters
        if (runner.iter + 1) % self._every and not last:
            return
        runner.scaler.unscale_(runner.optimizer)
        parameters = list(runner.model.parameters())
        if self._every > 1:
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad /= self._every
        if self.grad_clip is not None:
            self.clip_grads(parameters)
        runner.scaler.step(runner.optimizer)
        runner.scaler.update()
        runner.optimizer.zero_grad()


def _add(gradients: Gradients) -> None:
    """Adds gradients that were put aside to those that the parameters have now. It takes no more memory."""
    for parameter, before in gradients:
        parameter.grad = before if parameter.grad is None else before.add_(parameter.grad)


def parted(batch: Batch, parts: int) -> Iterator[Batch]:
    """A collated batch in so many parts of nearly equal size; with as many parts as images, each is one."""
    images = len(batch["img_metas"].data[0])
    if parts <= 1:
        yield batch
        return
    edges = [round(images * number / parts) for number in range(parts + 1)]
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        if end > start:
            yield {key: _cut(value, start, end) for key, value in batch.items()}


def _cut(container: DataContainer, start: int, end: int) -> DataContainer:
    [content] = container.data
    return DataContainer(
        [content[start:end]], container.stack, container.padding_value, container.cpu_only, container.pad_dims
    )
