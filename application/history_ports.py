"""The decisions log as readers see it: pages by filter, single events, and what a stream was."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from application.reading_ports import HistoryEntry
from domain.event import Recorded, Unreadable


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events. `after` and `before` are positions, neither of them meant; `since` is meant,
    `until` isn't. None, and no `types`: all."""

    after: int = 0
    before: int | None = None
    types: tuple[str, ...] = ()
    stream: str | None = None
    actor: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    newest_first: bool = False


class LogPages(Protocol):
    """Reads the logs at any place. All raise StoreUnavailable."""

    async def page(
        self, wanted: EventFilter, limit: int, at_least: int | None
    ) -> list[HistoryEntry]:
        """The first so many of these, in the order of the log. They follow by a moment: waits
        until `at_least` is there; PositionNotReached if that takes longer than 2 s."""
        ...

    async def at(
        self, positions: Collection[int], *, personal: bool
    ) -> dict[int, Recorded | Unreadable]:
        """The events at these positions; where there is none, it is missing. Personal fields
        are None unless asked for, and of who was erased."""
        ...

    async def of(
        self, streams: Sequence[str], up_to: int | None = None, *, personal: bool = False
    ) -> list[Recorded]:
        """All events of these streams up to and with this position, in the order of the log.
        StreamUnreadable where one can't be decoded."""
        ...

    async def moment(self, position: int) -> datetime | None:
        """When the last event up to and with this position was; None if there is none. None,
        too, of a position that is yet to come."""
        ...

    async def counted(self, stream: str, version: int) -> Recorded | None:
        """The usage event of this flush; None where it isn't, or isn't any more."""
        ...
