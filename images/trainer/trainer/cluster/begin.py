"""Starts a round's training on a cluster, in place of trainer.training.members.on_this_machine."""

from collections.abc import Mapping
from pathlib import Path

from trainer.rounds.folder import CLUSTER_DRIVER
from trainer.system.children import RETRY
from trainer.training.job import Job
from trainer.training.members import Ending, Members, Process, training_environment

ABORTED = -6
"""What Ray's own library ends a driver with (SIGABRT) when the cluster's head is gone for a minute."""


_ONE_TRY = {"RAY_NUM_REDIS_GET_RETRIES": "1"}
"""To find a head that takes the connection and says nothing: 40 s instead of a quarter of an hour. The round
asks again.
"""


class _Driver:
    """The process that has the cluster train the round; its members write the round's log."""

    def __init__(self, round_dir: Path, job: Job, environment: Mapping[str, str]) -> None:
        variables = {**training_environment(1, job.accelerator), **environment, **_ONE_TRY}
        (round_dir / CLUSTER_DRIVER).unlink(missing_ok=True)
        self._process = Process("trainer.cluster.driver", round_dir, CLUSTER_DRIVER, variables)

    def ending(self) -> Ending | None:
        status = self._process.status()
        if status is None:
            return None
        words = self._process.last_words()
        if status == ABORTED:
            return Ending(RETRY, "training", "the cluster was lost; the round waits for it")
        return Ending(status, "training on the cluster", words)

    def end(self) -> None:
        self._process.kill()


def on_the_cluster(round_dir: Path, job: Job, environment: Mapping[str, str]) -> Members:
    return _Driver(round_dir, job, environment)
