"""Deciding under locks: what `append_locked` does inside the recorder's transaction.

The library's recorder calls `_insert_events` first in its transaction, and looks at the list of
events only after it. So there the counters are locked and read, the decision is made, and the
list is filled. Locks are taken in the order of the counters' ids, as counting takes them, and
before the log's own.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
import psycopg
from eventsourcing.persistence import StoredEvent

from application.ports import CounterLock, Decide, Decided, Locked
from application.rows import Row
from domain.calendars import instant
from domain.event import Metadata
from domain.verification import Counter
from infra.event_mapper import EventMapper
from infra.postgres.many_rows import statements
from infra.recorder import stored_event

T = TypeVar("T")

LOCK_SECONDS = 2

# A row that isn't there is made, and is locked then as well; one that is there is locked by the
# update that its WHERE keeps from happening. The rows are read by a statement of its own, which
# sees what was committed while this one waited. A settled row has another `changes_at`.
_LOCK = b"""
INSERT INTO counters AS c (counter_id, owner_id, account_id, limit_amount, rule_no, changes_at)
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS l (counter_id, owner_id, account_id),
              (VALUES (0::bigint, 0::bigint, 0::bigint)) AS nothing
ORDER BY l.counter_id
ON CONFLICT (counter_id) DO UPDATE SET used = c.used WHERE false
"""
_READ = b"""
SELECT c.limit_amount, c.used, c.window_start, c.rule_no, c.entry_no, c.carried, c.carry_max,
       c.changes_at, coalesce(s.version, 0) AS version, s.state,
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us
  FROM unnest(%s::bigint[], %s::text[]) WITH ORDINALITY AS l (counter_id, stream, number)
  JOIN counters c ON c.counter_id = l.counter_id
  LEFT JOIN states s ON s.stream_id = l.stream
 ORDER BY l.number
"""


class Decision(Generic[T]):
    """One `append_locked`, over as many attempts as it takes.

    `done_at` is the position of what an earlier attempt had committed without our knowing.
    """

    def __init__(
        self,
        table: str,
        mapper: EventMapper,
        locks: Sequence[CounterLock],
        decide: Decide[T],
        metadata: Metadata,
        data_keys: Callable[[str], bytes | None],
    ) -> None:
        self._table = table
        self._mapper = mapper
        self._locks = locks
        self._decide = decide
        self._metadata = metadata
        self._data_keys = data_keys
        self._versions: list[int] | None = None
        self.decided: Decided[T] | None = None
        self.stored: list[StoredEvent] = []
        self.done_at: int | None = None

    @property
    def rows(self) -> Sequence[Row]:
        """What was to be written with the events."""
        return () if self.decided is None else self.decided.rows

    def make(self, cursor: psycopg.Cursor[Any], stored_events: list[StoredEvent]) -> None:
        """Lock, decide, write the rows, and fill the list of events; or find that it was done."""
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'".encode())
        found, now = self._locked(cursor)
        if self._versions is not None:
            self.done_at = self._own(cursor, self._versions)
            if self.done_at is not None:
                return
        self._versions = [each.version for each in found]
        self.decided = self._decide(found, now)
        metadata = msgspec.structs.replace(self._metadata, at=now)
        for new in self.decided.events:
            data_key = self._data_keys(new.account_id) if new.account_id else None
            stored_events.append(stored_event(self._mapper, new, metadata, data_key))
        self.stored = stored_events
        for sql, values in statements(self.decided.rows):
            cursor.execute(sql.encode(), values)

    def _locked(self, cursor: psycopg.Cursor[Any]) -> tuple[list[Locked], datetime]:
        ids = [lock.counter_id for lock in self._locks]
        owners = [lock.owner_id for lock in self._locks]
        accounts = [lock.account_id for lock in self._locks]
        cursor.execute(_LOCK, (ids, owners, accounts))
        cursor.execute(_READ, (ids, [lock.stream for lock in self._locks]))
        found = []
        now_us = 0
        for row in cursor.fetchall():
            counter = Counter(
                row["limit_amount"],
                row["used"],
                row["window_start"],
                row["rule_no"],
                row["entry_no"],
                row["carried"],
                row["carry_max"],
                row["changes_at"],
            )
            state = None if row["state"] is None else bytes(row["state"])
            found.append(Locked(counter, row["version"], state))
            now_us = max(now_us, row["now_us"])
        return found, instant(now_us)

    def _own(self, cursor: psycopg.Cursor[Any], versions: Sequence[int]) -> int | None:
        """Where an earlier attempt's last event is, if that one was committed after all. While
        we hold its locks it can't be on its way still."""
        cursor.execute(
            f"SELECT d.* FROM {self._table} d "  # noqa: S608 - a name of ours
            "JOIN unnest(%s::text[], %s::bigint[]) AS l (stream, version) "
            "ON d.originator_id = l.stream AND d.originator_version > l.version "
            "ORDER BY d.notification_id DESC".encode(),
            ([lock.stream for lock in self._locks], list(versions)),
        )
        for row in cursor.fetchall():
            stream, version = row["originator_id"], row["originator_version"]
            position = row["notification_id"]
            found = self._mapper.decode(
                position, stream, version, row["topic"], bytes(row["state"])
            )
            if found.metadata.command_id == self._metadata.command_id:
                return int(position)
        return None
