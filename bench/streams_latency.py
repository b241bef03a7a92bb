"""How long a verification takes from its commit to JetStream, and to the published snapshot.

Clocks: the database's, which stamps each flush before it commits; the NATS server's, which
stamps each message; and the file system's, which stamps each snapshot. All are this machine's.
"""

import asyncio
import threading
from bisect import bisect_left
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import duckdb
import msgspec
import nats
import psycopg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from bench.ground import Ground
from infra.postgres.connection import conninfo


class Latency(msgspec.Struct, frozen=True):
    """Seconds, over so many flushes."""

    flushes: int
    p50: float
    p99: float
    most: float


class Snapshots:
    """Looks at the published file again and again, from a thread: when it appeared, and up to
    which position of the usage log it goes."""

    def __init__(self, path: Path) -> None:
        self.seen: list[tuple[float, int]] = []
        self._path = path
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Snapshots":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        last = 0.0
        while not self._over.wait(0.1):
            with suppress(OSError, duckdb.Error):
                written_at = self._path.stat().st_mtime
                if written_at == last:
                    continue
                with duckdb.connect(str(self._path), read_only=True) as connection:
                    row = connection.execute("SELECT usage_position FROM snapshot").fetchone()
                if row is not None:
                    self.seen.append((written_at, row[0]))
                    last = written_at


def latencies(
    on: Ground, after: int, snapshots: list[tuple[float, int]]
) -> tuple[Latency, Latency]:
    """Of all flushes after this position: to JetStream, and to the snapshot."""
    counted = _counted(on.database_url, after)
    stored = asyncio.run(_stored(on.environment["TOLLHOUSE_NATS_URL"], len(counted)))
    to_stream = [stored[position] - at for position, at in counted.items()]
    positions = [position for _, position in snapshots]
    to_snapshot = []
    for position, at in counted.items():
        index = bisect_left(positions, position)
        if index < len(positions):
            to_snapshot.append(snapshots[index][0] - at)
    if len(to_snapshot) < len(counted):
        raise RuntimeError("the last snapshot lacks some of the flushes")
    return _latency(to_stream), _latency(to_snapshot)


def _latency(seconds: list[float]) -> Latency:
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return Latency(len(ordered), ordered[last // 2], ordered[int(last * 0.99)], ordered[last])


def _counted(database_url: str, after: int) -> dict[int, float]:
    with psycopg.connect(conninfo(database_url)) as connection:
        rows = connection.execute(
            "SELECT notification_id, "
            "(convert_from(state, 'UTF8')::json #>> '{event,counted_at_us}')::float8 / 1e6 "
            "FROM usage WHERE notification_id > %s ORDER BY 1",
            (after,),
        ).fetchall()
    return dict(rows)


async def _stored(nats_url: str, last: int) -> dict[int, float]:
    """When the server stored the last so many messages, by position."""
    client = await nats.connect(nats_url)
    try:
        stream = client.jetstream()
        info = await stream.stream_info("TOLLHOUSE_USAGE")
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=max(info.state.last_seq - last + 1, 1),
            ack_policy=AckPolicy.NONE,
            headers_only=True,
        )
        consumer = await stream.pull_subscribe(
            "tollhouse.usage", stream="TOLLHOUSE_USAGE", config=config
        )
        found: dict[int, float] = {}
        while len(found) < last:
            for message in await consumer.fetch(min(1000, last - len(found)), timeout=10):
                position = (message.headers or {})["Tollhouse-Position"].rpartition(":")[2]
                found[int(position)] = message.metadata.timestamp.timestamp()
        return found
    finally:
        await client.close()
