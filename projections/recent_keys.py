"""The keys that were used lately, each with its rules, fetched as they are asked for.

For more keys than memory holds. What comes from the database was read in one snapshot and
carries the position of the log that it stands at; what comes from the log is folded onto what
is here, and passed over for what isn't: that will be read afresh. Two ways to be wrong are
closed here (docs/adr/0026):

- The snapshot is ahead of the log: the same event will be folded once more. An entry knows its
  position, and takes no event from before it.
- The snapshot is behind: an event that came meanwhile was passed over, because the key wasn't
  here yet. While anything is being fetched, the streams of all events that come are written
  down with their positions; a state older than such an event is not taken, and read again.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import msgspec

from domain.allowances import Allowance
from domain.api_keys import ApiKey
from projections.held_states import is_of, matters
from projections.recent import Recent

KEEP_SECONDS = 10.0
"""Longer than any verification takes: a key does not go while somebody is using it."""


class Fetched(NamedTuple):
    """A key and its rule as they stand at this position of the log."""

    position: int
    key: ApiKey
    rule: Allowance | None


class MissingKeys(Protocol):
    """Reads keys that are not in memory."""

    async def fetch(self, digests: Sequence[bytes]) -> Fetched | None:
        """The key that has one of these digests, read after the call; None: there is none."""
        ...

    async def keys(self, key_ids: Sequence[str]) -> list[Fetched]:
        """Those of these keys that there are, in any order."""
        ...


class _Entry(msgspec.Struct):
    key: ApiKey
    rule: Allowance | None
    rules: tuple[Allowance, ...]
    position: int


class RecentKeys:
    """At most so many keys, or as many as were used in the last seconds."""

    def __init__(self, missing: MissingKeys, most: int) -> None:
        self._missing = missing
        self._entries: Recent[str, _Entry] = Recent(most, KEEP_SECONDS)
        self._ids: Recent[bytes, str] = Recent(most, KEEP_SECONDS)
        self._fetching = 0
        self._passed: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def by_digest(self, digest: bytes) -> ApiKey | None:
        """The key of this digest, if it is here."""
        key_id = self._ids.get(digest)
        entry = None if key_id is None else self._entries.get(key_id)
        return entry.key if entry is not None and is_of(entry.key, digest) else None

    def get(self, key_id: str) -> ApiKey | None:
        """The key of this id, if it is here."""
        entry = self._entries.get(key_id)
        return None if entry is None else entry.key

    def rules(self, key_id: str) -> tuple[Allowance, ...]:
        """The rules of a key that is here."""
        entry = self._entries.get(key_id)
        return () if entry is None else entry.rules

    async def fetch(self, digests: Sequence[bytes]) -> ApiKey | None:
        """The key of one of these digests, from the database. None: there is no such key in a
        snapshot taken after the call; that is not remembered."""
        with self._noting():
            while True:
                found = await self._missing.fetch(digests)
                if found is None:
                    return None
                if not self._take(found):
                    continue
                key = self.get(found.key.id)
                for digest in digests:
                    if key is not None and is_of(key, digest):
                        self._ids.put(digest, key.id)
                        return key
                return None

    async def hold(self, key_ids: Sequence[str]) -> None:
        """See to it that these keys are here for the next seconds, those that there are."""
        with self._noting():
            absent = [each for each in key_ids if self._entries.get(each) is None]
            while absent:
                found = await self._missing.keys(absent)
                absent = [each.key.id for each in found if not self._take(each)]

    def state(self, stream: str) -> tuple[msgspec.Struct | None, int] | None:
        """What an event of this stream folds onto, and the position that it stands at; None if
        its key is not here, and the event is to be passed over."""
        entry = self._entries.peek(_key_of(stream))
        if entry is None:
            return None
        return (entry.key if stream == entry.key.id else entry.rule), entry.position

    def saw(self, stream: str, position: int) -> None:
        """An event of this stream came: states from before it are not taken any more."""
        if self._fetching:
            self._passed[_key_of(stream)] = position

    def keep(self, state: ApiKey | Allowance, position: int) -> None:
        """Hold this state of a key that is here, or of its rule, as of this position."""
        key_id = state.id if isinstance(state, ApiKey) else state.owner_id
        entry = self._entries.peek(key_id)
        if entry is None:
            return
        entry.position = position
        if isinstance(state, ApiKey):
            entry.key = state
            self._ids.put(state.digest, state.id)
        else:
            entry.rule, entry.rules = state, _rules(state)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """While something is fetched, note what is passed over."""
        self._fetching += 1
        try:
            yield
        finally:
            self._fetching -= 1
            if not self._fetching:
                self._passed.clear()

    def _take(self, found: Fetched) -> bool:
        """Hold what was fetched, but where what is here stands at a later position. False: an
        event was passed over that is later than that."""
        key = found.key
        entry = self._entries.get(key.id)
        if entry is None and found.position < self._passed.get(key.id, 0):
            return False
        if entry is None or entry.position < found.position:
            self._entries.put(key.id, _Entry(key, found.rule, _rules(found.rule), found.position))
        return True


def _rules(rule: Allowance | None) -> tuple[Allowance, ...]:
    return () if rule is None or not matters(rule) else (rule,)


def _key_of(stream: str) -> str:
    """The key that a stream is about: its own, or that of its rule."""
    return f"key_{stream[4:]}" if stream.startswith("alw_") else stream
