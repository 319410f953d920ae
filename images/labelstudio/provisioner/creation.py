"""Creating a thing once, although a kill may come between the request and its answer."""

import time
from collections.abc import Callable

from labelloop.studio import Row

from provisioner.state import StateFile

GRACE_S = 20.0
POLL_S = 0.5


def find_or_create(
    what: str, find: Callable[[], Row | None], create: Callable[[], Row], file: StateFile
) -> Row:
    """What `find` finds, or what `create` makes when there is none.

    Before the request the state file says what is being created. A run that reads that there after a kill
    gives the former run's request, which Label Studio may still be working on, time to show its result.
    """
    found = find()
    deadline = time.monotonic() + (GRACE_S if file.state.creating == what else 0.0)
    while found is None and time.monotonic() < deadline:
        time.sleep(POLL_S)
        found = find()
    if found is None:
        file.update(creating=what)
        found = create()
    file.update(creating=None)
    return found
