from ipaddress import ip_address

import pytest

from provisioner.networks import banned_subnets, stack_subnets


def banned(address: str, stack_subnet: str | None) -> bool:
    return any(ip_address(address) in subnet for subnet in banned_subnets(stack_subnets(stack_subnet)))


@pytest.mark.parametrize("address", ["10.213.0.1", "10.213.0.77", "8.8.8.8"])
def test_the_stack_and_the_internet_are_open(address: str) -> None:
    assert not banned(address, "10.213.0.0/24")


@pytest.mark.parametrize(
    "address",
    ["10.212.255.255", "10.213.1.0", "127.0.0.1", "169.254.169.254", "192.168.1.1", "::1", "fd00::1"],
)
def test_the_neighbours_of_the_stack_stay_banned(address: str) -> None:
    assert banned(address, "10.213.0.0/24")


def test_on_the_host_only_the_loopback_address_itself_is_open() -> None:
    assert not banned("127.0.0.1", None) and not banned("::1", None)
    assert banned("127.0.0.2", None) and banned("10.213.0.1", None)


def test_a_subnet_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        stack_subnets("10.0.0.1/8")
