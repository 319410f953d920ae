"""Which addresses Label Studio may not call: the networks it bans by default, less the stack's own."""

import ipaddress
from collections.abc import Iterable

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

# Those of core.utils.io.validate_ip in Label Studio 1.23.2. There they are all or nothing, so they are
# switched off and given again.
BANNED_BY_DEFAULT = """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
    192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 233.252.0.0/24
    240.0.0.0/4 255.255.255.255/32 ::/128 ::1/128 ::ffff:0:0/96 ::ffff:0:0:0/96 64:ff9b::/96
    64:ff9b:1::/48 100::/64 2001::/32 2001:20::/28 2001:db8::/32 2002::/16 fc00::/7 fe80::/10 ff00::/8
""".split()  # noqa: SIM905

LOOPBACK: tuple[IPNetwork, ...] = (ipaddress.ip_network("127.0.0.1/32"), ipaddress.ip_network("::1/128"))


def banned_subnets(exempt: Iterable[IPNetwork]) -> list[IPNetwork]:
    """Label Studio's default bans with the exempt networks cut out of them."""
    banned = [ipaddress.ip_network(subnet) for subnet in BANNED_BY_DEFAULT]
    for hole in exempt:
        banned = [piece for subnet in banned for piece in _without(subnet, hole)]
    return banned


def _without(subnet: IPNetwork, hole: IPNetwork) -> Iterable[IPNetwork]:
    if not subnet.overlaps(hole):
        return [subnet]
    if isinstance(subnet, ipaddress.IPv4Network) and isinstance(hole, ipaddress.IPv4Network):
        return [] if subnet.subnet_of(hole) else subnet.address_exclude(hole)
    if isinstance(subnet, ipaddress.IPv6Network) and isinstance(hole, ipaddress.IPv6Network):
        return [] if subnet.subnet_of(hole) else subnet.address_exclude(hole)
    return [subnet]


def stack_subnets(stack_subnet: str | None) -> tuple[IPNetwork, ...]:
    """The network that the services meet on: STACK_SUBNET, which Compose sets; on the host the loopback.

    Raises:
        ValueError: STACK_SUBNET is no network.
    """
    return (ipaddress.ip_network(stack_subnet),) if stack_subnet else LOOPBACK
