"""The processes that train one round together: a crew, whose members train on a part of each batch.

A member learns its place from environment variables, whoever has started it. torch's and mmdet's own are
RANK, WORLD_SIZE and LOCAL_RANK; CREW_RENDEZVOUS, CREW_THREADS and CREW_PATIENCE_S are ours.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from labelloop.settings import Settings

PATIENCE_S = 180.0
"""How long a member waits for the others, in the middle of an iteration too. It is longer than the first one
waits for the lock of a round's training.
"""


@dataclass(frozen=True)
class Member:
    """One process's place among those that train a round.

    rank: from 0; the first one leads, and writes all files. size: how many they are. local_rank: counted on
    its machine; that is the number of its GPU. rendezvous: where they find each other, a URL of
    torch.distributed; empty for one that trains alone. threads: of this process; None for the job's.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    rendezvous: str = ""
    threads: int | None = None
    patience_s: float = PATIENCE_S

    @property
    def alone(self) -> bool:
        return self.size == 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def __str__(self) -> str:
        """
        >>> print(Member(rank=1, size=3))
        process 2 of 3
        """
        return f"process {self.rank + 1} of {self.size}"

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The place that the environment names; without a CREW_RENDEZVOUS it is that of one alone."""
        rendezvous = environment.get("CREW_RENDEZVOUS", "")
        if not rendezvous:
            return cls()
        return cls(
            rank=int(environment["RANK"]),
            size=int(environment["WORLD_SIZE"]),
            local_rank=int(environment["LOCAL_RANK"]),
            rendezvous=rendezvous,
            threads=int(environment["CREW_THREADS"]),
            patience_s=float(environment.get("CREW_PATIENCE_S", PATIENCE_S)),
        )

    def environment(self) -> dict[str, str]:
        """What `of` reads.

        >>> member = Member(rank=1, size=2, local_rank=1, rendezvous="file:///tmp/x", threads=3)
        >>> Member.of(member.environment()) == member
        True
        """
        return {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.size),
            "LOCAL_RANK": str(self.local_rank),
            "CREW_RENDEZVOUS": self.rendezvous,
            "CREW_THREADS": str(self.threads),
            "CREW_PATIENCE_S": str(self.patience_s),
        }


ALONE = Member()


def on_one_machine(size: int, rendezvous: str, threads: int) -> list[Member]:
    """The members of a crew on this machine, among whom its threads are divided.

    >>> [member.threads for member in on_one_machine(3, "file:///tmp/x", threads=8)]
    [2, 2, 2]
    """
    first = Member(size=size, rendezvous=rendezvous, threads=max(1, threads // size))
    return [replace(first, rank=rank, local_rank=rank) for rank in range(size)]


def processes(settings: Settings, accelerator: str) -> int:
    """How many processes train a round on this machine: what TRAINING_PROCESSES says; `auto` is one for each
    GPU, and one without any.
    """
    if settings.training_processes != "auto":
        return settings.training_processes
    if accelerator != "cuda":
        return 1
    import torch

    return max(1, torch.cuda.device_count())


@dataclass(frozen=True)
class Share:
    """A batch divided over processes. images: of each process. rate: the factor for the learning rate."""

    images: int
    rate: float


def share(batch: int, size: int) -> Share:
    """Each process's share of a batch of so many images.

    A batch that cannot be divided becomes the nearest that can be, with one image for each process at least.
    The learning rate then follows by the linear scaling rule (Goyal et al., 2017).

    >>> share(8, 2), share(8, 3)
    (Share(images=4, rate=1.0), Share(images=3, rate=1.125))
    """
    images = max(1, int(batch / size + 0.5))
    return Share(images, images * size / batch)
