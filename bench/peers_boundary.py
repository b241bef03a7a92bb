"""A quota boundary with 100,000 keys on it: the end of a minute, under load and at rest.

Nothing may happen at the boundary itself: a window is computed from the clock, and the row of a
counter is written when its key is used next, never by a job.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec
import psycopg

from bench.ground import SERVICE_KEY, Ground, tollhouse
from bench.load import Measured, load
from bench.machine import Cores
from bench.many_keys import copy_keys
from bench.seeding import SeededKey, seed
from bench.speed import PATH
from domain.calendars import Period
from domain.quotas import Quota
from house import opened
from infra.digests import PepperedDigests
from infra.postgres.connection import conninfo

KEYS, KEYS_EACH = 100_000, 50
PLAN_WITHOUT_QUOTA = "internal"
PERIOD: Period = "minute"
CONNECTIONS = 32
WINDOW_SECONDS = 4
BOUNDARIES = 2
READ_MARGIN_SECONDS = 1.0


class Boundary(msgspec.Struct, frozen=True):
    """Verifications well before and across each boundary, and what was written at rest."""

    keys: int
    before_p99_ms: list[float]
    across_p99_ms: list[float]
    before_max_ms: list[float]
    across_max_ms: list[float]
    failed: int
    rows_written_at_rest: int
    seeded_seconds: float


def measure(on: Ground, cores: Cores, say: Callable[[str], None]) -> Boundary:
    """Use all keys in one minute, load across its end, twice; then sit through one at rest."""
    began = time.monotonic()
    secrets = _seeded(on)
    seeded = time.monotonic() - began
    say(f"boundary: {len(secrets):,} keys with a quota by the minute, made in {seeded:.0f} s")
    keys = on.folder / "boundary.keys"
    keys.write_text("".join(f"{secret}\n" for secret in sorted(secrets)))
    before: list[Measured] = []
    across: list[Measured] = []
    with tollhouse(on, cores.server, "serve at the boundary") as server:

        def loaded(connections: int, seconds: float) -> Measured:
            url = server.url + PATH
            return load(url, keys, SERVICE_KEY, connections, seconds, cores.load)

        for number in range(BOUNDARIES):
            say(f"boundary: minute {number + 1} of {BOUNDARIES}")
            # Rows of this minute's window for as many keys as can be used in it.
            _until(4)
            used = loaded(128, 40)
            if used.refused:
                raise RuntimeError(f"{used.refused} of {used.requests} verifications were refused")
            _until(60 - 3.5 * WINDOW_SECONDS)
            before.append(loaded(CONNECTIONS, WINDOW_SECONDS))
            _until(60 - WINDOW_SECONDS / 2)
            across.append(loaded(CONNECTIONS, WINDOW_SECONDS))
        say("boundary: one minute's end at rest")
        _until(60 - 3 * READ_MARGIN_SECONDS)
        rows = _rows(on)
        _until(2)
        written = len(_rows(on) - rows)
    return Boundary(
        keys=len(secrets),
        before_p99_ms=[each.p99_us / 1000 for each in before],
        across_p99_ms=[each.p99_us / 1000 for each in across],
        before_max_ms=[each.max_us / 1000 for each in before],
        across_max_ms=[each.max_us / 1000 for each in across],
        failed=sum(each.refused + each.broken for each in (*before, *across)),
        rows_written_at_rest=written,
        seeded_seconds=seeded,
    )


def _seeded(on: Ground) -> list[str]:
    """Keys that commands would have written; their counters are made when they are used."""
    model = asyncio.run(_model(on))
    digests = PepperedDigests(on.settings.key_pepper)
    return copy_keys(on.database_url, model, PERIOD, digests, KEYS // KEYS_EACH, KEYS).secrets


async def _model(on: Ground) -> list[SeededKey]:
    async with opened(on.settings, on.database_url, verifying=False) as house:
        quota = Quota(1_000_000_000, PERIOD)
        return (await seed(house.ports, 1, KEYS_EACH, quota, PLAN_WITHOUT_QUOTA)).keys


def _rows(on: Ground) -> set[tuple[int, str]]:
    """Every counter with the transaction that wrote its row."""
    with psycopg.connect(conninfo(on.database_url)) as connection:
        found = connection.execute("SELECT counter_id, xmin::text FROM counters").fetchall()
    return {(row[0], row[1]) for row in found}


def _until(second: float) -> None:
    """Sleep to that second of a minute: of this one if it is still to come, else of the next."""
    time.sleep((second - time.time()) % 60)
