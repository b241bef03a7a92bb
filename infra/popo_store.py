"""The event store in memory, on the library's POPO recorder: for tests and for trying things.

It keeps the log's promises (order, expected versions, all or nothing, sealed bytes) and
declares that it writes no rows: no claims, no counters, no answers, nothing that outlives
the process. Use it on one event loop.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import TypeVar

from eventsourcing.persistence import IntegrityError, StoredEvent
from eventsourcing.popo import POPOApplicationRecorder

from application.errors import VersionConflict
from application.ports import Appended, CounterLock, Decide, Followed, Unreadable
from application.rows import DataKeyRow, Row
from domain.event import Metadata, NewEvent, Recorded
from infra.event_mapper import CannotDecode, EventMapper
from infra.vault import MasterKeyVault

T = TypeVar("T")

POLL_SECONDS = 0.2
PAGE = 500


class PopoEventStore:
    """Implements application.ports.EventStore, but for the rows."""

    writes_rows = False
    locks_counters = False

    def __init__(self, log_id: str, vault: MasterKeyVault, mapper: EventMapper) -> None:
        self._log_id = log_id
        self._vault = vault
        self._mapper = mapper
        self._recorder = POPOApplicationRecorder()
        self._followers: set[asyncio.Event] = set()

    @property
    def log_id(self) -> str:
        """Names this log."""
        return self._log_id

    async def close(self) -> None:
        """Nothing to return."""

    async def read(self, stream: str, *, personal: bool = False) -> list[Recorded]:
        """The stream's events, oldest first."""
        return [
            self._mapper.decode(
                0,
                stream,
                row.originator_version,
                row.topic,
                row.state,
                self._vault.known,
                names_only=not personal,
            )
            for row in self._recorder.select_events(stream)
        ]

    async def append(
        self, events: Sequence[NewEvent], metadata: Metadata, rows: Sequence[Row] = ()
    ) -> int:
        """Append to all streams or not at all; answers the last position. Of the rows only
        data keys are looked at, since the events can't be sealed without."""
        made = {row.account_id: row for row in rows if isinstance(row, DataKeyRow)}
        stored = []
        for new in events:
            data_key = None
            if new.account_id is not None:
                data_key = self._vault.known(new.account_id)
                if data_key is None and new.account_id in made:
                    data_key = self._vault.unwrap(made[new.account_id])
            name, state = self._mapper.encode(new, metadata, data_key)
            stored.append(StoredEvent(new.stream, new.version, name, state))
        try:
            positions = self._recorder.insert_events(stored)
        except IntegrityError as error:
            position = self._own(stored[-1], metadata.command_id)
            if position is None:
                raise VersionConflict(str(stored[-1].originator_id)) from error
            return position
        assert positions
        for follower in self._followers:
            follower.set()
        return positions[-1]

    async def append_locked(
        self, locks: Sequence[CounterLock], decide: Decide[T], metadata: Metadata
    ) -> Appended[T]:
        """Not here: there are no counters to lock."""
        raise NotImplementedError("the store in memory has no counters")

    async def follow(self, after: int) -> AsyncIterator[Followed]:
        """Everything after this position, in order, and then whatever comes, for ever."""
        appended = asyncio.Event()
        self._followers.add(appended)
        try:
            while True:
                asked_at = time.monotonic()
                appended.clear()
                events = self._page(after)
                if events:
                    after = events[-1].position
                yield Followed(events, len(events) < PAGE, asked_at)
                if len(events) < PAGE:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(POLL_SECONDS):
                            await appended.wait()
        finally:
            self._followers.discard(appended)

    def _page(self, after: int) -> list[Recorded | Unreadable]:
        found = self._recorder.select_notifications(after, PAGE, inclusive_of_start=False)
        return [
            self._readable(int(row.id), str(row.originator_id), row.originator_version, row)
            for row in found
        ]

    def _readable(
        self, position: int, stream: str, version: int, row: StoredEvent
    ) -> Recorded | Unreadable:
        try:
            return self._mapper.decode(
                position, stream, version, row.topic, row.state, self._vault.known, names_only=True
            )
        except CannotDecode as error:
            return Unreadable(position, stream, version, row.topic, str(error))

    def _own(self, last: StoredEvent, command_id: str) -> int | None:
        """Where this command's last event is already, if it is."""
        end = self._recorder.max_notification_id() or 0
        for row in self._recorder.select_notifications(1, end):
            if (row.originator_id, row.originator_version) == (
                last.originator_id,
                last.originator_version,
            ):
                stream, version = str(row.originator_id), row.originator_version
                found = self._mapper.decode(int(row.id), stream, version, row.topic, row.state)
                return found.position if found.metadata.command_id == command_id else None
        return None
