"""Counting in Postgres: one SQL function takes counters and appends the usage event.

One connection, one flush at a time: the next group forms while this one commits, and all
flushes of all processes queue on the log's lock anyway.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import psycopg

from application.errors import StoreUnavailable
from application.ports import Counted, Flush
from domain.calendars import ETERNITY, length
from domain.event import stored_name
from domain.verification import KINDS, VerificationsCounted
from infra.postgres.connection import answering, connect

STATEMENT = (
    b"SELECT * FROM count_usage(%s, %s, %s, %s, %s, %s::bigint[], %s::integer[], %s::bigint[], "
    b"%s::bigint[], %s::bigint[], %s::integer[], %s::bigint[], %s::integer[], %s::bigint[], "
    b"%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])"
)
# A row is made by whoever needs it first; in one order, so that two don't wait for each other.
# Rule 0 is older than any, and credits that have never been looked at have to be settled.
MAKE = (
    b"INSERT INTO counters "
    b"(counter_id, owner_id, account_id, limit_amount, rule_no, changes_at) "
    b"SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], "
    b"%s::bigint[]) AS made (id) ORDER BY id ON CONFLICT DO NOTHING"
)
MISSING = "TH001"
STUCK_SECONDS = 2.0
MOST = 2**61  # beyond any limit, and still far from the overflow of a bigint
# The server gives up before we hang up: a backend that waits for a lock outlives its client.
GIVE_UP = b"SET lock_timeout = '1500ms'; SET statement_timeout = '1900ms'"
TOPIC = stored_name(VerificationsCounted)
_KIND = {kind: number for number, kind in enumerate(KINDS)}


class _Found(msgspec.Struct):
    event: VerificationsCounted


_FOUND = msgspec.json.Decoder(_Found)


class PostgresUsageLog:
    """Implements application.ports.UsageLog.

    `committed` is called after a commit and before anybody hears of it: where a fault test
    may end the process.
    """

    def __init__(self, url: str, committed: Callable[[], None] | None = None) -> None:
        self._url = url
        self._committed = committed
        self._connection: psycopg.AsyncConnection | None = None

    async def close(self) -> None:
        """Return the connection."""
        if self._connection is not None:
            await self._connection.close()

    async def now_us(self) -> int:
        """The database's clock."""
        try:
            connection = await self._connected()
            async with answering(connection, STUCK_SECONDS):
                cursor = await connection.execute(
                    "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
                )
                row = await cursor.fetchone()
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            await self._drop()
            raise StoreUnavailable(str(error).strip()) from error
        assert row is not None
        return int(row[0])

    async def count(self, flush: Flush) -> Counted:
        """Take the counters and append the batch: exactly once for its stream and version.

        When the connection breaks, whether the flush was committed isn't known; then the
        usage event is looked up, and only if it isn't there the flush is sent again. Should
        the first one still be on its way, the primary key lets one of the two in.
        """
        try:
            counted = await self._count(flush)
        except psycopg.errors.UniqueViolation:
            # Sent before, and given up on before it was known: it had been committed.
            counted = await self._after_break(flush)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            await self._drop()
            counted = await self._after_break(flush)
        if self._committed is not None:
            self._committed()
        return counted

    async def _count(self, flush: Flush) -> Counted:
        try:
            return await self._take(flush)
        except psycopg.Error as error:
            if error.sqlstate != MISSING:
                raise
        await self._make(flush)
        return await self._take(flush)

    async def _make(self, flush: Flush) -> None:
        connection = await self._connected()
        rules = flush.rules
        made = (
            [rule.counter_id for rule in rules],
            [rule.owner_id for rule in rules],
            [rule.account_id for rule in rules],
            [rule.limit for rule in rules],
            [0] * len(rules),
            [0 if rule.kind == "credits" else ETERNITY for rule in rules],
        )
        async with answering(connection, STUCK_SECONDS):
            await connection.execute(MAKE, made)

    async def _take(self, flush: Flush) -> Counted:
        connection = await self._connected()
        async with answering(connection, STUCK_SECONDS):
            cursor = await connection.execute(
                STATEMENT, _arguments(flush), prepare=True, binary=True
            )
        row = await cursor.fetchone()
        assert row is not None
        position, now_us, windows, limits, opening, entry_no, refused, refused_by = row
        return Counted(
            position,
            now_us,
            windows,
            limits,
            opening,
            entry_no,
            dict(zip(refused, refused_by, strict=True)),
        )

    async def _after_break(self, flush: Flush) -> Counted:
        try:
            found = await self._find(flush)
            if found is not None:
                return found
            try:
                return await self._count(flush)
            except psycopg.errors.UniqueViolation:
                found = await self._find(flush)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            await self._drop()
            raise StoreUnavailable(str(error).strip() or "Postgres does not answer") from error
        assert found is not None
        return found

    async def _find(self, flush: Flush) -> Counted | None:
        connection = await self._connected()
        async with answering(connection, STUCK_SECONDS):
            cursor = await connection.execute(
                "SELECT notification_id, state FROM usage "
                "WHERE originator_id = %s AND originator_version = %s",
                (flush.stream, flush.version),
            )
        row = await cursor.fetchone()
        if row is None:
            return None
        event = _FOUND.decode(row[1]).event
        return Counted(
            row[0],
            event.counted_at_us,
            event.windows,
            event.limits,
            event.opening,
            event.entry_no,
            dict(zip(event.refused, event.refused_by, strict=True)),
        )

    async def _connected(self) -> psycopg.AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await connect(self._url)
            async with answering(self._connection, STUCK_SECONDS):
                await self._connection.execute(GIVE_UP)
        return self._connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _arguments(flush: Flush) -> tuple[Any, ...]:
    takes, rules = flush.takes, flush.rules
    totals = [0] * len(rules)
    counts = [0] * len(rules)
    for counter, amount in zip(takes[1::3], takes[2::3], strict=True):
        totals[counter - 1] = min(totals[counter - 1] + amount, MOST)
        counts[counter - 1] += 1
    # Of all the counters' windows only a few differ: one or two periods.
    numbers = {calendar: number for number, calendar in enumerate(flush.windows, 1)}
    windows = flush.windows.values()
    return (
        flush.stream,
        flush.version,
        TOPIC,
        flush.metadata.decode(),
        flush.batch.decode(),
        _array([rule.counter_id for rule in rules]),
        _array([_KIND[rule.kind] for rule in rules]),
        _array([rule.rule_no for rule in rules]),
        _array([rule.limit for rule in rules]),
        _array([rule.carry_over_max for rule in rules]),
        _array([numbers[rule.calendar] for rule in rules]),
        _array(totals),
        _array(counts),
        _array([window.start for window in windows]),
        _array([window.base for window in windows]),
        _array([window.end for window in windows]),
        _array([window.next_end for window in windows]),
        _array([length(calendar.period) for calendar in flush.windows]),
        _array(takes),
    )


def _array(numbers: Iterable[int | None]) -> str:
    # As text: psycopg would pick an element type by the largest value of each list, and so
    # prepare the statement again and again.
    return f"{{{','.join(map(str, numbers)).replace('None', 'NULL')}}}"
