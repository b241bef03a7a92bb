"""The event store: our three verbs on the eventsourcing library's Postgres recorder.

The library serialises appends with a table lock, which is what keeps a follower from
missing events; it knows nothing of asyncio, so calls run in a few threads.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TypeVar

import psycopg
from eventsourcing.persistence import IntegrityError, PersistenceError, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

from application.errors import (
    StoreUnavailable,
    TooManyKeys,
    VersionConflict,
    WrongCredentials,
)
from application.ports import AnswerExists, Appended, CounterLock, Decide, Followed
from application.rows import ClaimRow, DataKeyRow, EntitlementRow, KeyIssuedRow, Row
from domain.errors import AccountNotActive, EntitlementExceeded, Taken
from domain.event import Metadata, NewEvent, Recorded
from infra.event_mapper import EventMapper, MissingDataKey
from infra.locked_append import Decision
from infra.postgres.connection import SCHEMA, hang_up, parameters
from infra.postgres.following import follow
from infra.postgres.many_rows import statements
from infra.vault import MasterKeyVault

T = TypeVar("T")

THREADS = 4
GIVE_UP_SECONDS = 3.0
GRACE_SECONDS = 0.5
LONGEST_SECONDS = 7.0

_CONFLICTS = {"claims_pkey": "claim", "key_digests_pkey": "key", "answers_pkey": "answer"}


Make = Callable[[psycopg.Cursor[Any], list[StoredEvent]], None]


class RowsRecorder(PostgresApplicationRecorder):
    """The library's recorder, writing our rows on the cursor of its transaction; or letting
    `make` decide there what the events are."""

    def _insert_events(
        self,
        curs: psycopg.Cursor[Any],
        stored_events: Sequence[StoredEvent],
        **kwargs: Any,
    ) -> None:
        make: Make | None = kwargs.get("make")
        if make is not None:
            assert isinstance(stored_events, list)
            make(curs, stored_events)
        for sql, values in statements(kwargs.get("rows", ())):
            curs.execute(sql.encode(), values)


# The library retries ten times in place and so turns a lost commit reply into a false
# conflict; its undecorated methods leave the decision to us.
_insert_events = PostgresApplicationRecorder.insert_events.__wrapped__
_select_events = PostgresApplicationRecorder.select_events.__wrapped__


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
        self._datastore = _datastore(url)
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
                if time.monotonic() > deadline or not _is_outage(error):
                    if _is_outage(error):
                        raise StoreUnavailable(str(error).strip()) from error
                    raise
                time.sleep(0.05)

    def _read(self, stream: str, personal: bool) -> list[Recorded]:
        rows = self._persistently(lambda recorder: _select_events(recorder, stream))
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
            try:
                name, state = self._mapper.encode(new, metadata, data_key)
            except MissingDataKey:
                if new.account_id is None:
                    raise
                raise AccountNotActive(new.account_id, "erased") from None
            stored.append(StoredEvent(new.stream, new.version, name, state))

        def insert(recorder: RowsRecorder) -> int:
            ids = _insert_events(recorder, stored, rows=rows)
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
            raise self._refusal(cause, rows) from error

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
            ids = _insert_events(recorder, made, make=decision.make)
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
                raise self._refusal(cause, decision.rows) from error
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

    def _refusal(self, cause: psycopg.Error, rows: Sequence[Row]) -> Exception:
        if cause.sqlstate == "TH002":
            return AnswerExists()
        if cause.sqlstate == "THCHL":
            return WrongCredentials()
        if cause.sqlstate == "TH003":
            guard = next(row for row in rows if isinstance(row, EntitlementRow))
            return EntitlementExceeded(guard.entitlement, guard.limit, guard.plan)
        if cause.sqlstate == "TH004":
            return _too_many(next(row for row in rows if isinstance(row, KeyIssuedRow)))
        if cause.sqlstate == "TH013":
            return VersionConflict("the account's epoch has risen")
        conflict = _CONFLICTS.get(cause.diag.constraint_name or "")
        if conflict == "answer":
            return AnswerExists()
        if conflict == "key":
            return Taken("key")
        if conflict == "claim":
            return Taken(self._taken_kind(rows))
        if isinstance(cause, psycopg.errors.UniqueViolation):
            return VersionConflict(str(cause).strip())
        return cause

    def _taken_kind(self, rows: Sequence[Row]) -> str:
        claims = [row for row in rows if isinstance(row, ClaimRow)]
        with self._datastore.get_connection() as connection:
            for claim in claims:
                found = connection.execute(
                    "SELECT 1 FROM claims WHERE kind = %s AND digest = %s",
                    (claim.kind, claim.digest),
                ).fetchone()
                if found is not None:
                    return claim.kind
        return claims[0].kind  # released in the meantime: the first is as good as any

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


def _too_many(guard: KeyIssuedRow) -> TooManyKeys:
    window, left = guard.window_end - guard.window_start, guard.window_end - guard.at
    # Rounded up: who comes back at that second must not be too early.
    return TooManyKeys(
        guard.limit, window // 1_000_000, -(-left // 1_000_000), -(-guard.window_end // 1_000_000)
    )


def _is_outage(error: PersistenceError) -> bool:
    cause = error.__cause__
    return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)


class Datastore(PostgresDatastore):
    """The library's datastore, knowing which connections are in use."""

    def __init__(self, **options: Any) -> None:
        self._in_use: set[psycopg.Connection[Any]] = set()
        super().__init__(**options)

    @contextmanager
    def get_connection(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection of the pool."""
        with super().get_connection() as connection:
            self._in_use.add(connection)
            try:
                yield connection
            finally:
                self._in_use.discard(connection)

    def hang_up(self) -> None:
        """End every connection in use, under whoever waits for it."""
        for connection in list(self._in_use):
            hang_up(connection)


def _datastore(url: str) -> Datastore:
    given = parameters(url)
    datastore = Datastore(
        dbname=given.pop("dbname", ""),
        host=given.pop("host", ""),
        port=given.pop("port", 5432),
        user=given.pop("user", ""),
        password=given.pop("password", ""),
        connect_timeout=GIVE_UP_SECONDS,
        idle_in_transaction_session_timeout=10,
        pool_size=1,
        max_overflow=THREADS - 1,
        lock_timeout=5,
        schema=SCHEMA,
        originator_id_type="text",
    )
    # The library's constructor takes five parameters; a managed Postgres needs more (TLS).
    assert isinstance(datastore.pool.kwargs, dict)
    datastore.pool.kwargs.update(given)
    # An error in a pipeline skips the statements behind it, and psycopg takes the skipped
    # PREPAREs for done: after a taken claim the connection would be poisoned.
    datastore.pool.kwargs["prepare_threshold"] = None
    # While it reconnects, the pool doubles its pauses, and would sleep on for up to minutes
    # after Postgres is back. Giving up early lets the next call begin afresh.
    datastore.pool.reconnect_timeout = 1.0
    return datastore
