"""The cluster's head, beside the trainer: `python -m cluster.head`.

Makes the authority at the first start, and each time a certificate for the present address, the file by which
other machines join, and the mark on the shared volume. Stays until Ray's programs end or it is told to.
"""

import ctypes
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from types import FrameType

from cluster import ray_node
from cluster.certificates import make_authority
from cluster.place import NoPlace, Place, put
from labelloop.errors import Explained, in_one_line
from labelloop.join_file import RENEWED_S, JoinFile, Mark, NotJoinable

_PR_SET_PDEATHSIG = 1


def prepare(place: Place, version: str) -> str:
    """Everything but the start. version: of the code. Returns: the mark on the shared volume.

    Raises:
        NoPlace: there is no token.
    """
    if not place.token_file.is_file():
        raise NoPlace(f"{place.token_file} is not there. `make up` writes it.")
    if not (place.authority.is_file() and place.authority_key.is_file()):
        made = make_authority()
        put(place.authority_key, made.key)
        put(place.authority, made.certificate)
    ray_node.certify(place)
    ray_node.clear(place)
    joining = JoinFile(
        head=place.here,
        token=place.token_file.read_text().strip(),
        authority=place.authority.read_text(),
        authority_key=place.authority_key.read_text(),
        version=version,
        mark=_mark(place),
    )
    put(place.join_file, joining.text().encode())
    put(place.address_file, f"{place.here}\n".encode())
    return joining.mark


def _mark(place: Place) -> str:
    """The former one, so that machines that have joined find it again."""
    try:
        return JoinFile.read(place.join_file).mark
    except NotJoinable:
        return secrets.token_hex(8)


def _die_with_parent() -> None:
    """Has the kernel end this process with its parent, however that ends: the next head needs its ports.

    Ray's other programs do the same with it.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def renew(place: Place, mark: str) -> None:
    """Says on the shared volume that this head lives. A disk that is full now may have room the next time."""
    try:
        place.mark.write_text(Mark(mark, time.time()).text(), encoding="utf-8")
    except OSError as error:
        print(f"{place.mark} can't be written: {error.strerror}", file=sys.stderr, flush=True)


def run(place: Place, mark: str, command: list[str], environment: Mapping[str, str]) -> int:
    """Runs Ray's programs to their end. Returns: their exit status."""
    node = subprocess.Popen(
        command, env=dict(environment), stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent
    )

    def stop(number: int, frame: FrameType | None) -> None:
        node.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while True:
        renew(place, mark)
        try:
            return node.wait(RENEWED_S)
        except subprocess.TimeoutExpired:
            continue


def main() -> int:
    try:
        place = Place.of(os.environ)
        mark = prepare(place, os.environ.get("CLUSTER_CODE", ""))
        command = ray_node.start_words(place, ray_node.announcement(), os.environ)
    except Explained as error:
        print(in_one_line(error), file=sys.stderr)
        return 1
    return run(place, mark, command, {**os.environ, **place.variables})


if __name__ == "__main__":
    sys.exit(main())
