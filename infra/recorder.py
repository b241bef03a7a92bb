"""The eventsourcing library's Postgres recorder, as the event store uses it.

Our rows are written on the cursor of its transaction, retries are left to us, and connections
that are in use can be hung up on.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

from domain.errors import AccountNotActive
from domain.event import Metadata, NewEvent
from infra.event_mapper import EventMapper, MissingDataKey
from infra.postgres.connection import SCHEMA, hang_up, parameters
from infra.postgres.many_rows import statements

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
insert_events = PostgresApplicationRecorder.insert_events.__wrapped__
select_events = PostgresApplicationRecorder.select_events.__wrapped__


def stored_event(
    mapper: EventMapper, new: NewEvent, metadata: Metadata, data_key: bytes | None
) -> StoredEvent:
    """The event as it is inserted. AccountNotActive where its account's data key is no more."""
    try:
        name, state = mapper.encode(new, metadata, data_key)
    except MissingDataKey:
        if new.account_id is None:
            raise
        raise AccountNotActive(new.account_id, "erased") from None
    return StoredEvent(new.stream, new.version, name, state)


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


def opened_datastore(url: str, connections: int, patience_seconds: float) -> Datastore:
    """A datastore of at most so many connections; none is tried for longer than this."""
    given = parameters(url)
    datastore = Datastore(
        dbname=given.pop("dbname", ""),
        host=given.pop("host", ""),
        port=given.pop("port", 5432),
        user=given.pop("user", ""),
        password=given.pop("password", ""),
        connect_timeout=patience_seconds,
        idle_in_transaction_session_timeout=10,
        pool_size=1,
        max_overflow=connections - 1,
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
