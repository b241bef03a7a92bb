"""Packed states in memory: bodies by id, and keys by their digests as well."""

import sys
from array import array
from itertools import accumulate

import msgspec

from projections.packed_index import PackedIndex
from projections.packing import DIGEST_BYTES, ID_BYTES

_RANDOM_END = ID_BYTES - 4
_MOST_WASTE = 16
_LITTLE = sys.byteorder == "little"


class Page(msgspec.Struct, frozen=True):
    """Some states of one noun as they were stored, end to end in one order.

    `sizes` are those of the bodies, 16 bits each, most significant byte first; `digests` is
    empty but for keys.
    """

    ids: bytes
    sizes: bytes
    bodies: bytes
    digests: bytes = b""

    @property
    def count(self) -> int:
        """How many."""
        return len(self.ids) // ID_BYTES


class PackedStates:
    """Bodies by packed id. What is put in the place of another body takes its room, or that
    of one as large that was left before."""

    def __init__(self) -> None:
        self._ids = PackedIndex(ID_BYTES, _RANDOM_END)
        self._offsets = array("Q")
        self._sizes = array("H")
        self._bodies = bytearray()
        self._left: dict[int, array[int]] = {}

    def __len__(self) -> int:
        return len(self._offsets)

    def expect(self, total: int) -> None:
        """Make room for about so many."""
        self._ids.expect(total)

    def number(self, packed_id: bytes) -> int | None:
        """The number of the state of this id."""
        return self._ids.find(packed_id)

    def id(self, number: int) -> bytes:
        """The id of the state of this number."""
        return self._ids[number]

    def body(self, number: int) -> bytes:
        """The body of the state of this number."""
        start = self._offsets[number]
        return bytes(self._bodies[start : start + self._sizes[number]])

    def put(self, packed_id: bytes, body: bytes) -> int:
        """Hold this body under this id; answers its number."""
        number = self._ids.find(packed_id)
        if number is None:
            number = self._ids.add(packed_id)
            self._offsets.append(self._room(len(body)))
            self._sizes.append(len(body))
        elif len(body) != self._sizes[number]:
            left = self._left.setdefault(self._sizes[number], array("Q"))
            left.append(self._offsets[number])
            self._offsets[number] = self._room(len(body))
            self._sizes[number] = len(body)
        start = self._offsets[number]
        self._bodies[start : start + len(body)] = body
        return number

    def load(self, page: Page) -> None:
        """Hold a page of states, none of which is held so far."""
        sizes = array("H", page.sizes)
        if _LITTLE:
            sizes.byteswap()
        ends = accumulate(sizes, initial=len(self._bodies))
        self._offsets.extend(ends)
        self._offsets.pop()
        self._sizes.extend(sizes)
        self._bodies += page.bodies
        self._ids.extend(page.ids)

    def _room(self, size: int) -> int:
        for each in range(size, size + _MOST_WASTE):
            left = self._left.get(each)
            if left:
                return left.pop()
        start = len(self._bodies)
        self._bodies.extend(bytes(size))
        return start


class PackedKeys(PackedStates):
    """Keys, by their digests too. A digest that was a key's stays in the index: whoever finds
    a key by it asks the key whether it still is."""

    def __init__(self) -> None:
        super().__init__()
        self._digests = PackedIndex(DIGEST_BYTES, 0)
        self._key_of = array("I")
        self._current = array("I")

    def expect(self, total: int) -> None:
        """Make room for about so many."""
        super().expect(total)
        self._digests.expect(total)

    def by_digest(self, digest: bytes) -> int | None:
        """The number of the key that this is, or was, a digest of."""
        entry = self._digests.find(digest)
        return None if entry is None else self._key_of[entry]

    def digest(self, number: int) -> bytes:
        """The key's current digest."""
        return self._digests[self._current[number]]

    def put_key(self, packed_id: bytes, body: bytes, digest: bytes, previous: bytes | None) -> None:
        """Hold this key under its id and its digests."""
        number = self.put(packed_id, body)
        if number == len(self._current):
            self._current.append(self._entry(digest, number))
        elif self.digest(number) != digest:
            self._current[number] = self._entry(digest, number)
        if previous is not None:
            self.also_known_by(number, previous)

    def also_known_by(self, number: int, previous: bytes) -> None:
        """Find the key by this digest, too."""
        self._entry(previous, number)

    def load(self, page: Page) -> None:
        """Hold a page of keys."""
        first, entry = len(self), len(self._digests)
        super().load(page)
        self._digests.extend(page.digests)
        self._key_of.extend(range(first, len(self)))
        self._current.extend(range(entry, len(self._digests)))

    def _entry(self, digest: bytes, number: int) -> int:
        entry = self._digests.find(digest)
        if entry is None:
            entry = self._digests.add(digest)
            self._key_of.append(number)
        # A digest is one key's, ever (its row in the database is unique).
        self._key_of[entry] = number
        return entry
