"""What training does on a GPU, with the CPU in its place: batches in parts, and fp16's scaled gradients."""

import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmcv import Config
from mmcv.parallel import DataContainer, collate
from mmdet.models.detectors.base import BaseDetector
from support.small_rounds import SmallRounds, trainable

from labelloop.halving import OutOfMemory
from trainer.rounds.metrics import Metrics
from trainer.training import bundle, hooks, learn
from trainer.training import parts as on_a_gpu
from trainer.training.crew import Member
from trainer.training.parts import PartsRunner, parted
from trainer.training.pinning import pin
from trainer.training.recipe import fit_gpu

LABELS = ["ball", "crate"]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallRounds:
    monkeypatch.setattr(bundle, "add_graph", lambda folder, images: "none")
    config = trainable("yolox")
    config.model.random_size_range = (2, 3)  # of one image with 32 px batch normalisation would see one value
    return SmallRounds.below(tmp_path, "yolox", config)


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch, precision: str = "fp32") -> None:
    fit_run = learn.fit_run

    def fit(config: Any, folder: Path, job: Any, device: str, member: Member) -> None:
        fit_run(config, folder, job, device)
        fit_gpu(config, "cpu", precision)

    monkeypatch.setattr(learn, "fit_run", fit)


def holding(monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    """A GPU whose memory holds the training of so many images."""
    step = BaseDetector.train_step

    def train_step(self: Any, data: Any, optimizer: Any) -> Any:
        if len(data["img_metas"]) > images:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return step(self, data, optimizer)

    monkeypatch.setattr(BaseDetector, "train_step", train_step)


def trained(small: SmallRounds, name: str, parts: int = 1) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The losses, and the candidate's weights."""
    start = small.settings.labelloop_home / "start.pth"
    if not start.exists():
        small.weights(start, LABELS)
    folder = small.round(name, small.snapshot(LABELS), start, LABELS, checkpoint_every_s=60.0)
    learn.learn(folder, small.settings)
    rows = [Metrics.of(line) for line in (folder / "metrics.jsonl").open()]
    assert {row.parts for row in rows} == {parts}
    return [row.losses["loss"] for row in rows], torch.load(
        folder / "candidate" / "weights.pth", weights_only=True
    )


def test_whole_batches_train_as_on_a_cpu_and_half_ones_go_on(
    small: SmallRounds, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    losses, weights = trained(small, "cpu")
    as_on_a_gpu(monkeypatch)
    again, others = trained(small, "whole")
    assert again == losses and all(torch.equal(weights[key], others[key]) for key in weights)
    told = capsys.readouterr().out
    assert "in 2 parts" not in told
    assert re.search(r"Of \d+ s of iterations the model waited \d+\.\d s, \d+%, for images and hooks\n", told)

    holding(monkeypatch, 1)
    halved, others = trained(small, "halved", parts=2)
    assert len(halved) == len(losses) and halved[0] == pytest.approx(losses[0], rel=0.5)
    assert all(torch.isfinite(value.float()).all() for value in others.values())
    assert capsys.readouterr().out.count("does not hold 2 images at once: from iteration 1 on") == 1


@pytest.mark.parametrize(("hook", "found"), [("OptimizerHook", "fp16"), ("ItsOwnHook", "fp32")])
def test_a_detector_whose_steps_are_its_own_trains_in_32_bits(
    hook: str, found: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing would scale fp16's gradients, and the smallest would be lost."""
    mixed: list[str] = []
    monkeypatch.setattr(learn.precision, "choices", lambda device: ("fp16",))
    monkeypatch.setattr(learn.precision, "mix", lambda model, precision, device: mixed.append(precision))
    job: Any = SimpleNamespace(precision="auto")
    config = Config({"optimizer_config": {"type": hook}, "runner": {}})
    assert learn.take_precision(job, config, torch.nn.Module(), "cuda") == found
    assert mixed == [found] * (found == "fp16")
    assert capsys.readouterr().out == "", "measuring asks for it, too, and trains no round"
    fit_gpu(config, "cuda", found)
    assert (config.optimizer_config.type == "StepHook") == (found == "fp16")


def test_fp16s_gradients_are_scaled_and_taken_back(
    small: SmallRounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, _ = trained(small, "cpu")
    as_on_a_gpu(monkeypatch, "fp16")
    assert trained(small, "scaled")[0] == pytest.approx(losses, rel=1e-3)


class TooHigh(torch.amp.GradScaler):
    """Its scale overflows at once and after every second step, so that weights depend on where it stands."""

    def __init__(self, device: str, enabled: bool = True) -> None:
        step = 2.0**20
        super().__init__(device, 2.0**127, step, 1 / step, growth_interval=2, enabled=enabled)


def test_a_round_in_fp16_that_was_interrupted_ends_as_one_that_was_not(
    small: SmallRounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_on_a_gpu(monkeypatch, "fp16")
    monkeypatch.setattr(on_a_gpu.torch.amp, "GradScaler", TooHigh)
    _, expected = trained(small, "through")
    before_iteration = hooks.StopHook.before_train_iter

    def stop(hook: hooks.StopHook, runner: Any) -> None:
        if runner.iter == 2:
            raise hooks.Stopped("a test")

    monkeypatch.setattr(hooks.StopHook, "before_train_iter", stop)
    start = small.settings.labelloop_home / "start.pth"
    folder = small.round("stopped", small.snapshot(LABELS), start, LABELS)
    with pytest.raises(hooks.Stopped):
        learn.learn(folder, small.settings)
    kept = torch.load(folder / "last.pth", weights_only=True)["kept"]
    assert (kept["scaler"]["scale"], kept["scaler"]["_growth_tracker"], kept["parts"]) == (2.0**107, 1, 1)

    monkeypatch.setattr(hooks.StopHook, "before_train_iter", before_iteration)
    learn.learn(folder, small.settings)
    found = torch.load(folder / "candidate" / "weights.pth", weights_only=True)
    assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize("kept", [{}, {"scaler": {}, "parts": 4}])
def test_a_checkpoint_without_a_scale_is_gone_on_from(kept: dict[str, Any]) -> None:
    """Of a former release, or of a part of the round that another GPU trained in bf16."""
    runner = SimpleNamespace(scaler=torch.amp.GradScaler("cpu", init_scale=4.0), parts=1)
    PartsRunner.take_back(runner, kept)  # type: ignore[arg-type]
    assert (runner.scaler.get_scale(), runner.parts) == (4.0, kept.get("parts", 1))


def test_what_was_gathered_before_memory_ran_out_is_kept() -> None:
    """A step behind two iterations, in the second of which a pass fails when some gradients are there."""
    weight = torch.nn.Parameter(torch.ones(1))
    passes: list[int] = []

    def step(data: Any, optimizer: object) -> dict[str, Any]:
        images = len(data["img_metas"].data[0])
        passes.append(images)
        if passes == [2, 2]:
            (3 * weight).sum().backward()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        loss = (data["img"].data[0] * weight).mean()
        return {"loss": loss, "log_vars": {}}

    runner = PartsRunner.__new__(PartsRunner)
    runner.model = SimpleNamespace(train_step=step)
    runner.optimizer = torch.optim.SGD([weight], lr=0.1)
    runner.scaler, runner.parts, runner._iter = torch.amp.GradScaler("cpu", enabled=False), 1, 0
    gradients = []
    for _ in range(2):
        runner._outputs(batch(2))
        gradients.append(float(weight.grad))  # type: ignore[arg-type]
    assert passes == [2, 2, 1, 1] and gradients == pytest.approx([0.5, 1.0])


def test_a_gpu_gets_its_batches_in_page_locked_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """mmcv's containers have no way to be locked, and torch's loader would pass them by without a word."""
    locked: list[tuple[int, ...]] = []

    def pin_memory(tensor: torch.Tensor) -> torch.Tensor:
        locked.append(tuple(tensor.shape))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    samples = [
        {
            "img": DataContainer(torch.full((3, 4, 4), float(number)), stack=True),
            "gt_bboxes": DataContainer(torch.zeros(number + 1, 4)),
            "img_metas": DataContainer({"number": number}, cpu_only=True),
        }
        for number in range(2)
    ]
    loader = torch.utils.data.DataLoader(
        samples, batch_size=2, collate_fn=partial(collate, samples_per_gpu=2)
    )
    pin(loader)
    [found] = loader
    assert locked == [(2, 3, 4, 4), (1, 4), (2, 4)]
    assert found["img_metas"].data == [[{"number": 0}, {"number": 1}]] and found["img_metas"].cpu_only
    assert found["img"].stack and torch.equal(found["img"].data[0][1], torch.ones(3, 4, 4))
    assert [len(part["gt_bboxes"].data[0]) for part in parted(found, 2)] == [1, 1]
    for device, pins in (("cuda", True), ("cpu", False)):
        config = Config({"optimizer_config": {"type": "ItsOwnHook"}, "runner": {}})
        fit_gpu(config, device, "fp32")
        assert config.runner.pins is pins


def test_one_image_that_does_not_fit_is_told_with_the_way_out(
    small: SmallRounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_on_a_gpu(monkeypatch)
    holding(monkeypatch, 0)
    with pytest.raises(OutOfMemory, match="does not hold the training of one image.*smaller DETECTOR"):
        trained(small, "1")


def batch(images: int) -> dict[str, DataContainer]:
    values = torch.arange(float(images))
    metas = [{"number": number} for number in range(images)]
    return {
        "img": DataContainer([values[:, None]], stack=True),
        "img_metas": DataContainer([metas], cpu_only=True),
    }


@pytest.mark.parametrize(("images", "parts", "sizes"), [(8, 2, [4, 4]), (5, 2, [2, 3]), (3, 8, [1, 1, 1])])
def test_a_batch_is_divided_evenly(images: int, parts: int, sizes: list[int]) -> None:
    found = list(parted(batch(images), parts))
    assert [len(part["img_metas"].data[0]) for part in found] == sizes
    assert torch.equal(torch.cat([part["img"].data[0] for part in found]), batch(images)["img"].data[0])


def test_the_gradients_of_parts_add_up_to_the_batchs() -> None:
    """Parts of different sizes count by their images."""
    gradients = []
    for parts in (1, 2, 5):
        weight = torch.ones(1, requires_grad=True)

        def step(data: Any, optimizer: object, weight: torch.Tensor = weight) -> dict[str, Any]:
            loss = (data["img"].data[0] * weight).mean()
            return {"loss": loss, "log_vars": {"loss": float(loss.detach())}}

        scaler = torch.amp.GradScaler("cpu", enabled=False)
        runner = SimpleNamespace(
            parts=parts, model=SimpleNamespace(train_step=step), optimizer=None, scaler=scaler
        )
        found = PartsRunner._in_parts(runner, batch(5))  # type: ignore[arg-type]
        assert found["loss"] == found["log_vars"]["loss"] == pytest.approx(2.0) and found["num_samples"] == 5
        gradients.append(float(weight.grad))  # type: ignore[arg-type]
    assert gradients == pytest.approx([2.0, 2.0, 2.0])
