"""Rounds on real nodes of Ray on this machine: one and two of them, killed, cancelled, with other code.

A job of its own: `make test TESTS=tests/cluster`. It needs root, for a network namespace, and Ray.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from support.network_namespaces import cannot
from support.ray_nodes import Nodes, nodes
from support.small_rounds import SmallRounds, trainable
from support.stack import wait_for

from labelloop.registry import Card
from trainer.rounds.metrics import Metrics, read
from trainer.training.members import on_this_machine
from trainer.training.process import candidate_folder, run

pytestmark = pytest.mark.skipif(bool(cannot()), reason=cannot())

CLASSES = ["ball", "crate"]
ITERATIONS = 60
ROUND_S = 1800
NAMED_S = 1800
NOISE = 0.15
"""By so much the mean loss of a round's last third differs when its images come in another order."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallRounds:
    home = tmp_path_factory.mktemp("home")
    config = trainable("yolox")
    config.data.samples_per_gpu = 8
    made = SmallRounds.below(home, "yolox", config)
    made.weights(home / "start.pth", CLASSES)
    return made


@pytest.fixture(scope="module")
def cluster(small: SmallRounds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A head and a second machine of one core each; a third one has other code."""
    with nodes(small.settings.labelloop_home, tmp_path_factory.mktemp("ray")) as made:
        made.start(1)
        made.start(2)
        made.start(3, version="0123456789ab")
        yield made


class Begun:
    """A round that a cluster trains."""

    def __init__(self, cluster: Nodes, folder: Path, processes: int) -> None:
        self.folder, self._output = folder, (folder / "said.txt").open("w+")
        variables = cluster.variables(1) | {
            "CLUSTER": "ray",
            "RAY_ADDRESS": cluster.head,
            "TRAINING_PROCESSES": str(processes),
            "THREADS": "1",
            "CREW_PATIENCE_S": "60",
        }
        command = [sys.executable, "-m", "support.cluster_round", str(folder)]
        self._process = cluster.popen(command, variables, self._output)

    def at(self, iteration: int) -> None:
        """Waits until so many iterations are trained."""
        wait_for(
            f"iteration {iteration}",
            lambda: len(self.rows) >= iteration or self._process.poll() is not None,
            ROUND_S,
            every=0.1,
        )
        assert len(self.rows) >= iteration, self.said

    @property
    def rows(self) -> list[Metrics]:
        return read(self.folder / "metrics.jsonl")

    @property
    def said(self) -> str:
        logs = (path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("log*.txt")))
        return "\n".join([*logs, (self.folder / "said.txt").read_text()])

    def end(self) -> str:
        """Its last line."""
        self._process.wait(ROUND_S)
        return (self.folder / "said.txt").read_text().strip().splitlines()[-1]


def round_of(small: SmallRounds, name: str, **job: Any) -> Path:
    values = {"iterations": ITERATIONS, "checkpoint_every_s": 0.0, **job}
    return small.round(name, small.snapshot(), Path("start.pth"), CLASSES, **values)


def assert_whole(folder: Path) -> None:
    assert [row.iteration for row in read(folder / "metrics.jsonl")] == list(range(1, ITERATIONS + 1))
    card = Card.model_validate_json((candidate_folder(folder) / "card.json").read_bytes())
    assert card.images == 5 and (candidate_folder(folder) / "weights.pth").is_file()


@pytest.mark.timeout(3 * NAMED_S)
def test_one_worker_trains_a_round_as_this_machine_would(
    cluster: Nodes, small: SmallRounds, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LABELLOOP_HOME", str(small.settings.labelloop_home))
    embedded = round_of(small, "embedded")
    began = time.monotonic()
    run(embedded, lambda metrics: None, lambda: False, begin=on_this_machine(1))
    seconds = time.monotonic() - began
    begun = Begun(cluster, round_of(small, "one"), 1)
    ended = begun.end()
    assert ended.startswith("trained"), begun.said
    assert_whole(begun.folder)
    for row, here in zip(begun.rows, read(embedded / "metrics.jsonl"), strict=True):
        assert row.losses == pytest.approx(here.losses, rel=1e-4), "by the same images, to the same weights"
    with capsys.disabled():
        theirs, ours = (read(folder / "metrics.jsonl")[-1].seconds for folder in (begun.folder, embedded))
        print(f"\n{ended}, iterations {theirs:.1f} s; embedded: {seconds:.1f} s, iterations {ours:.1f} s")


@pytest.mark.timeout(3 * NAMED_S)
def test_two_workers_go_on_with_one_when_a_machine_is_killed(cluster: Nodes, small: SmallRounds) -> None:
    begun = Begun(cluster, round_of(small, "killed"), 2)
    begun.at(5)
    cluster.kill(2)
    assert begun.end().startswith("trained"), begun.said
    assert_whole(begun.folder)
    assert (begun.rows[0].processes, begun.rows[-1].processes) == (2, 1)
    told = (begun.folder / "log-cluster.txt").read_text()
    assert "0123456789ab" in told and "gets no work: its code is" in told, "both versions are named"
    assert "A process of the training was lost" in told
    cluster.start(2)


@pytest.mark.timeout(2 * NAMED_S)
def test_cancelling_stops_all_workers(cluster: Nodes, small: SmallRounds) -> None:
    begun = Begun(cluster, round_of(small, "cancelled", iterations=100_000), 2)
    begun.at(2)
    (begun.folder / "please-cancel").touch()
    assert begun.end().startswith("TrainingCancelled: cancelled at iteration"), begun.said
    assert not candidate_folder(begun.folder).exists()


@pytest.mark.timeout(2 * NAMED_S)
def test_a_failure_is_told_in_one_line_and_not_repeated(cluster: Nodes, small: SmallRounds) -> None:
    folder = round_of(small, "unreadable")
    path = folder / "snapshot.json"
    path.write_text(path.read_text().replace(".png", ".gone"))
    begun = Begun(cluster, folder, 2)
    assert "TrainingFailed: none of the 5 training images can be read" in begun.end(), begun.said
    assert (folder / "log-cluster.txt").read_text().count("Asks for") == 1


@pytest.mark.timeout(2 * NAMED_S)
def test_a_machine_that_does_not_see_the_share_is_named(
    cluster: Nodes, small: SmallRounds, tmp_path: Path
) -> None:
    cluster.start(4, home=tmp_path)
    begun = Begun(cluster, round_of(small, "apart"), 3)
    ended = begun.end()
    cluster.kill(4)
    assert ended.startswith("TrainingFailed") and "10.78.0.4) does not see the same volumes/" in ended
    assert str(tmp_path) in ended


@pytest.mark.timeout(4 * NAMED_S)
def test_a_round_whose_head_is_killed_waits_and_is_taken_up_when_it_is_back(
    cluster: Nodes, small: SmallRounds
) -> None:
    folder = round_of(small, "headless")
    begun = Begun(cluster, folder, 1)
    begun.at(5)
    for number in (1, 2, 3):
        cluster.kill(number)
    ended = begun.end()
    assert ended.startswith("TrainingWaits"), begun.said
    before = begun.rows[-1].iteration
    away = Begun(cluster, folder, 1).end()
    assert away.startswith("TrainingWaits: the cluster at 10.78.0.1:6379 does not answer"), away
    cluster.start(1)
    again = Begun(cluster, folder, 1)
    assert again.end().startswith("trained"), again.said
    assert_whole(folder)
    lines = [json.loads(line)["iter"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert lines.count(1) == 1 and before >= 5, "it went on from its last checkpoint"


@pytest.mark.timeout(4 * NAMED_S)
def test_rounds_of_one_two_and_three_workers_learn_alike(
    cluster: Nodes, small: SmallRounds, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (2, 3):
        cluster.kill(number)
        cluster.start(number)
    losses, told = dict[int, float](), list[str]()
    for workers in (1, 2, 3):
        begun = Begun(cluster, round_of(small, f"of {workers}"), workers)
        ended = begun.end()
        assert ended.startswith("trained"), begun.said
        assert_whole(begun.folder)
        assert {row.processes for row in begun.rows} == {workers}
        losses[workers] = fmean(row.losses["loss"] for row in begun.rows[-ITERATIONS // 3 :])
        seconds = begun.rows[-1].seconds / ITERATIONS
        told.append(f"{workers}: {ended}, {seconds:.3f} s an iteration, loss {losses[workers]:.3f}")
    with capsys.disabled():
        print("", *told, sep="\n")
    for workers in (2, 3):
        assert losses[workers] == pytest.approx(losses[1], rel=NOISE)
