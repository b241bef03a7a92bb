"""The event store: our three verbs on the eventsourcing library's Postgres recorder.

The library serialises appends with a table lock, which is what keeps a follower from
missing events; it knows nothing of asyncio, so calls run in a few threads.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, TypeVar

import psycopg
from eventsourcing.persistence import IntegrityError, PersistenceError, StoredEvent

from application.errors import StoreUnavailable
from application.ports import Appended, CounterLock, Decide, Followed
from application.rows import ClaimRow, DataKeyRow, Row
from domain.event import Metadata, NewEvent, Recorded
from infra.append_refusals import is_outage, refusal
from infra.event_mapper import EventMapper
from infra.locked_append import Decision
from infra.postgres.following import follow
from infra.recorder import (
    RowsRecorder,
    insert_events,
    opened_datastore,
    select_events,
    stored_event,
)
from infra.vault import MasterKeyVault

T = TypeVar("T")

THREADS = 4
GIVE_UP_SECONDS = 3.0
GRACE_SECONDS = 0.5
LONGEST_SECONDS = 7.0


class PostgresEventStore:
    """The decisions log in Postgres. Implements application.ports.EventStore."""

    writes_rows = True
    locks_counters = True

    def __init__(
        self, url: str, log_id: str, vault: MasterKeyVault, mapper: EventMapper, log: str
    ) -> None:
        self._url = url
        self._log_id = log_id
        self._vault = vault
        self._mapper = mapper
        self._naming = mapper.with_vault(vault)
        self._table = log
        self._datastore = opened_datastore(url, THREADS, GIVE_UP_SECONDS)
        self._recorder: RowsRecorder | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="events")

    @property
    def log_id(self) -> str:
        """Names this log."""
        return self._log_id

    async def close(self) -> None:
        """Return the connections."""
        self._datastore.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def read(self, stream: str, *, personal: bool = False) -> list[Recorded]:
        """The stream's events, oldest first."""
        return await self._in_thread(self._read, stream, personal)

    async def append(
        self, events: Sequence[NewEvent], metadata: Metadata, rows: Sequence[Row] = ()
    ) -> int:
        """Append to all streams, with all rows, or not at all; answers the last position."""
        return await self._in_thread(self._append, events, metadata, rows)

    async def append_locked(
        self, locks: Sequence[CounterLock], decide: Decide[T], metadata: Metadata
    ) -> Appended[T]:
        """Decide under the locks of these counters, and append it in the same transaction."""
        ordered = sorted(locks, key=lambda lock: lock.counter_id)
        if ordered != list(locks):
            raise ValueError("counters are locked in the order of their ids")
        return await self._in_thread(self._append_locked, locks, decide, metadata)

    def follow(self, after: int) -> AsyncIterator[Followed]:
        """Everything after this position, in order, for ever; over restarts of Postgres."""
        return follow(self._url, self._table, self._naming, after)

    async def _in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        # The library waits for ever on a server that is silent. Nothing takes this long unless
        # it is, so whatever is in use then is hung up on, and the call tries again or gives up.
        loop = asyncio.get_running_loop()
        timer = loop.call_later(GIVE_UP_SECONDS, self._datastore.hang_up)
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                return await loop.run_in_executor(self._threads, call, *arguments)
        except TimeoutError:
            raise StoreUnavailable("Postgres does not answer") from None
        finally:
            timer.cancel()

    def _ready(self) -> RowsRecorder:
        if self._recorder is None:  # its constructor already asks the database for types
            self._recorder = RowsRecorder(self._datastore, events_table_name=self._table)
        return self._recorder

    def _persistently(self, call: Callable[[RowsRecorder], T]) -> T:
        """Run against the store; over broken connections, for a bounded time."""
        # A little longer than until a silent line is hung up: what was under way then is tried
        # again, so a reply that was lost in silence is looked up as well.
        deadline = time.monotonic() + GIVE_UP_SECONDS + GRACE_SECONDS
        while True:
            try:
                return call(self._ready())
            except IntegrityError:
                raise
            except PersistenceError as error:
                if time.monotonic() > deadline or not is_outage(error):
                    if is_outage(error):
                        raise StoreUnavailable(str(error).strip()) from error
                    raise
                time.sleep(0.05)

    def _read(self, stream: str, personal: bool) -> list[Recorded]:
        rows = self._persistently(lambda recorder: select_events(recorder, stream))
        return [
            self._mapper.decode(
                0,
                stream,
                row.originator_version,
                row.topic,
                row.state,
                self._data_key,
                names_only=not personal,
            )
            for row in rows
        ]

    def _append(self, events: Sequence[NewEvent], metadata: Metadata, rows: Sequence[Row]) -> int:
        made = {row.account_id: row for row in rows if isinstance(row, DataKeyRow)}
        stored = []
        for new in events:
            data_key = self._data_key(new.account_id, made) if new.account_id else None
            stored.append(stored_event(self._mapper, new, metadata, data_key))

        def insert(recorder: RowsRecorder) -> int:
            ids = insert_events(recorder, stored, rows=rows)
            return int(ids[-1])

        try:
            return self._persistently(insert)
        except (IntegrityError, PersistenceError) as error:
            cause = error.__cause__
            if not isinstance(cause, psycopg.Error):
                raise
            # A commit whose reply was lost, tried again, conflicts with itself: ask whether
            # it is ours before calling it anybody's conflict.
            position = self._persistently(lambda _: self._own(stored[-1], metadata.command_id))
            if position is not None:
                return position
            raise refusal(cause, rows, self._is_held) from error

    def _append_locked(
        self, locks: Sequence[CounterLock], decide: Decide[T], metadata: Metadata
    ) -> Appended[T]:
        keys: dict[str, bytes | None] = {}
        if metadata.reason is not None:
            # Before the transaction: a thread that holds one connection never waits for another.
            keys = {lock.account_id: self._data_key(lock.account_id) for lock in locks}
        decision = Decision(self._table, self._mapper, locks, decide, metadata, keys.get)

        def insert(recorder: RowsRecorder) -> int | None:
            made: list[StoredEvent] = []
            ids = insert_events(recorder, made, make=decision.make)
            return int(ids[-1]) if ids else decision.done_at

        try:
            position = self._persistently(insert)
        except (IntegrityError, PersistenceError) as error:
            cause = error.__cause__
            if not isinstance(cause, psycopg.Error):
                raise
            last = decision.stored[-1] if decision.stored else None
            position = (
                None
                if last is None
                else self._persistently(lambda _: self._own(last, metadata.command_id))
            )
            if position is None:
                raise refusal(cause, decision.rows, self._is_held) from error
        assert decision.decided is not None
        return Appended(position, decision.decided.result)

    def _own(self, last: StoredEvent, command_id: str) -> int | None:
        with self._datastore.get_connection() as connection:
            row: Any = connection.execute(
                f"SELECT notification_id, topic, state FROM {self._table} "  # noqa: S608
                "WHERE originator_id = %s AND originator_version = %s".encode(),
                (last.originator_id, last.originator_version),
            ).fetchone()
        if row is None:
            return None
        found = self._mapper.decode(
            row["notification_id"],
            str(last.originator_id),
            last.originator_version,
            row["topic"],
            bytes(row["state"]),
        )
        return found.position if found.metadata.command_id == command_id else None

    def _is_held(self, claim: ClaimRow) -> bool:
        with self._datastore.get_connection() as connection:
            found = connection.execute(
                "SELECT 1 FROM claims WHERE kind = %s AND digest = %s",
                (claim.kind, claim.digest),
            ).fetchone()
        return found is not None

    def _data_key(
        self, account_id: str, made: Mapping[str, DataKeyRow] = MappingProxyType({})
    ) -> bytes | None:
        """The account's data key; `made` are those that this transaction is to write."""
        known = self._vault.known(account_id)
        if known is not None:
            return known
        if account_id in made:
            return self._vault.unwrap(made[account_id])

        def select(_: RowsRecorder) -> Any:
            with self._datastore.get_connection() as connection:
                return connection.execute(
                    "SELECT wrapped, master_key_id FROM data_keys WHERE account_id = %s",
                    (account_id,),
                ).fetchone()

        row = self._persistently(select)
        if row is None:
            return None
        return self._vault.unwrap(
            DataKeyRow(account_id, bytes(row["wrapped"]), row["master_key_id"])
        )
