"""Recovery codes: ten secrets on paper, for the day when the second factor is lost.

80 random bits each, so nobody guesses one however often they try (NIST SP 800-63B-4, 3.1.2:
look-up secrets). What is kept of them is a keyed digest.
"""

COUNT = 10
ENTROPY_BYTES = 10
"""Of one code."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_CHARACTERS = ENTROPY_BYTES * 8 // 5
_GROUP = 4
# What is easily taken for another character is that one (Crockford's base 32).
_READ_AS = str.maketrans("oil", "011")


def codes(entropy: bytes) -> list[str]:
    """A set of codes from these random bytes, as they are shown: `abcd-efgh-jkmn-pqrs`."""
    if len(entropy) != COUNT * ENTROPY_BYTES:
        raise ValueError(f"{COUNT} codes take {COUNT * ENTROPY_BYTES} random bytes")
    starts = range(0, len(entropy), ENTROPY_BYTES)
    return [_shown(entropy[start : start + ENTROPY_BYTES]) for start in starts]


def normal(given: str) -> str | None:
    """The code as it is digested, however it was typed; None for what can't be one."""
    tidy = "".join(given.split()).replace("-", "").lower().translate(_READ_AS)
    if len(tidy) != _CHARACTERS or any(each not in _ALPHABET for each in tidy):
        return None
    return tidy


def _shown(entropy: bytes) -> str:
    number = int.from_bytes(entropy, "big")
    text = "".join(_ALPHABET[(number >> shift) & 31] for shift in range(75, -1, -5))
    return "-".join(text[at : at + _GROUP] for at in range(0, _CHARACTERS, _GROUP))
