"""Following a log without a checkpoint, as memory does: from a position, for ever.

One connection that listens, and polls as well, since a NOTIFY can be lost and a restart of
Postgres ends every LISTEN. Those that keep a checkpoint are in infra/followers.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import psycopg
import structlog

from application.errors import StoreUnavailable
from application.ports import Followed, Unreadable
from domain.event import Recorded
from infra.event_mapper import CannotDecode, EventMapper, account_of
from infra.postgres.connection import answering, connect
from infra.postgres.name_keys import KeyOf, name_keys

log = structlog.get_logger()

POLL_SECONDS = 0.2
PAGE = 500
STUCK_SECONDS = 2.0


async def follow(url: str, table: str, mapper: EventMapper, after: int) -> AsyncIterator[Followed]:
    """Everything after this position, in order, for ever; over restarts of Postgres."""
    backoff = 0.05
    while True:
        try:
            connection = await connect(url)
            try:
                async with answering(connection, STUCK_SECONDS):
                    await connection.execute(f"LISTEN {table}".encode())
                while True:
                    asked_at = time.monotonic()
                    async with answering(connection, STUCK_SECONDS):
                        events = await _page(connection, table, mapper, after)
                    backoff = 0.05
                    if events:
                        after = events[-1].position
                    yield Followed(events, len(events) < PAGE, asked_at)
                    if len(events) < PAGE:
                        async for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                            pass
            finally:
                await connection.close()
        except (psycopg.Error, StoreUnavailable) as error:
            log.warning("following stopped", log=table, error=str(error).strip())
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, 1.0)


async def _page(
    connection: psycopg.AsyncConnection, table: str, mapper: EventMapper, after: int
) -> list[Recorded | Unreadable]:
    cursor = await connection.execute(
        "SELECT notification_id, originator_id, originator_version, topic, state "  # noqa: S608
        f"FROM {table} WHERE notification_id > %s ORDER BY notification_id LIMIT %s".encode(),
        (after, PAGE),
        binary=True,
    )
    rows = await cursor.fetchall()
    keys = await name_keys(connection, mapper, [(row[3], row[4]) for row in rows])
    return [_readable(mapper, keys, *row) for row in rows]


def _readable(
    mapper: EventMapper,
    keys: KeyOf | None,
    position: int,
    stream: str,
    version: int,
    name: str,
    state: bytes,
) -> Recorded | Unreadable:
    try:
        return mapper.decode(position, stream, version, name, state, keys, names_only=True)
    except CannotDecode as error:
        return Unreadable(position, stream, version, name, str(error), account_of(state))
