"""What Ray runs on the machines of a cluster: one member of the crew that trains a round."""

import os
import socket
import sys
import traceback
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.train import get_context
from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend

from labelloop.errors import Explained, in_one_line
from labelloop.locks import holding
from labelloop.settings import Settings
from trainer.cluster.interfaces import interface_of
from trainer.cluster.outcome import Outcome
from trainer.rounds.folder import LOG, TRAIN_LOCK, member_log
from trainer.system.children import STOPPED
from trainer.training.crew import PATIENCE_S, Member
from trainer.training.members import EXPLAINED
from trainer.training.process import LOCK_WAIT_S
from trainer.training.together import PeersLost, noticing_loss


def use_own_address() -> None:
    """Has torch's processes talk by the address by which Ray knows this machine. By default they would take
    what the machine's own name resolves to, which may be a loopback address.
    """
    found = interface_of(ray.util.get_node_ip_address())
    if found is not None:
        os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = found


class OwnAddressBackend(_TorchBackend):  # type: ignore[misc]  # ray is untyped
    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        worker_group.execute(use_own_address)
        super().on_start(worker_group, backend_config)


@dataclass
class OwnAddressConfig(TorchConfig):  # type: ignore[misc]  # ray is untyped
    @property
    def backend_cls(self) -> type[OwnAddressBackend]:
        return OwnAddressBackend


def train(config: dict[str, Any]) -> None:
    """Trains in this process's place. config: the round's folder, relative to LABELLOOP_HOME, which another
    machine may have elsewhere; threads.

    What ends training for good is written as the round's Outcome. Ray starts the crew again for the rest,
    with those that are left.
    """
    settings = Settings()
    folder = settings.labelloop_home / config["folder"]
    context = get_context()
    member = Member(
        rank=context.get_world_rank(),
        size=context.get_world_size(),
        local_rank=context.get_local_rank(),
        threads=config["threads"],
        patience_s=config.get("patience_s", PATIENCE_S),
    )
    _say_into(folder / (LOG if member.leads else member_log(member.rank + 1)))
    print(f"{member} is on {socket.gethostname()} ({ray.util.get_node_ip_address()})", flush=True)
    if Outcome.read(folder) is not None:
        return
    who = f"{member} on {socket.gethostname()}"
    lock = holding(folder / TRAIN_LOCK, LOCK_WAIT_S) if member.leads else nullcontext()
    try:
        with lock:
            outcome = _learn(folder, settings, member, who)
    except PeersLost as lost:
        print(in_one_line(lost), flush=True)
        raise
    except Explained as error:
        outcome = Outcome(EXPLAINED, who, in_one_line(error))
    except Exception as error:
        traceback.print_exc()
        outcome = Outcome(1, who, in_one_line(error))
    if outcome.status != 0 or member.leads:
        print(outcome.words, flush=True)
        outcome.write(folder)


def _learn(folder: Path, settings: Settings, member: Member, who: str) -> Outcome:
    """Raises PeersLost, and what learn raises."""
    from trainer.training.hooks import Stopped
    from trainer.training.learn import learn

    try:
        with noticing_loss(member):
            learn(folder, settings, member)
    except Stopped as stopped:
        return Outcome(STOPPED, who, str(stopped))
    return Outcome(0, who)


def _say_into(log: Path) -> None:
    """Appends all that this process prints to a file on the share, mmdet's words and the interpreter's
    too.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
