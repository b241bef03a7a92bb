"""What is asked of verification: which key a secret leads to, and what is wanted of it."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

import msgspec

from application.batches import NO_LABELS, Labels
from application.ports import Digests, Directory
from application.rules import MAX_REMEMBERED
from domain import key_format
from domain.api_keys import ApiKey
from domain.counters import Rule
from domain.permission_query import Query
from domain.verification import Code


class KeyDirectory(Directory, Protocol):
    """The directory, with the look-ups that only verification needs. `changes` rises with
    everything that may change an answer."""

    changes: int

    @property
    def partial(self) -> bool:
        """Whether keys may be missing that the database has: then `fetch` looks there."""
        ...

    @property
    def foreign_algorithms(self) -> Collection[str]:
        """How the digests of keys are made that were issued elsewhere."""
        ...

    def find(self, digests: Sequence[bytes]) -> ApiKey | None: ...

    async def fetch(self, digests: Sequence[bytes]) -> ApiKey | None: ...

    def fresh(self, max_staleness_seconds: float) -> bool: ...


class Resolved(msgspec.Struct, frozen=True, gc=False):
    """What a secret leads to. `superseded`: a rotation replaced it; `foreign`: it was issued
    elsewhere, and isn't known by our own digest yet."""

    key: ApiKey | None
    superseded: bool = False
    foreign: bool = False


NOBODY = Resolved(None)


class Ask(msgspec.Struct, frozen=True, gc=False):
    """One verification. `operation` is priced by the plan; `foreign_secret` is what a key from
    elsewhere was presented as."""

    resolved: Resolved
    audience: str | None = None
    query: Query | None = None
    cost: int = 1
    operation: str | None = None
    ip: str | None = None
    labels: Labels = NO_LABELS
    foreign_secret: str | None = None


class Decided(msgspec.Struct, frozen=True, gc=False):
    """What memory says of an ask: the verdict so far, and which counters are still to be taken,
    how much of each."""

    key: ApiKey | None
    code: Code
    rules: tuple[Rule, ...] = ()
    amounts: tuple[int, ...] = ()


NOT_FOUND = Decided(None, "NOT_FOUND")

Settle = Callable[[Sequence[str]], Awaitable[None]]
"""Decides anew what credits these accounts have."""

Rehash = Callable[[str, str], Awaitable[None]]
"""Gives a key from elsewhere our own digest of its secret."""


class Resolver:
    """Finds keys by their secrets, and remembers what it found until anything changes."""

    def __init__(self, directory: KeyDirectory, digests: Digests) -> None:
        self._directory = directory
        self._digests = digests
        self._partial = directory.partial
        self._resolved: dict[bytes, tuple[int, Resolved]] = {}

    def remembered(self, secret: str) -> Resolved | None:
        """The key of this secret, if it can be told at once that there is one."""
        if not 0 < len(secret) <= key_format.MAX_PRESENTED_CHARACTERS:
            return None
        digests = self._digests.candidates(secret)
        known = self._known(digests[0])
        if known is None and not key_format.looks_forged(secret):
            known = self._found(digests)
        return known

    async def resolve(self, secret: str) -> Resolved:
        """The key of this secret, if there is one. Forged ones are refused before look-up, and
        so is nothing at all: its hash may stand in the table that keys were imported from."""
        if not 0 < len(secret) <= key_format.MAX_PRESENTED_CHARACTERS:
            return NOBODY
        if key_format.looks_forged(secret):
            return NOBODY
        directory = self._directory
        digests = self._digests.candidates(secret)
        known = self._known(digests[0]) or self._found(digests)
        if known is None and directory.partial:
            key = await directory.fetch(digests)
            known = None if key is None else Resolved(key, key.digest not in digests)
        if known is not None:
            return known
        if not directory.foreign_algorithms:
            return NOBODY
        digests = self._digests.foreign(secret, directory.foreign_algorithms)
        key = directory.find(digests)
        if key is None and directory.partial:
            key = await directory.fetch(digests)
        if key is None:
            return NOBODY
        return Resolved(key, key.digest not in digests, foreign=True)

    def _found(self, digests: Sequence[bytes]) -> Resolved | None:
        key = self._directory.find(digests)
        if key is None:
            return None
        resolved = Resolved(key, key.digest not in digests)
        if len(self._resolved) >= MAX_REMEMBERED:
            self._resolved.clear()
        self._resolved[digests[0]] = (self._directory.changes, resolved)
        return resolved

    def _known(self, digest: bytes) -> Resolved | None:
        found = self._resolved.get(digest)
        if found is None or found[0] != self._directory.changes:
            return None
        resolved = found[1]
        # What only remembers a key doesn't keep it in memory: its rules are looked up there.
        if self._partial and resolved.key is not None:
            return resolved if self._directory.key(resolved.key.id) is not None else None
        return resolved
