"""Wallet addresses: what is kept has its checksum, and what can't be right is refused."""

import pytest

from domain.errors import InvalidCommand
from domain.keccak import keccak_256
from domain.wallets import wallet_address

# Of EIP-55 itself: all in upper case, all in lower case, and mixed.
VECTORS = [
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        (b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
        (b"testing", "5f16f4c7f149ac4f9510d9cf8cf384038ad348b3bcdc01915f95de12df9d1b02"),
        (b"a" * 135, "34367dc248bbd832f4e3e69dfaac2f92638bd0bbd18f2912ba4ef454919cf446"),
    ],
)
def test_keccak_256_is_that_of_ethereum(data: bytes, digest: str) -> None:
    assert keccak_256(data).hex() == digest


def test_keccak_256_takes_whole_and_several_blocks() -> None:
    found = {keccak_256(b"x" * length) for length in (135, 136, 137, 271, 272, 273)}
    assert len(found) == 6


@pytest.mark.parametrize("address", VECTORS)
def test_wallet_address_with_its_checksum_is_kept_as_it_is(address: str) -> None:
    assert wallet_address(f" {address} ") == address


@pytest.mark.parametrize("address", VECTORS)
def test_wallet_address_in_one_case_gets_its_checksum(address: str) -> None:
    assert wallet_address(address.lower()) == address
    assert wallet_address("0x" + address[2:].upper()) == address


def test_mistyped_wallet_address_is_refused() -> None:
    right = VECTORS[4]
    for wrong in (
        right[:-1] + "e",
        right.swapcase().replace("0X", "0x"),
        right[:3] + "A" + right[4:],
    ):
        if wrong != right:
            with pytest.raises(InvalidCommand) as refused:
                wallet_address(wrong)
            assert refused.value.param == "wallet_address"


@pytest.mark.parametrize(
    "text", ["", "0x", "0x123", VECTORS[0] + "0", VECTORS[0][2:], "0x" + "g" * 40]
)
def test_what_is_no_wallet_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidCommand):
        wallet_address(text)
