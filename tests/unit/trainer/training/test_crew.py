"""Processes that train a round together: their places, their parts of a batch, and whose fault an end was."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmcv import Config
from mmdet.datasets.samplers import InfiniteGroupBatchSampler

from labelloop.halving import OutOfMemory
from labelloop.settings import Settings
from trainer.system.children import STOPPED
from trainer.system.failures import Unforeseen
from trainer.training import members, parts, resuming, together
from trainer.training.crew import ALONE, Member, on_one_machine, processes, share
from trainer.training.job import Job
from trainer.training.members import EXPLAINED, LOST, Ending, on_this_machine
from trainer.training.process import TrainingCancelled, TrainingFailed, TrainingKilled, run
from trainer.training.recipe import CACHE_BYTES, LOADER, fit_crew, fit_run

JOB = Job(
    project_id=1,
    detector="x",
    why="",
    parent=None,
    start="",
    start_weights="",
    start_classes=[],
    iterations=10,
    threads=8,
    accelerator="cpu",
)


@pytest.mark.parametrize(
    ("batch", "size", "images", "rate"),
    [(8, 1, 8, 1), (8, 2, 4, 1), (8, 3, 3, 1.125), (8, 8, 1, 1), (8, 5, 2, 1.25), (8, 6, 1, 0.75)],
)  # fmt: skip
def test_a_batch_stays_as_large_as_it_can_and_the_rate_follows(
    batch: int, size: int, images: int, rate: float
) -> None:
    own = share(batch, size)
    assert own.images == images and own.rate == pytest.approx(rate)


def test_a_crew_that_cannot_divide_a_batch_says_what_it_does() -> None:
    config = Config(dict(data=dict(samples_per_gpu=8), optimizer=dict(lr=0.01)))
    assert fit_crew(config, Member(size=2)) == "2 processes, with 4 images of a batch each"
    assert (config.data.samples_per_gpu, config.optimizer.lr) == (4, 0.01)
    assert "batches are of 3 images, as 4 cannot be divided, at 0.750" in fit_crew(config, Member(size=3))
    assert config.optimizer.lr == pytest.approx(0.0075)


def test_threads_and_memory_are_divided(tmp_path: Path) -> None:
    config = Config(dict(data=dict(train=dict(pipeline=[dict(type=LOADER)])), optimizer=dict(lr=1)))
    first, second = on_one_machine(2, "file:///x", JOB.threads)
    assert (first.leads, second.leads, second.local_rank, first.threads) == (True, False, 1, 4)
    fit_run(config, tmp_path, JOB, "cpu", second)
    [threads] = [hook for hook in config.custom_hooks if hook["type"] == "ThreadsHook"]
    assert threads["limit"] == 4
    assert config.data.train.pipeline[0]["cache_bytes"] == CACHE_BYTES // 2


def test_a_place_is_read_from_the_environment() -> None:
    assert Member.of({"RANK": "1", "WORLD_SIZE": "2"}) == ALONE, "another program's variables"
    member = Member(rank=1, size=3, local_rank=1, rendezvous="tcp://h:1", threads=2, patience_s=9)
    assert Member.of(member.environment()) == member and not member.alone


def test_auto_takes_every_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    auto = Settings(training_processes="auto")
    assert (processes(auto, "cuda"), processes(auto, "cpu")) == (2, 1)
    assert processes(Settings(training_processes=3), "cpu") == 3
    assert processes(Settings(), "cuda") == 1
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert processes(auto, "cuda") == 1


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(together.NoGpu, match=r"^process 2 of 2 has no GPU: the machine has 1; .*=auto"),
        together.joined(Member(rank=1, size=2, local_rank=1, rendezvous="file:///x"), "cuda"),
    ):
        pass


def test_every_image_is_one_members_once_an_epoch() -> None:
    images, epochs = 24, 3

    class Images:
        flag = np.zeros(images, np.uint8)

        def __len__(self) -> int:
            return images

    of_members = [
        iter(InfiniteGroupBatchSampler(Images(), 4, world_size=2, rank=rank, seed=JOB.seed))
        for rank in (0, 1)
    ]
    for _ in range(epochs):
        shown = [index for _ in range(images // 8) for batches in of_members for index in next(batches)]
        assert sorted(shown) == list(range(images))


class FakeProcess:
    def __init__(self, statuses: list[int | None], number: int) -> None:
        self._statuses, self._number, self.killed = statuses, number, False

    def status(self) -> int | None:
        return self._statuses[self._number]

    def kill(self) -> None:
        self.killed = True

    def last_words(self) -> str:
        return f"words of {self._number + 1}"


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ending | None]:
    """How a crew whose processes have these exit statuses is said to have ended."""

    def of(*statuses: int | None, settle_s: float = 0.0) -> Ending | None:
        monkeypatch.setattr(members, "SETTLE_S", settle_s)

        def start(folder: Path, job: Job, member: Member, environment: Mapping[str, str]) -> Any:
            return FakeProcess(list(statuses), member.rank)

        monkeypatch.setattr(members, "_start", start)
        crew = on_this_machine(len(statuses))(tmp_path, JOB, {})
        return crew.ending()

    return of


@pytest.mark.parametrize(
    ("statuses", "status", "number"),
    [
        ((LOST, -9), -9, 2),
        ((LOST, EXPLAINED, LOST), EXPLAINED, 2),
        ((1, LOST), 1, 1),
        ((LOST, None), None, 2),
        ((LOST, 1, None), 1, 2),
        ((STOPPED, STOPPED), STOPPED, 1),
        ((STOPPED, None), STOPPED, 1),
        ((LOST, LOST), LOST, 1),
        ((-15, 0), -15, 1),
    ],
)
def test_who_brought_the_others_down(
    statuses: tuple[int | None, ...], status: int | None, number: int, ended: Callable[..., Ending | None]
) -> None:
    found = ended(*statuses)
    who = f"process {number} of {len(statuses)} of the training"
    assert found == Ending(status, who, f"words of {number}")


def test_the_others_have_time_to_end(ended: Callable[..., Ending | None]) -> None:
    assert ended(LOST, None, settle_s=60) is None
    assert ended(0, None) is None, "the first one still writes"
    assert ended(0, 0) == Ending(0, "training", "")
    assert ended(None) is None and ended(-9) == Ending(-9, "training", "words of 1")


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (STOPPED, TrainingCancelled, "^last words$"),
        (EXPLAINED, TrainingFailed, "^last words$"),
        (LOST, TrainingKilled, "^last words$"),
        (None, TrainingKilled, "^process 2 of 2 hung"),
        (-9, TrainingKilled, r"^process 2 of 2 was ended by .*SIGKILL"),
        (1, Unforeseen, "^last words$"),
        (0, Unforeseen, "exit status 0"),
    ],
)
def test_what_an_end_means_for_the_round(
    status: int | None, error: type[Exception], words: str, tmp_path: Path
) -> None:
    (tmp_path / "job.json").write_text(JOB.model_dump_json())
    killed: list[bool] = []
    crew = SimpleNamespace(
        ending=lambda: Ending(status, "process 2 of 2", "last words"), end=lambda: killed.append(True)
    )

    def begin(round_dir: Path, job: Job, environment: Mapping[str, str]) -> Any:
        return crew

    with pytest.raises(error, match=words) as found:
        run(tmp_path, lambda metrics: None, lambda: False, begin=begin)
    assert type(found.value) is error and killed


def test_a_lost_member_is_told_from_a_fault() -> None:
    assert together.is_of_others(RuntimeError("[gloo/transport/tcp/pair.cc:538] Connection closed by peer"))
    assert together.is_of_others(RuntimeError("Timed out waiting 20000ms for recv operation to complete"))
    assert not together.is_of_others(RuntimeError("The size of tensor a (3) must match the size of tensor b"))


def test_a_checkpoint_of_fewer_processes_has_no_generators_for_the_rest() -> None:
    content = {"generators": {"of": 1}, "others": [{"of": 2}]}
    found = [resuming._generators_of(content, rank) for rank in (0, 1, 2)]
    assert found == [{"of": 1}, {"of": 2}, None]
    assert resuming._generators_of({"generators": {"of": 1}}, 1) is None, "of an earlier release"


def test_processes_that_see_different_checkpoints_are_told_so(tmp_path: Path) -> None:
    resuming._require_one([40, 40], tmp_path)
    with pytest.raises(resuming.Apart, match=r"\(process 1 at 40, process 2 at 20\)"):
        resuming._require_one([40, 20], tmp_path)


def test_memory_that_does_not_suffice_ends_a_crew_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts.together, "size", lambda: 2)
    runner = parts.PartsRunner.__new__(parts.PartsRunner)
    runner.parts, runner.optimizer = 1, SimpleNamespace(param_groups=[])

    def full(batch: Any) -> Any:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(runner, "_in_parts", full)
    batch: Any = {"img_metas": SimpleNamespace(data=[[None] * 4])}
    with pytest.raises(OutOfMemory, match=r"the 4 images of each of 2 processes.*TRAINING_PROCESSES=1 can"):
        runner._outputs(batch)
