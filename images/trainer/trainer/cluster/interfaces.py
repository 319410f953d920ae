"""The network interface that has an address."""

import fcntl
import socket
import struct

_SIOCGIFADDR = 0x8915
"""The kernel's question for an interface's IPv4 address."""


def interface_of(address: str) -> str | None:
    """The interface's name; None when none of this machine's has that IPv4 address first.

    >>> interface_of("127.0.0.1")
    'lo'
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asker, _SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:  # it has none
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None
