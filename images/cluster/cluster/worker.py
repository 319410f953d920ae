"""A machine that has joined a cluster: `python -m cluster.worker`, with CLUSTER_HEAD=host:port.

Waits for the head, and becomes Ray's program, which ends when the head is away for a minute; supervisord or
Docker starts it again.
"""

import os
import sys
import time
from typing import NoReturn

from cluster import ray_node
from cluster.place import NoPlace, Place
from labelloop import reach
from labelloop.errors import Explained, in_one_line

PAUSE_S = 5.0


def wait_for(head: str, authority: str, pause_s: float = PAUSE_S) -> str:
    """Returns once the head answers: its address and port.

    Raises:
        Stranger: something else answers there.
    """
    said = ""
    while True:
        try:
            return reach.greet(head, authority)
        except reach.NotReached as error:
            if str(error) != said:
                said = str(error)
                print(f"waiting: {said}", flush=True)
            time.sleep(pause_s)


def become(place: Place, head: str) -> NoReturn:
    """Raises Explained: why this machine can't join."""
    missing = [
        path for path in (place.authority, place.authority_key, place.token_file) if not path.is_file()
    ]
    if missing or not head:
        raise NoPlace(f"{missing[0] if missing else 'CLUSTER_HEAD'} is not there. `make join` writes it.")
    address = wait_for(head, place.authority.read_text())
    ray_node.certify(place)
    ray_node.clear(place)
    command = ray_node.start_words(place, ray_node.announcement(), os.environ, address)
    os.execve(command[0], command, {**os.environ, **place.variables})


def main() -> int:
    try:
        become(Place.of(os.environ), os.environ.get("CLUSTER_HEAD", ""))
    except Explained as error:
        print(in_one_line(error), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
