"""What training does on a GPU, with the CPU in its place: batches in parts, and fp16's scaled gradients."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmcv import Config
from mmcv.parallel import DataContainer
from mmdet.models.detectors.base import BaseDetector
from support.small_rounds import SmallRounds, trainable

from labelloop.halving import OutOfMemory
from trainer.rounds.metrics import Metrics
from trainer.training import bundle, hooks, learn
from trainer.training.parts import PartsRunner, parted
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

    def fit(config: Any, folder: Path, job: Any, device: str) -> None:
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
    assert "in 2 parts" not in capsys.readouterr().out

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


def test_a_resumed_round_goes_on_with_the_scale_and_in_the_parts_that_it_had(
    small: SmallRounds, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the bit, also with gradients that are scaled: the scale grows here after each second step."""
    monkeypatch.setattr(torch.amp, "GradScaler", partial(torch.amp.GradScaler, growth_interval=2))
    as_on_a_gpu(monkeypatch, "fp16")
    holding(monkeypatch, 1)
    start = small.weights(small.settings.labelloop_home / "start.pth", LABELS)
    snapshot = small.snapshot(LABELS)
    through, stopped = (
        small.round(name, snapshot, start, LABELS, iterations=5) for name in ("through", "stopped")
    )
    learn.learn(through, small.settings)

    def stop(hook: hooks.StopHook, runner: Any) -> None:
        if runner.iter == 3:
            raise hooks.Stopped("a test")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(hooks.StopHook, "before_train_iter", stop)
        with pytest.raises(hooks.Stopped):
            learn.learn(stopped, small.settings)
    capsys.readouterr()
    learn.learn(stopped, small.settings)
    assert "does not hold 2 images at once" not in capsys.readouterr().out, "that was known"

    expected, found = (torch.load(of / "last.pth", weights_only=True) for of in (through, stopped))
    assert found["noted"] == expected["noted"]
    assert found["noted"]["parts"] == 2 and found["noted"]["scaler"]["scale"] == 2.0**18
    key = next(name for name in found["state_dict"] if name.endswith("conv_cls.0.weight"))
    assert torch.equal(found["state_dict"][key], expected["state_dict"][key])


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
