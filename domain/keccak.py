"""Keccak-256 as Ethereum has it: the sponge of FIPS 202 with the padding from before it.

`hashlib.sha3_256` pads otherwise, and so gives other digests. Slow, and only for short texts.
"""

from typing import Final

_MASK: Final = (1 << 64) - 1
_RATE_BYTES: Final = 136
_ROUNDS: Final = 24


def keccak_256(data: bytes) -> bytes:
    """The 32 bytes of the digest."""
    padded = bytearray(data + b"\x01" + bytes(-(len(data) + 1) % _RATE_BYTES))
    padded[-1] |= 0x80
    lanes = [0] * 25
    for start in range(0, len(padded), _RATE_BYTES):
        for n in range(_RATE_BYTES // 8):
            at = start + 8 * n
            lanes[n] ^= int.from_bytes(padded[at : at + 8], "little")
        lanes = _permuted(lanes)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])


def _permuted(a: list[int]) -> list[int]:
    for constant in _CONSTANTS:
        parity = [a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20] for x in range(5)]
        mixed = [parity[x - 1] ^ _rotated(parity[(x + 1) % 5], 1) for x in range(5)]
        a = [lane ^ mixed[n % 5] for n, lane in enumerate(a)]  # theta
        b = [0] * 25
        for n, lane in enumerate(a):  # rho and pi
            x, y = n % 5, n // 5
            b[y + 5 * ((2 * x + 3 * y) % 5)] = _rotated(lane, _OFFSETS[n])
        a = [  # chi
            b[n] ^ (~b[n - n % 5 + (n + 1) % 5] & b[n - n % 5 + (n + 2) % 5]) for n in range(25)
        ]
        a[0] ^= constant  # iota
    return a


def _rotated(lane: int, by: int) -> int:
    return ((lane << by) | (lane >> (64 - by))) & _MASK


def _rotation_offsets() -> list[int]:
    offsets = [0] * 25
    x, y = 1, 0
    for step in range(24):
        offsets[x + 5 * y] = (step + 1) * (step + 2) // 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
    return offsets


def _round_constants() -> list[int]:
    register, constants = 1, []
    for _ in range(_ROUNDS):
        constant = 0
        for j in range(7):
            if register & 1:
                constant |= 1 << ((1 << j) - 1)
            register = (register << 1) ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return constants


_OFFSETS: Final = _rotation_offsets()
_CONSTANTS: Final = _round_constants()
