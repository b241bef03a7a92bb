"""What publication asks of the log besides reading it: is this in it, and how old is it?"""

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg

from infra.followers import Hold

CLOCK_MARGIN_SHARE = 10
CLOCK_MARGIN_LEAST_US = 60_000_000
CLOCK_MARGIN_MOST_US = 2 * 3_600_000_000


class _Event(msgspec.Struct):
    counted_at_us: int = 0


class _Metadata(msgspec.Struct):
    at: datetime


class _Timed(msgspec.Struct):
    event: _Event
    metadata: _Metadata


_TIMED = msgspec.json.Decoder(_Timed)


class LogReader:
    """Looks things up in the log of a hold, in one transaction that proves the hold."""

    def __init__(self, connection: psycopg.AsyncConnection, log: str) -> None:
        self._connection = connection
        self._log = log

    @staticmethod
    @contextlib.asynccontextmanager
    async def opened(hold: Hold) -> AsyncIterator["LogReader"]:
        """Raises Fenced if somebody else holds on by now, so that only a holder repairs."""
        async with confirmed(hold, hold.position) as connection:
            yield LogReader(connection, hold.log)

    async def identity(self, position: int) -> tuple[str, int] | None:
        """The stream and version of the event there; None if there is none."""
        row = await self._row(
            "SELECT originator_id, originator_version FROM {} WHERE notification_id = %s",
            position,
        )
        return None if row is None else (row[0], row[1])

    async def any_between(self, low: int, high: int) -> bool:
        """Whether the log has an event after `low` and before `high`."""
        row = await self._row(
            "SELECT 1 FROM {} WHERE notification_id > %s AND notification_id < %s LIMIT 1",
            low,
            high,
        )
        return row is not None

    async def first_lost(self, gaps: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
        """The first of these pairs of positions that the log has an event between; None if none.

        One query for all of them, however many.
        """
        if not gaps:
            return None
        row = await self._row(
            "SELECT low, high FROM unnest(%s::bigint[], %s::bigint[]) AS gaps (low, high) "
            "WHERE EXISTS (SELECT FROM {} WHERE notification_id > low AND notification_id < high) "
            "ORDER BY low LIMIT 1",
            [low for low, _ in gaps],
            [high for _, high in gaps],
        )
        return None if row is None else (int(row[0]), int(row[1]))

    async def recent_before(self, position: int, max_age_us: int) -> bool:
        """Whether the event right before this one is surely younger than that.

        Surely: NATS lets messages go by its own clock, which may not agree with ours.
        """
        row = await self._row(
            "SELECT state FROM {} WHERE notification_id < %s ORDER BY notification_id DESC LIMIT 1",
            position,
        )
        return row is not None and _age_us(row[0]) < max_age_us - clock_margin_us(max_age_us)

    async def before_recent(self, max_age_us: int) -> int:
        """The position behind which everything is younger than that."""
        row = await self._row("SELECT coalesce(max(notification_id), 0) FROM {}")
        assert row is not None
        low, high = 0, int(row[0])
        while low < high:
            middle = (low + high) // 2
            row = await self._row(
                "SELECT notification_id, state FROM {} WHERE notification_id > %s "
                "ORDER BY notification_id LIMIT 1",
                middle,
            )
            if row is None or _age_us(row[1]) < max_age_us:
                high = middle
            else:
                low = int(row[0])
        return low

    async def _row(self, query: str, *values: int | list[int]) -> tuple[Any, ...] | None:
        cursor = await self._connection.execute(query.format(self._log).encode(), values)
        return await cursor.fetchone()


@contextlib.asynccontextmanager
async def confirmed(hold: Hold, position: int) -> AsyncIterator[psycopg.AsyncConnection]:
    """Move the checkpoint there (or leave it), having proved the hold.

    It need not survive a power cut, since the stream says where publication goes on: so it
    waits for no disk. Raises Fenced.
    """
    async with hold.advancing(position) as connection:
        await connection.execute("SET LOCAL synchronous_commit = off")
        yield connection


def clock_margin_us(max_age_us: int) -> int:
    """How far apart clocks may be before an aged message is taken for a missing one."""
    return max(CLOCK_MARGIN_LEAST_US, min(max_age_us // CLOCK_MARGIN_SHARE, CLOCK_MARGIN_MOST_US))


def _age_us(state: bytes) -> float:
    """How long ago it was recorded, as far as that can be read; else it counts as new."""
    try:
        timed = _TIMED.decode(state)
    except msgspec.MsgspecError:
        return 0.0
    at_us = timed.event.counted_at_us or timed.metadata.at.astimezone(UTC).timestamp() * 1e6
    return time.time() * 1e6 - at_us
