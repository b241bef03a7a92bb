"""Ids: a prefix that says what it is, and 26 characters that sort by the time of making.

The characters are Crockford's base 32 of 48 bits of Unix milliseconds and 80 random bits
(the ULID layout), so ids of one noun read in the order in which they were made.
"""

import re

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_SHAPE = re.compile(r"[a-z]{2,5}_[0-9a-hjkmnp-tv-z]{26}")

ENTROPY_BYTES = 10


def compose(prefix: str, unix_ms: int, entropy: bytes) -> str:
    """An id of this time and these 10 random bytes. Pure: the caller draws the bytes."""
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"an id takes {ENTROPY_BYTES} random bytes, got {len(entropy)}")
    number = (unix_ms << 80) | int.from_bytes(entropy, "big")
    return f"{prefix}_" + "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def is_id(prefix: str, text: str) -> bool:
    """Whether the text has the shape of an id with this prefix."""
    return text.startswith(prefix + "_") and _SHAPE.fullmatch(text) is not None
