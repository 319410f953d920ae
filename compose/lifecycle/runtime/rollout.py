"""How far a deployment on a swarm is, by what Docker says of its services and tasks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from lifecycle.runtime.swarm import RUNNING, Service, Task

HEALTHY, STARTING, UPDATING, FAILING, WAITING = "healthy", "starting", "updating", "failing", "waiting"
ENDED_BADLY = ("failed", "rejected")
GIVEN_UP_AFTER = 3
"""Tasks of a service that ended; Swarm itself would try for ever."""
UNPLACED_SECONDS = 60.0
"""How long Swarm may find no node for a task: while one is replaced, its port is taken for a moment."""


@dataclass(frozen=True)
class Trouble:
    """A service that won't come up by itself. node: an id; empty where there is none."""

    service: str
    node: str
    why: str


class Rollout:
    """wanted: service → the spec that was deployed, each behind those that it waits for. before: the ids of
    the tasks that were there before.
    """

    def __init__(self, wanted: Mapping[str, str], before: Collection[str]) -> None:
        self._wanted = wanted
        self._excused = set(before)
        self._unplaced: dict[str, float] = {}
        self.trouble: Optional[Trouble] = None
        """Of the first service in the order that has some."""

    def look(self, services: Sequence[Service], tasks: Sequence[Task], seconds: float) -> dict[str, str]:
        """Service → its state, once more. seconds: since the deployment."""
        found = {one.name: one for one in services}
        states: dict[str, str] = {}
        self.trouble = None
        for name in self._wanted:
            of_it = [task for task in tasks if task.service == name]
            turn = all(state == HEALTHY for state in states.values())
            trouble = self._trouble(name, found.get(name), of_it, turn, seconds)
            self.trouble = self.trouble or trouble
            one = found.get(name)
            states[name] = (
                FAILING
                if trouble
                else WAITING
                if one is None
                else state_of(replace(one, spec=self._wanted[name]), of_it)
            )
        return states

    def _trouble(
        self, name: str, service: Optional[Service], tasks: Sequence[Task], turn: bool, seconds: float
    ) -> Optional[Trouble]:
        """turn: whether those before it are healthy. One that ends sooner waited for them, perhaps."""
        ended = [task for task in tasks if task.state in ENDED_BADLY and task.spec == self._wanted[name]]
        if not turn:
            self._excused.update(task.id for task in ended if task.state == "failed")
        counted = [task for task in ended if task.id not in self._excused]
        back = service is not None and (service.spec != self._wanted[name] or service.updating == "paused")
        if counted and (back or len(counted) >= GIVEN_UP_AFTER):
            return Trouble(name, counted[0].node, counted[0].error)
        if back and service is not None:
            return Trouble(name, "", service.why)
        for task in tasks:
            if not (task.wanted and task.state == "pending" and task.error):
                continue
            if seconds - self._unplaced.setdefault(task.id, seconds) > UNPLACED_SECONDS:
                return Trouble(name, "", task.error)
        return None


def state_of(service: Service, tasks: Sequence[Task]) -> str:
    """tasks: the service's. Swarm calls a task running once its health check is content."""
    running = [task for task in tasks if task.state == RUNNING]
    new = [task for task in running if task.wanted and task.spec == service.spec]
    if len(new) < service.replicas:
        ended = [task for task in tasks if task.state in ENDED_BADLY and task.spec == service.spec]
        if running:
            return UPDATING
        return FAILING if len(ended) >= GIVEN_UP_AFTER else STARTING
    old = [task for task in running if task.spec != service.spec]
    return UPDATING if old or service.updating in ("updating", "rollback_started") else HEALTHY
