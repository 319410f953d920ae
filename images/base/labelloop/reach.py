"""Whether a cluster's head answers, and is who it is said to be: Ray's programs wait long before they say.

This module needs only Python's standard library.
"""

from __future__ import annotations

import re
import socket
import ssl

from labelloop.errors import Explained

SECONDS = 5.0
_NOT_YET, _EXPIRED, _OTHER_NAMES = 9, 10, (62, 63, 64)


class NotReached(Explained):
    """Nothing of a cluster answers there; the message says why, and what to do."""


class Stranger(Explained):
    """What answers there is not this cluster's head; the message says why, and what to do."""


def parse(head: str) -> tuple[str, int]:
    """An IPv4 address or name, and a port.

    >>> parse("10.0.0.5:6379")
    ('10.0.0.5', 6379)

    Raises:
        NotReached: it is something else.
    """
    match = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9.-]*):([0-9]{1,5})", head)
    if match is None or not 0 < int(match[2]) < 65536:
        raise NotReached(f"{head!r} is no host and port, such as 10.0.0.5:6379.")
    return match[1], int(match[2])


def knock(head: str, seconds: float = SECONDS) -> None:
    """Opens a connection, and no more. Raises NotReached."""
    try:
        socket.create_connection(parse(head), seconds).close()
    except OSError as error:
        raise _not_reached(head, error) from error


def greet(head: str, authority: str, seconds: float = SECONDS) -> str:
    """Opens a connection and looks at who answers. authority: PEM. Returns: address and port of the head.

    Raises:
        NotReached: no answer.
        Stranger: its certificate is of another authority, of another address, or of another time.
    """
    host, port = parse(head)
    context = ssl.create_default_context(cadata=authority)
    context.set_alpn_protocols(["h2"])
    try:
        address = socket.gethostbyname(host)
        with socket.create_connection((address, port), seconds) as plain:
            context.wrap_socket(plain, server_hostname=address).close()
    except ssl.SSLCertVerificationError as error:
        raise Stranger(f"{head}: {_why(error)}") from error
    except ssl.SSLError as error:
        raise Stranger(
            f"{head} speaks no TLS ({error.reason}), so it is no head of a cluster. Is the port right?"
        ) from error
    except OSError as error:
        raise _not_reached(head, error) from error
    return f"{address}:{port}"


def _not_reached(head: str, error: OSError) -> NotReached:
    return NotReached(
        f"{head} does not answer ({error.strerror or error}). Is the head up, with CLUSTER_BIND set to "
        "this address, and does no firewall stand between?"
    )


def _why(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code == _NOT_YET:
        return "its certificate is valid from a later time than this clock shows. Set this machine's clock."
    if error.verify_code == _EXPIRED:
        return (
            "its certificate is out of date by this machine's clock. Set the clock if it is ahead; if it is "
            "right, `make rotate-secrets` at the head makes new ones, with a new file for the others."
        )
    if error.verify_code in _OTHER_NAMES:
        return (
            "its certificate names another address. Use the one in the head's CLUSTER_BIND; "
            "`make up CLUSTER_BIND=…` there changes it."
        )
    return (
        "its certificate is of another authority than the file's. Copy the head's present "
        "volumes/run/cluster/join.json here: an older one ends with `make rotate-secrets`."
    )
