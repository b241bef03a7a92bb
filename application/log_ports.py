"""The two logs as use cases need them: append, read and follow decisions; count usage."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Generic, NamedTuple, Protocol, TypeVar

import msgspec

from application.rows import Row
from domain.calendars import Calendar, Window
from domain.counters import Rule
from domain.event import Metadata, NewEvent, Recorded, Unreadable
from domain.verification import Counter

T = TypeVar("T")


class AnswerExists(Exception):
    """The same Idempotency-Key was answered in the meantime, or is being answered now."""


class Followed(NamedTuple):
    """A step along a log. Empty `events` means: nothing after what was read before.

    `asked_at` is the monotonic time just before the log was asked, so a full reading up to
    its end is confirmed as of that instant.
    """

    events: Sequence[Recorded | Unreadable]
    at_end: bool
    asked_at: float


class Found(NamedTuple):
    """One event of a log, and its bytes as they are stored."""

    event: Recorded | Unreadable
    state: bytes


class CounterLock(NamedTuple):
    """A counter to lock, and the stream that is decided with it."""

    counter_id: int
    owner_id: str
    account_id: str
    stream: str


class Locked(NamedTuple):
    """A counter and its stream's state (as the StateRow has it) while they are locked."""

    counter: Counter
    version: int
    state: bytes | None


class Decided(msgspec.Struct, Generic[T], frozen=True):
    """What was decided under locks: events to append, rows to write with them, an answer."""

    events: Sequence[NewEvent]
    rows: Sequence[Row]
    result: T


class Appended(msgspec.Struct, Generic[T], frozen=True):
    """What came of it. `position` is that of the last event; None if there was none."""

    position: int | None
    result: T


Decide = Callable[[Sequence[Locked], datetime], Decided[T]]


class EventStore(Protocol):
    """An append-only log of streams. Three verbs: read, append, follow."""

    @property
    def log_id(self) -> str:
        """Names this log; position tokens of another one are refused."""
        ...

    async def read(self, stream: str, *, personal: bool = False) -> list[Recorded]:
        """The stream's events, oldest first; personal fields are None unless asked for."""
        ...

    async def append(
        self, events: Sequence[NewEvent], metadata: Metadata, rows: Sequence[Row] = ()
    ) -> int:
        """Append all events to their streams, and write all rows, or nothing.

        Answers the position of the last event. Raises VersionConflict when a stream has
        moved on, Taken, AnswerExists, StoreUnavailable. A commit whose reply was lost is
        looked up by its command id, never reported as a conflict and never done twice.
        """
        ...

    async def append_locked(
        self, locks: Sequence[CounterLock], decide: Decide[T], metadata: Metadata
    ) -> Appended[T]:
        """Lock these counters, decide on what they and their streams hold then, and append
        what was decided, in one transaction. Rows that aren't there are made first.

        `decide` runs in another thread, more than once if need be, and must be pure; what it
        raises is raised, and nothing was written. `metadata.at` becomes the database's clock
        as it was read under the locks: that is the instant that `decide` is told. Raises as
        `append` does. A commit whose reply was lost is looked up under the locks, and then
        not decided again.
        """
        ...

    def follow(self, after: int) -> AsyncIterator[Followed]:
        """Every event after this position, in order, and then whatever comes, for ever.

        Survives the store's restarts; an event that can't be read comes as Unreadable.
        """
        ...


class Flush(msgspec.Struct, frozen=True):
    """What one flush asks of the database: of each counter its rule, in order of their ids,
    and of each of their calendars the windows around now. `takes` is flat: request row,
    counter (1-based), amount."""

    stream: str
    version: int
    metadata: bytes
    batch: bytes
    rules: list[Rule]
    windows: dict[Calendar, Window]
    takes: list[int]


class Counted(msgspec.Struct, frozen=True):
    """What the database decided. Lists are per counter, but for `refused`: per refused row
    the counter (1-based) that refused it, STALE or UNSETTLED. `position` is that of the usage
    event, `limits` with what was carried over."""

    position: int
    now_us: int
    windows: list[int]
    limits: list[int | None]
    opening: list[int]
    entry_no: list[int]
    refused: dict[int, int]


class UsageLog(Protocol):
    """Counts by group commit: counters and usage event in one transaction."""

    async def count(self, flush: Flush) -> Counted:
        """Take the counters and append the batch, once per (stream, version) whatever
        happens to the connection. Raises StoreUnavailable while that can't be known."""
        ...

    async def now_us(self) -> int:
        """The database's clock, in microseconds since 1970 UTC."""
        ...
