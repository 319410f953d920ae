"""Nodes of a real Ray cluster, each in a network namespace with its own address: they join, are refused, are
lost and come back. Needs root; a job of its own: `make test TESTS=tests/cluster`.
"""

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.cluster_machines import SEEN_S, Head, Worker, clone, ran, sharing
from support.network_namespaces import PREFIX, Machine, cannot, kill_all_in, machines
from support.stack import wait_for

from labelloop.join_file import JoinFile, Mark
from lifecycle.home import Home
from lifecycle.settings import settings

pytestmark = [pytest.mark.timeout(1500), pytest.mark.skipif(bool(cannot()), reason=cannot())]


@pytest.fixture
def head(tmp_path: Path, network: list[Machine]) -> Iterator[Head]:
    home = clone(tmp_path / "head")
    for name in ("rounds", "run/secrets"):
        (home / "volumes" / name).mkdir(parents=True, exist_ok=True)
    token = home / "volumes/run/secrets/CLUSTER_TOKEN"
    token.write_text("a-token-of-this-test-alone-and-of-no-other")
    token.chmod(0o400)
    made = Head(network[0], home)
    made.start()
    yield made
    print((home / "head.log").read_text()[-3000:])


@pytest.fixture
def network() -> Iterator[list[Machine]]:
    """The head's and three more."""
    with machines("head", "one", "two", "three") as made:
        yield made


@pytest.fixture
def workers(tmp_path: Path, network: list[Machine], head: Head) -> Iterator[list[Worker]]:
    """Three clones that share the head's volumes, none of which has joined."""
    made = []
    for machine in network[1:]:
        made.append(Worker(machine, sharing(tmp_path / machine.name, head.home), head.home))
    yield made
    for worker in made:
        log = worker.home / "volumes/run/labelloop.log"
        if log.exists():
            print(f"--- {worker.machine.name}\n{log.read_text()[-2000:]}")


def test_a_machine_joins_says_what_it_brings_and_leaves(head: Head, workers: list[Worker]) -> None:
    one = workers[0]
    done = one.join(HEAD=head.place)
    assert done.returncode == 0, done.stdout
    assert "brings       1 core" in done.stdout and "2 machines, 2 cores, 0 GPUs" in done.stdout
    status = one.make("status")
    assert (
        f"{one.machine.name}: 1 core" in status.stdout and f"the head, {head.machine.name}" in status.stdout
    )
    places = ran(head.compute(24, 0.5))
    assert set(places) == {head.machine.address, one.machine.address}
    for file in ("ca.key", "node.key", "join.json"):
        assert (one.home / "volumes/run/cluster" / file).stat().st_mode & 0o077 == 0
    assert one.make("leave").returncode == 0
    wait_for("the head to know", lambda: head.states().get(one.machine.address) == "left", SEEN_S)
    assert not (one.home / "volumes/run/cluster").exists()
    again = one.make("leave")
    assert again.returncode != 0 and "in no cluster" in again.stdout


def refused(worker: Worker, joining: JoinFile, tmp_path: Path, **more: str) -> str:
    """What `make join` says when it refuses."""
    file = tmp_path / "given.json"
    file.write_text(joining.text())
    file.chmod(0o600)
    done = worker.join(file, **more)
    assert done.returncode != 0, done.stdout
    assert "FAIL" in done.stdout and "Traceback" not in done.stdout, done.stdout
    return done.stdout


def test_who_does_not_belong_is_refused_and_told_why(
    head: Head, workers: list[Worker], tmp_path: Path
) -> None:
    one = workers[0]
    right = JoinFile.read(head.home / "volumes/run/cluster/join.json")

    told = refused(one, replace(right, token="another-token-than-the-heads-own-one"), tmp_path)
    assert "refuses the token" in told and "join.json" in told

    told = refused(one, right, tmp_path, HEAD=f"{PREFIX}.9:6379")
    assert f"{PREFIX}.9:6379 does not answer" in told

    stranger = Head(workers[2].machine, clone(tmp_path / "stranger"))
    secrets = stranger.home / "volumes/run/secrets"
    secrets.mkdir(parents=True)
    shutil.copy(head.home / "volumes/run/secrets/CLUSTER_TOKEN", secrets)
    stranger.start()
    told = refused(one, right, tmp_path, HEAD=stranger.place)
    assert "another authority" in told and "rotate-secrets" in told

    rounds = one.home / "volumes/rounds"
    rounds.unlink()
    rounds.mkdir()
    assert "several-machines.md" in refused(one, right, tmp_path)
    mark = rounds / ".cluster-head"
    mark.write_text(Mark("another", time.time()).text())
    told = refused(one, right, tmp_path)
    assert "another" in told and right.mark in told
    mark.write_text(Mark(right.mark, time.time() + 500).text())
    assert "behind the head's" in refused(one, right, tmp_path)
    mark.write_text(Mark(right.mark, time.time() - 500).text())
    assert "ahead of the head's" in refused(one, right, tmp_path)

    ours = settings.code_version(Home(one.home))
    with (one.home / "images/trainer/trainer/words.py").open("a") as file:
        file.write("# changed\n")
    theirs = settings.code_version(Home(one.home))
    told = refused(one, right, tmp_path)
    assert ours == right.version != theirs and ours in told and theirs in told
    assert set(head.states()) == {head.machine.address}, "none of them got in"


def test_tasks_run_on_one_two_and_three_machines_that_have_joined(head: Head, workers: list[Worker]) -> None:
    addresses = {head.machine.address}
    for worker in workers:
        addresses.add(worker.joined().machine.address)
        assert head.states() == dict.fromkeys(addresses, "alive")
        places = ran(head.compute(6 * len(addresses), 0.5))
        assert set(places) == addresses


def test_a_cut_of_thirty_seconds_loses_no_task(head: Head, workers: list[Worker]) -> None:
    one = workers[0].joined()
    two = workers[1].joined()
    at_work = head.compute(60, 2.0)
    time.sleep(20)
    one.machine.cut()
    time.sleep(30)
    one.machine.mend()
    places = ran(at_work)
    assert len(places) == 60 and {one.machine.address, two.machine.address} <= set(places)
    wait_for("all to be there", lambda: set(head.states().values()) == {"alive"}, SEEN_S)


def test_a_killed_worker_is_noticed_and_comes_back(head: Head, workers: list[Worker]) -> None:
    one, two = workers[0].joined(), workers[1].joined()
    at_work = head.compute(40, 1.0)
    time.sleep(15)
    kill_all_in(one.machine.name)
    wait_for("the head to notice", lambda: head.states().get(one.machine.address) == "lost", SEEN_S, 2.0)
    assert len(ran(at_work)) == 40
    assert head.states()[two.machine.address] == "alive"
    done = one.make("join")
    assert done.returncode == 0, done.stdout
    assert head.states()[one.machine.address] == "alive"


def test_machines_find_a_head_again_that_was_killed(head: Head, workers: list[Worker]) -> None:
    one, two = workers[0].joined(), workers[1].joined()
    head.kill()
    assert head.nodes() == []
    head.start()
    for worker in (one, two):
        wait_for(
            "it to be back",
            lambda address=worker.machine.address: head.states().get(address) == "alive",  # type: ignore[misc]
            300,
            5.0,
        )
    places = ran(head.compute(12, 0.5))
    assert set(places) == {head.machine.address, one.machine.address, two.machine.address}
