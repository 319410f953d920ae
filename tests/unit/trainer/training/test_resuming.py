"""A round that was interrupted ends with the weights of one that was not."""

import logging
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.datasets.samplers import InfiniteGroupBatchSampler
from support.small_rounds import SmallRounds, trainable

from trainer.rounds.folder import TRAIN_IMAGES
from trainer.training import bundle, hooks, learn
from trainer.training.hooks import LastCheckpointHook
from trainer.training.pasting import Objects
from trainer.training.resuming import ResumingRunner, save, skip

ITERATIONS = 7


@pytest.fixture(autouse=True)
def without_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "add_graph", lambda folder, images: "none")


def content(folder: Path, name: str) -> Any:
    return torch.load(folder / name, weights_only=True)


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


@pytest.mark.parametrize(
    ("detector", "classes"),
    [("yolox", ["ball", "crate"]), ("faster_rcnn", ["cat", "dog", "kite"])],
    ids=["blended", "new head"],
)
def test_weights_are_those_of_a_round_that_was_not_interrupted(
    detector: str, classes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit: order, flips, copied objects, sizes and samples drawn, momentum, learning rate, and what is
    blended in.

    YOLOX draws a size after iterations 2, 4 and 6 and keeps it for two; Faster R-CNN draws proposals.
    """
    config = trainable(detector)
    config.loop.paste = 1.0
    small = SmallRounds.below(tmp_path, detector, config)
    snapshot = small.snapshot(size=(480, 360))
    start = small.weights(tmp_path / "start.pth", classes)
    through, stopped = (
        small.round(name, snapshot, start, classes, iterations=ITERATIONS) for name in ("through", "stopped")
    )
    learn.learn(through, small.settings)
    assert Objects(through / TRAIN_IMAGES), "there is something to copy"

    before_iteration = hooks.StopHook.before_train_iter
    for end in (3, 5):

        def stop(hook: hooks.StopHook, runner: Any, end: int = end) -> None:
            if runner.iter == end:
                raise hooks.Stopped("a test")

        monkeypatch.setattr(hooks.StopHook, "before_train_iter", stop)
        with pytest.raises(hooks.Stopped):
            learn.learn(stopped, small.settings)
        assert content(stopped, "last.pth")["iter"] == end
    monkeypatch.setattr(hooks.StopHook, "before_train_iter", before_iteration)
    learn.learn(stopped, small.settings)

    assert_same(content(stopped, "last.pth"), content(through, "last.pth"))
    assert_same(content(stopped, "candidate/weights.pth"), content(through, "candidate/weights.pth"))
    trained, untrained = content(through, "last.pth")["state_dict"], torch.load(start, weights_only=True)
    moved = [key for key in trained if key in untrained and not torch.equal(trained[key], untrained[key])]
    assert len(moved) > 50


class Images:
    """Eleven images of two shapes, of which a batch holds one kind."""

    flag = np.array([0, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0])

    def __len__(self) -> int:
        return len(self.flag)


@pytest.mark.parametrize("skipped", [0, 1, 2, 7, 30])
def test_batches_that_were_drawn_are_skipped(skipped: int) -> None:
    through, resumed = (InfiniteGroupBatchSampler(Images(), 3, 1, 0, seed=20) for _ in range(2))
    skip(resumed, skipped)
    assert list(islice(resumed, 9)) == list(islice(through, skipped, skipped + 9))


def linear(last: Path, inputs: int = 2) -> ResumingRunner:
    model = torch.nn.Linear(inputs, 1)
    model.train_step = None
    return ResumingRunner(
        model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        work_dir=str(last.parent),
        logger=logging.getLogger("runner"),
        max_iters=9,
        meta={},
        last=str(last),
    )


def test_what_hooks_keep_in_meta_comes_back(tmp_path: Path) -> None:
    """The scale of half-precision losses, above all."""
    running = linear(tmp_path / "last.pth")
    running.meta["fp16"] = {"loss_scaler": {"scale": 512.0}}
    save(running, tmp_path / "last.pth", done=4)
    resumed = linear(tmp_path / "last.pth")
    resumed.go_on()
    assert resumed.iter == 4 and resumed.meta == running.meta
    assert_same(dict(resumed.model.state_dict()), dict(running.model.state_dict()))


@pytest.mark.parametrize("wrong", ["another model", "of a former release"])
def test_a_checkpoint_that_does_not_fit_is_dropped_and_changes_nothing(
    wrong: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    last = tmp_path / "last.pth"
    save(linear(last, inputs=3 if wrong == "another model" else 2), last, done=4)
    if wrong == "of a former release":
        kept = torch.load(last, weights_only=True)
        torch.save({**{key: kept[key] for key in ("state_dict", "optimizer")}, "meta": {"iter": 4}}, last)
    running = linear(last)
    before = {key: value.clone() for key, value in running.model.state_dict().items()}
    running.go_on()
    assert running.iter == 0 and not last.exists() and "starting anew" in caplog.text
    assert_same(dict(running.model.state_dict()), before)


def test_where_gradients_are_gathered_a_checkpoint_waits_for_the_optimizers_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(hooks, "save", lambda runner, path, done: saved.append(done))
    hook = LastCheckpointHook(str(tmp_path / "last.pth"), every_s=0.0, every_iters=4)
    for iteration in range(10):
        hook.after_train_iter(SimpleNamespace(iter=iteration))
    assert saved == [4, 8]
