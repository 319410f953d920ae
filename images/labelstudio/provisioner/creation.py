"""Creating a thing once, although a kill may come between the request and its answer."""

import time
from collections.abc import Callable

from labelloop.studio import Row, Studio, StudioError
from provisioner.state import StateFile

GRACE_S = 20.0
POLL_S = 0.5


class Creator:
    """Finds or creates things in Label Studio, and keeps account of it in the state file.

    Before a request, the file notes what is being created. A run that finds such a note knows that a former
    run was killed. It waits a while, since Label Studio may still be working on that run's request.
    """

    def __init__(self, studio: Studio, file: StateFile, grace_s: float = GRACE_S) -> None:
        self._studio = studio
        self._file = file
        self._grace_s = grace_s

    def find_or_create(
        self, find: Callable[[], Row | None], path: str, fields: Callable[[], Row]
    ) -> tuple[Row, bool]:
        """What `find` finds, or what a POST of `fields()` to `path` makes; and whether it was made.

        Raises:
            StudioError: Label Studio refuses it. Whatever `fields` raises.
        """
        found = self._find_patiently(find, path)
        made = found is None
        if found is None:
            body = fields()
            self._file.update(creating=path)
            try:
                found = dict(self._studio.request("POST", path, json=body))
            except StudioError as error:
                if error.status:
                    self._file.update(creating=None)
                raise
        self._file.update(creating=None)
        return found, made

    def _find_patiently(self, find: Callable[[], Row | None], path: str) -> Row | None:
        found = find()
        deadline = time.monotonic() + (self._grace_s if self._file.state.creating == path else 0.0)
        while found is None and time.monotonic() < deadline:
            time.sleep(POLL_S)
            found = find()
        return found
