"""The shape of an API key: `<prefix>_<live or test>_<43 base62><6 base62 of CRC-32>`.

The 43 characters carry 256 random bits. The checksum lets a mistyped or made-up key be
refused before any lookup, and lets a leak scanner tell our keys from noise.
"""

import re
from zlib import crc32

from domain.errors import InvalidCommand

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = [first + second for first in _BASE62 for second in _BASE62]
_PREFIX = re.compile(r"[a-z][a-z0-9]{0,11}")
_OURS = re.compile(_PREFIX.pattern + r"_(?:live|test)_[0-9A-Za-z]{49}")
SECRET_BYTES = 32
BODY_CHARACTERS = 43
CHECKSUM_CHARACTERS = 6
_TAIL = len("_live_") + BODY_CHARACTERS + CHECKSUM_CHARACTERS
MAX_PRESENTED_CHARACTERS = 512
"""Nothing longer is ever digested: no issuer's keys are, and it bounds the work."""


def base62(number: int, width: int) -> str:
    """The number in base 62, most significant character first, padded with zeros."""
    characters = []
    for _ in range(width):
        number, rest = divmod(number, 62)
        characters.append(_BASE62[rest])
    return "".join(reversed(characters))


def compose(prefix: str, environment: str, entropy: bytes) -> str:
    """The key of these 32 random bytes. Pure: the caller draws the bytes."""
    if len(entropy) != SECRET_BYTES:
        raise ValueError(f"a key takes {SECRET_BYTES} random bytes, got {len(entropy)}")
    if _PREFIX.fullmatch(prefix) is None:
        raise InvalidCommand("prefix", "1 to 12 characters a-z 0-9, beginning with a letter")
    body = f"{prefix}_{environment}_" + base62(int.from_bytes(entropy, "big"), BODY_CHARACTERS)
    return body + checksum(body)


def checksum(body: str) -> str:
    """Six base62 characters of the CRC-32 of everything before them."""
    # What is presented may hold anything, lone surrogates too: it has a checksum, not an error.
    high, low = divmod(crc32(body.encode("utf-8", "surrogatepass")), 62**2)
    high, middle = divmod(high, 62**2)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]


def looks_forged(key: str) -> bool:
    """Whether it has our shape and a checksum that is wrong: refuse it before any lookup.

    A key in a shape that isn't ours is not forged; it may have been issued elsewhere.
    """
    if len(key) <= _TAIL or key[-_TAIL : -_TAIL + 6] not in ("_live_", "_test_"):
        return False
    return checksum(key[:-CHECKSUM_CHARACTERS]) != key[-CHECKSUM_CHARACTERS:]


def hint(key: str) -> str:
    """What may be shown of a key: its prefix, its environment and its last four characters.

    Of a secret in another shape (one that the operator brought) only the last four.
    """
    head = key[: -_TAIL + len("_live_")] if _OURS.fullmatch(key) else ""
    return f"{head}…{key[-4:]}"


def prefix_of(hint: str) -> str | None:
    """The prefix of the key that this is the hint of; None where it has not our shape."""
    prefix, _, rest = hint.partition("_")
    ours = _PREFIX.fullmatch(prefix) is not None and rest.startswith(("live_…", "test_…"))
    return prefix if ours else None
