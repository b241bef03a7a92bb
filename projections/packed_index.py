"""An index over fixed-width byte strings, at six bytes or so for each beside its own.

Open addressing over arrays of 32-bit numbers; the byte strings themselves lie one after the
other in one block, and are compared whole. Everything that is indexed is random (digests, the
random end of ids), so its own bytes are the hash, and nobody can choose them to collide. There
are many small tables, each growing for itself: growing one takes a millisecond or two, where
growing one large table would stop the event loop for the better part of a second.
"""

import sys
from array import array
from collections import Counter

TABLES = 256
_FIRST_SLOTS = 8
_FULL = 0.85
_ROOM = 1.5


class PackedIndex:
    """Byte strings of `width`, a multiple of 4, numbered from 0 in the order of adding.

    `hash_at`: at which offset, a multiple of 4, their four most random bytes begin. An equal
    string may be added again: the first one is found.
    """

    def __init__(self, width: int, hash_at: int) -> None:
        self._width = width
        self._hash_at = hash_at
        self._bytes = bytearray()
        self._tables = [_empty(_FIRST_SLOTS) for _ in range(TABLES)]
        self._held = [0] * TABLES

    def __len__(self) -> int:
        return len(self._bytes) // self._width

    def __getitem__(self, number: int) -> bytes:
        """The byte string of this number."""
        start = number * self._width
        return bytes(self._bytes[start : start + self._width])

    def find(self, wanted: bytes) -> int | None:
        """The number of this byte string; None if it was never added."""
        code = int.from_bytes(wanted[self._hash_at : self._hash_at + 4], sys.byteorder)
        table = self._tables[code % TABLES]
        slots = len(table)
        slot = (code // TABLES) % slots
        width, held = self._width, self._bytes
        while number := table[slot]:
            start = (number - 1) * width
            if held[start : start + width] == wanted:
                return number - 1
            slot += 1
            if slot == slots:
                slot = 0
        return None

    def add(self, each: bytes) -> int:
        """Add a byte string; answers its number."""
        number = len(self)
        self._bytes += each
        code = int.from_bytes(each[self._hash_at : self._hash_at + 4], sys.byteorder)
        place = code % TABLES
        self._held[place] += 1
        if self._held[place] > _FULL * len(self._tables[place]):
            self._grow(place, int(len(self._tables[place]) * _ROOM) + 1)
        _put(self._tables[place], code, number)
        return number

    def expect(self, total: int) -> None:
        """Make room for about so many in all, so that adding them moves nothing."""
        # Random hashes fill the tables alike: the fullest has little more than its share.
        share = total / TABLES
        slots = int(_ROOM * (share + 2 * share**0.5)) + _FIRST_SLOTS
        for place, table in enumerate(self._tables):
            if slots > len(table):
                self._grow(place, slots)

    def extend(self, block: bytes) -> None:
        """Add all byte strings that lie in this block: a million take half a second."""
        number = len(self) + 1
        with memoryview(block) as held, held.cast("I") as words:
            codes = words[self._hash_at // 4 :: self._width // 4].tolist()
        self._bytes += block
        self._admit(codes)
        tables = self._tables
        if len({len(table) for table in tables}) > 1:
            for each, code in enumerate(codes, number - 1):
                _put(tables[code & 255], code, each)
            return
        slots = len(tables[0])  # the same as above, for many
        for code in codes:
            table = tables[code & 255]
            slot = (code >> 8) % slots
            while table[slot]:
                slot += 1
                if slot == slots:
                    slot = 0
            table[slot] = number
            number += 1

    def _admit(self, codes: list[int]) -> None:
        """Make room in the tables that these come into."""
        coming = Counter([code & 255 for code in codes])
        for place, more in coming.items():
            self._held[place] += more
            if self._held[place] > _FULL * len(self._tables[place]):
                self._grow(place, int(self._held[place] * _ROOM) + 1)

    def _grow(self, place: int, slots: int) -> None:
        old, new = self._tables[place], _empty(slots)
        for number in old:
            if number:
                start = (number - 1) * self._width + self._hash_at
                code = int.from_bytes(self._bytes[start : start + 4], sys.byteorder)
                _put(new, code, number - 1)
        self._tables[place] = new


def _empty(slots: int) -> "array[int]":
    return array("I", bytes(4 * slots))


def _put(table: "array[int]", code: int, number: int) -> None:
    slots = len(table)
    slot = (code // TABLES) % slots
    while table[slot]:
        slot += 1
        if slot == slots:
            slot = 0
    table[slot] = number + 1
