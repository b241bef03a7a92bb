"""Invariant I5: what is published is a suffix of the log, in order, and nothing twice."""

from typing import NamedTuple

import nats
import nats.errors
import psycopg
from nats.js.api import AckPolicy, ConsumerConfig

from infra.nats.publisher import STREAMS
from infra.postgres.connection import conninfo

BATCH = 1_000


class Fact(NamedTuple):
    """A message of a stream as a consumer gets it."""

    subject: str
    headers: dict[str, str]
    body: bytes

    @property
    def position(self) -> int:
        """Where its header says that it is in the log."""
        return int(self.headers["Tollhouse-Position"].rpartition(":")[2])


async def facts(nats_url: str, stream: str) -> list[Fact]:
    """All that the stream holds, first to last."""
    client = await nats.connect(nats_url, max_reconnect_attempts=1, reconnect_time_wait=0.1)
    try:
        jetstream = client.jetstream()
        waiting = (await jetstream.stream_info(stream)).state.messages
        subscription = await jetstream.pull_subscribe(
            "", stream=stream, config=ConsumerConfig(ack_policy=AckPolicy.NONE)
        )
        found: list[Fact] = []
        while len(found) < waiting:
            for each in await subscription.fetch(min(BATCH, waiting - len(found)), timeout=5):
                found.append(Fact(each.subject, each.headers or {}, each.data))
        await subscription.unsubscribe()
        return found
    finally:
        await client.close()


async def published(nats_url: str, stream: str) -> list[int]:
    """The positions in this stream, in its order."""
    return [fact.position for fact in await facts(nats_url, stream)]


def logged(database_url: str, log: str) -> list[int]:
    """All positions of this log."""
    with psycopg.connect(conninfo(database_url)) as connection:
        rows = connection.execute(
            f"SELECT notification_id FROM {log} ORDER BY notification_id".encode()
        ).fetchall()
    return [row[0] for row in rows]


async def violations(nats_url: str, database_url: str) -> list[str]:
    """How I5 is broken, in words; nothing if it holds. Publication has to be at rest."""
    found = []
    for log, (stream, _) in STREAMS.items():
        have = await published(nats_url, stream)
        want = logged(database_url, log)
        if log == "decisions" and len(have) < len(want):
            # It has no limit: all of the log belongs there.
            found.append(f"{stream} lacks some of {log}: {_difference(have, want)}")
        elif have != want[len(want) - len(have) :]:
            found.append(f"{stream} is no suffix of {log}: {_difference(have, want)}")
        elif want and not have:
            found.append(f"{stream} is empty, {log} is not")
    return found


def _difference(have: list[int], want: list[int]) -> str:
    suffix = want[len(want) - min(len(have), len(want)) :]
    for number, (one, other) in enumerate(zip(have, suffix, strict=False)):
        if one != other:
            return f"message {number} is {one}, not {other}"
    return f"{len(have)} messages, {len(want)} events"
