"""Has a cluster train a round, as a job of Ray Train: `python -m trainer.cluster.driver FOLDER`.

Exit status as of trainer.training.process; 69: the cluster does not answer, or has no machine for the round
now. The last line on stderr says why.
"""

import os
import sys
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import ray
from ray._private.state import available_resources_per_node
from ray.exceptions import RayError, TaskUnschedulableError
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from labelloop import reach
from labelloop.errors import Explained, in_one_line
from trainer.cluster.code_version import code_version
from trainer.cluster.marker import look_at_marker, seen_here
from trainer.cluster.member import OwnAddressConfig, train
from trainer.cluster.nodes import Node, NoMachine, Plan, alive, plan
from trainer.cluster.outcome import Outcome
from trainer.env import TrainerSettings, get_settings
from trainer.system.children import RETRY, die_with_parent
from trainer.training.crew import PATIENCE_S
from trainer.training.job import Job
from trainer.training.members import EXPLAINED, LOST

ATTEMPTS = 6
"""So often one driver starts a crew, each time with the machines that are left; then the round counts a
kill.
"""
ROOM_WAIT_S = 20.0
"""How long a crew that has ended may take to give its room back."""
LOOK_S = 2.0
START_S = 180
"""How long a machine may take to start a process; one that is busy beside is slow at it."""
LOOK_TIMEOUT_S = 60.0


class CannotReach(Explained):
    """The cluster does not answer."""


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m trainer.cluster.driver ROUND_FOLDER", file=sys.stderr)
        return 2
    die_with_parent()
    folder = Path(arguments[0])
    try:
        return _train(folder, get_settings())
    except (CannotReach, NoMachine) as error:
        print(in_one_line(error), file=sys.stderr)
        return RETRY
    except Explained as error:
        print(in_one_line(error), file=sys.stderr)
        return EXPLAINED
    except (RayError, ConnectionError) as error:
        traceback.print_exc()
        print(f"the cluster was lost: {in_one_line(error)}", file=sys.stderr)
        return RETRY
    except Exception as error:
        traceback.print_exc()
        print(in_one_line(error), file=sys.stderr)
        return 1


def _train(folder: Path, settings: TrainerSettings) -> int:
    job = Job.load(folder)
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(START_S))
    connect(settings)
    Outcome.forget(folder)
    relative = folder.resolve().relative_to(settings.labelloop_home.resolve())
    for _ in range(ATTEMPTS):
        found = planned(job, settings)
        machines = ", ".join(node.name for node in found.machines)
        print(f"Asks for {found.size} processes of {found.threads} threads; there are {machines}", flush=True)
        try:
            # Ray Train wants a place for checkpoints, and gets none from us: they are in the round's folder.
            with TemporaryDirectory(prefix="labelloop-ray-") as unused:
                _trainer(str(relative), unused, found).fit()
        except TrainingFailedError as error:
            print(f"A process of the training was lost: {in_one_line(error)}", flush=True)
        outcome = Outcome.read(folder)
        if outcome is not None:
            return _end(outcome)
    print(f"the cluster has lost processes of the training {ATTEMPTS} times", file=sys.stderr)
    return LOST


def planned(job: Job, settings: TrainerSettings) -> Plan:
    """What `_plan` finds, of machines that have the share. One that has gone is done without, though Ray may
    have counted it among those that live.

    Raises:
        NoMachine, marker.NoShare: as _plan and require_share do. TaskUnschedulableError: machines have been
            leaving for ROOM_WAIT_S.
    """
    until = time.monotonic() + ROOM_WAIT_S
    while True:
        found = _plan(job, settings)
        for sentence in found.refused:
            print(sentence, flush=True)
        try:
            require_share(found.machines, settings.rounds_dir)
        except TaskUnschedulableError:
            if time.monotonic() > until:
                raise
            print("A machine has gone; the round is planned without it.", flush=True)
            continue
        return found


def _plan(job: Job, settings: TrainerSettings) -> Plan:
    """For what is free now. It waits a little for what it could have at most.

    Raises:
        NoMachine: nothing is free, or nothing that the round could be trained on.
    """
    version, processes, on_gpus = code_version(), settings.training_processes, job.accelerator == "cuda"
    until = time.monotonic() + ROOM_WAIT_S
    while True:
        rows = ray.nodes()
        most = plan(alive(rows), version, processes, job.threads, on_gpus)
        try:
            free = alive(rows, available_resources_per_node())
            found = plan(free, version, processes, most.threads, on_gpus)
        except NoMachine:
            found = None
        if time.monotonic() < until and (found is None or found.size < most.size):
            time.sleep(LOOK_S)
            continue
        if found is None:
            raise NoMachine("the cluster has no room for this round now: others train on it; the round waits")
        return found


def _end(outcome: Outcome) -> int:
    if outcome.status:
        print(outcome.words or outcome.who, file=sys.stderr)
    return outcome.status


def connect(settings: TrainerSettings) -> None:
    """Joins the cluster as a driver.

    Raises:
        CannotReach: it does not answer, or refuses the token or the certificate.
    """
    address = settings.cluster_address
    if not address:
        raise CannotReach("the cluster's head has not said where it is yet; the round waits for it")
    try:
        reach.knock(address)  # Ray itself asks for a quarter of an hour before it says that nobody answers.
        ray.init(
            address=address,
            # Ray's programs beside the trainer, by which it joins; this machine may have several addresses.
            _node_ip_address=address.rpartition(":")[0],
            namespace="labelloop",
            log_to_driver=False,
            configure_logging=False,
        )
    except (Explained, RayError, RuntimeError, ValueError, OSError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise CannotReach(
            f"the cluster at {address} does not answer ({reason}); the round waits for it. "
            "`make doctor` looks, `make up CLUSTER=none` trains on this machine alone"
        ) from error


def require_share(machines: Iterable[Node], rounds_dir: Path) -> None:
    """Raises marker.NoShare: a machine does not see this one's volumes/."""
    mark = seen_here(rounds_dir)
    asked = {
        node.name: ray.remote(num_cpus=0, max_retries=0)(look_at_marker)
        .options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False))
        .remote()
        for node in machines
    }
    for name, answer in asked.items():
        mark.compare(name, ray.get(answer, timeout=LOOK_TIMEOUT_S))


def _trainer(relative: str, storage: str, found: Plan) -> TorchTrainer:
    patience_s = float(os.environ.get("CREW_PATIENCE_S", PATIENCE_S))
    return TorchTrainer(
        train,
        train_loop_config={"folder": relative, "threads": found.threads, "patience_s": patience_s},
        torch_config=OwnAddressConfig(timeout_s=int(patience_s)),
        scaling_config=ScalingConfig(
            num_workers=found.size,
            use_gpu=found.on_gpus,
            resources_per_worker=found.resources,
            placement_strategy="PACK",
        ),
        run_config=RunConfig(
            name="ray",
            storage_path=storage,
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=0),
        ),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
