"""IP addresses and networks: who is on an allow-list. IPv4-mapped IPv6 (RFC 4291) is IPv4."""

import ipaddress
from functools import lru_cache
from typing import NamedTuple

from domain.errors import InvalidCommand

MAX_NETWORKS = 50
_LONGEST = 64

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


class _Range(NamedTuple):
    version: int
    first: int
    last: int


def checked_ip_allow(networks: tuple[str, ...], param: str = "ip_allow") -> tuple[str, ...]:
    """The networks as they are kept, each once: at most 50. InvalidCommand names the one that
    can't be read."""
    if len(networks) > MAX_NETWORKS:
        raise InvalidCommand(param, f"at most {MAX_NETWORKS}")
    texts = []
    for number, network in enumerate(networks):
        try:
            texts.append(canonical(network))
        except ValueError as error:
            raise InvalidCommand(f"{param}[{number}]", str(error)) from None
    return tuple(dict.fromkeys(texts))


def canonical(text: str) -> str:
    """The network in CIDR, as `10.0.0.0/8` or `2001:db8::/32`; an address is a network of one.

    ValueError, for people to read, where it is none, or where bits are set behind the mask: a
    typing error there would let in more than was meant.
    """
    if len(text) > _LONGEST or "%" in text:
        raise ValueError("an address or a network, as in 192.0.2.7, 10.0.0.0/8, 2001:db8::/32")
    try:
        network: Network = ipaddress.ip_network(text.strip(), strict=False)
        exact = ipaddress.ip_interface(text.strip()).ip == network.network_address
    except ValueError:
        raise ValueError(
            "an address or a network, as in 192.0.2.7, 10.0.0.0/8, 2001:db8::/32"
        ) from None
    if not exact:
        raise ValueError(f"has bits set behind its mask: {network} is the whole network")
    return str(_unmapped(network))


def allowed(ip_allow: tuple[str, ...], ip: str | None) -> bool:
    """Whether this address is in one of these networks, which are canonical.

    An empty list lets everybody in; one that isn't empty lets nobody in whose address isn't
    known or can't be read.
    """
    if not ip_allow:
        return True
    if ip is None or len(ip) > _LONGEST:
        return False
    address = _address(ip)
    if address is None:
        return False
    version, number = address
    return any(
        each.version == version and each.first <= number <= each.last for each in _ranges(ip_allow)
    )


@lru_cache(4096)
def _address(text: str) -> tuple[int, int] | None:
    try:
        # A link-local address may come with its zone, which says nothing about the network.
        address = ipaddress.ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.version, int(address)


@lru_cache(1024)
def _ranges(ip_allow: tuple[str, ...]) -> tuple[_Range, ...]:
    networks = [ipaddress.ip_network(each) for each in ip_allow]
    return tuple(
        _Range(each.version, int(each.network_address), int(each.broadcast_address))
        for each in networks
    )


def _unmapped(network: Network) -> Network:
    """An IPv4 network that was written as IPv6, as IPv4."""
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        first = network.network_address.ipv4_mapped
        assert first is not None
        return ipaddress.IPv4Network((first, network.prefixlen - 96))
    return network
