"""Allow-lists of addresses: IPv4, IPv6, and IPv4 that comes as IPv6."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.addresses import MAX_NETWORKS, allowed, canonical, checked_ip_allow
from domain.errors import InvalidCommand


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        (" 10.0.0.0/8 ", "10.0.0.0/8"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("2001:db8::1", "2001:db8::1/128"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_network_is_kept_in_one_form(text: str, kept: str) -> None:
    assert canonical(text) == kept
    assert canonical(kept) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "10.0.0.0/33",
        "10.0.0.5/8",
        "2001:db8::1/32",
        "01.2.3.4",
        "1.2.3",
        "fe80::1%eth0",
        "1.2.3.4/",
        "/8",
        "10.0.0.0/8/8",
        "10.0.0.0/-1",
        "::ffff:10.0.0.1/104",
        "1" * 100,
        "1.1.1.1\0",
    ],
)
def test_what_is_no_network_is_refused_by_its_number(text: str) -> None:
    with pytest.raises(InvalidCommand) as refused:
        checked_ip_allow(("10.0.0.0/8", text))
    assert refused.value.param == "ip_allow[1]"


def test_list_is_short_and_names_each_network_once() -> None:
    assert checked_ip_allow(("::ffff:10.0.0.0/104", "10.0.0.0/8")) == ("10.0.0.0/8",)
    with pytest.raises(InvalidCommand):
        checked_ip_allow(tuple(f"10.0.0.{n}" for n in range(MAX_NETWORKS + 1)))


@pytest.mark.parametrize(
    ("networks", "ip", "inside"),
    [
        ((), None, True),
        ((), "nonsense", True),
        (("10.0.0.0/8",), None, False),
        (("10.0.0.0/8",), "", False),
        (("10.0.0.0/8",), "nonsense", False),
        (("10.0.0.0/8",), "1" * 10_000, False),
        (("10.0.0.0/8",), "10.0.0.0", True),
        (("10.0.0.0/8",), "10.255.255.255", True),
        (("10.0.0.0/8",), "11.0.0.0", False),
        (("10.0.0.0/8",), "::ffff:10.1.2.3", True),
        (("10.0.0.0/8",), "::10.1.2.3", False),
        (("::/0",), "10.1.2.3", False),
        (("::/0",), "::ffff:10.1.2.3", False),
        (("0.0.0.0/0",), "2001:db8::1", False),
        (("2001:db8::/32", "192.0.2.7/32"), "192.0.2.7", True),
        (("2001:db8::/32",), "2001:DB8:1::1", True),
        (("fe80::/10",), "fe80::1%eth0", True),
    ],
)
def test_only_who_is_in_a_network_is_let_in(
    networks: tuple[str, ...], ip: str | None, inside: bool
) -> None:
    assert allowed(networks, ip) is inside


@given(
    st.ip_addresses(),
    st.lists(st.tuples(st.ip_addresses(), st.integers(0, 128)), min_size=1, max_size=4),
)
def test_same_as_the_arithmetic_says(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
    given_networks: list[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]],
) -> None:
    networks = [
        ipaddress.ip_network((address, min(prefix, address.max_prefixlen)), strict=False)
        for address, prefix in given_networks
    ]
    kept = tuple(canonical(str(network)) for network in networks)
    address = getattr(ip, "ipv4_mapped", None) or ip
    expected = any(address in ipaddress.ip_network(each) for each in kept)
    assert allowed(kept, str(ip)) is expected
    if isinstance(ip, ipaddress.IPv4Address):
        assert allowed(kept, f"::ffff:{ip}") is expected
