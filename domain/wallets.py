"""Wallet addresses of EVM chains, and the checksum in their spelling (EIP-55)."""

import re

from domain.errors import InvalidCommand
from domain.keccak import keccak_256

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def wallet_address(text: str) -> str:
    """The address with its checksum. In one case it has none and is taken as it is; in mixed
    case it must be right, so that no misspelt address is ever kept. InvalidCommand."""
    given = text.strip()
    if _ADDRESS.fullmatch(given) is None:
        raise InvalidCommand("wallet_address", "0x and 40 hexadecimal digits")
    digits = given[2:]
    address = "0x" + checksummed(digits.lower())
    if digits not in (digits.lower(), digits.upper()) and given != address:
        raise InvalidCommand("wallet_address", "its checksum is wrong (EIP-55): a typing error?")
    return address


def checksummed(digits: str) -> str:
    """The lower-case digits with each letter in upper case whose nibble of the hash is 8 or
    more."""
    hash = keccak_256(digits.encode()).hex()
    return "".join(
        digit.upper() if int(nibble, 16) >= 8 else digit
        for digit, nibble in zip(digits, hash, strict=False)
    )
