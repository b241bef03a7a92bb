"""Pages of the log: by any filter exactly what is meant, and fast at any depth."""

import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from application.history_ports import EventFilter
from application.ports import HistoryEntry
from infra.postgres.log_pages import PostgresLogPages, page_statement
from infra.postgres.lookups import PostgresLookups
from tests.factories import a_vault
from tests.infra.following import rows, run

pytestmark = pytest.mark.anyio

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
# A rare type, a rare actor who does rare things, and events that come hours too late.
FILL = """
INSERT INTO history (position, stream, version, noun, type, at, account_id, actor, data,
                     latest, straggler)
SELECT n, 'key_' || n %% {streams}, n, 'n', type, at, NULL, actor, '{{}}', latest,
       at < latest - interval '10 seconds'
  FROM (SELECT *, max(at) OVER (ORDER BY n) AS latest FROM (
        SELECT n * 3 AS n,
               CASE WHEN n %% {rare} = 7 THEN 'plan.retired.v1'
                    WHEN n %% 3 = 0 THEN 'session.started.v1'
                    ELSE 'credit.drawn.v1' END AS type,
               CASE WHEN n %% {rare} = 9 THEN 'acct_rare'
                    WHEN n %% 2 = 0 THEN 'system' ELSE 'acct_' || n %% 1000 END AS actor,
               timestamptz '2026-01-01 00:00:00+00' + n * interval '1 second'
               + ((n * 7919) %% 5000) * interval '1 millisecond'
               - CASE WHEN n %% 997 = 5 THEN interval '3 hours' ELSE interval '0' END AS at
          FROM generate_series(1, {count}::bigint) n) each) all_of_them
"""


@pytest.fixture
async def pages(database_url: str) -> AsyncIterator[PostgresLogPages]:
    lookups = PostgresLookups(database_url)
    await lookups.open()
    try:
        yield PostgresLogPages(lookups, a_vault())
    finally:
        await lookups.close()


def fill(url: str, count: int) -> None:
    run(url, FILL.format(count=count, rare=count // 40, streams=count // 25))
    run(url, "ANALYZE history")


async def everything(
    pages: PostgresLogPages, wanted: EventFilter, limit: int
) -> list[HistoryEntry]:
    """All pages of so many, one after the other."""
    found: list[HistoryEntry] = []
    while page := await pages.page(wanted, limit, None):
        found += page
        last = page[-1].position
        place = {"before": last} if wanted.newest_first else {"after": last}
        wanted = msgspec.structs.replace(wanted, **place)
    return found


def meant(entry: HistoryEntry, wanted: EventFilter) -> bool:
    return (
        entry.position > wanted.after
        and (wanted.before is None or entry.position < wanted.before)
        and (not wanted.types or entry.type in wanted.types)
        and wanted.stream in (None, entry.stream)
        and wanted.actor in (None, entry.actor)
        and (wanted.since is None or entry.at >= wanted.since)
        and (wanted.until is None or entry.at < wanted.until)
    )


async def test_any_filter_gives_every_event_that_is_meant_once_and_in_order(
    database_url: str, pages: PostgresLogPages
) -> None:
    fill(database_url, 2_000)
    whole = await pages.page(EventFilter(), 10_000, None)
    assert [each.position for each in whole] == list(range(3, 6_003, 3))
    drawn = random.Random(7)
    for _ in range(60):
        since, until = (BEGIN + timedelta(seconds=drawn.randint(-9_000, 3_000)) for _ in range(2))
        wanted = EventFilter(
            after=drawn.choice([0, 0, 2_500, 5_000]),
            before=drawn.choice([None, None, 5_500]),
            types=drawn.choice(
                [(), ("plan.retired.v1",), ("plan.retired.v1", "session.started.v1")]
            ),
            stream=drawn.choice([None, None, None, "key_6"]),
            actor=drawn.choice([None, None, "system", "acct_rare"]),
            since=drawn.choice([None, since]),
            until=drawn.choice([None, until]),
            newest_first=drawn.choice([False, True]),
        )
        expected = [each for each in whole if meant(each, wanted)]
        if wanted.newest_first:
            expected.reverse()
        assert await everything(pages, wanted, drawn.choice([50, 500])) == expected, wanted


@pytest.mark.long
async def test_pages_of_a_million_events_take_less_than_50_ms_by_any_filter_at_any_depth(
    database_url: str, pages: PostgresLogPages
) -> None:
    count = 1_000_000
    fill(database_url, count)
    deep = EventFilter(after=3 * (count - 10_000))
    late = BEGIN + timedelta(seconds=count - 3_000)
    replace = msgspec.structs.replace
    asked = {
        "everything": EventFilter(),
        "everything, deep": deep,
        "newest first": replace(deep, newest_first=True),
        "a rare type": EventFilter(types=("plan.retired.v1",)),
        "a type that never was": EventFilter(types=("account.closed.v1",)),
        "a rare type among common ones": EventFilter(
            types=("plan.retired.v1", "session.started.v1", "credit.drawn.v1")
        ),
        "a common type, deep": replace(deep, types=("credit.drawn.v1",)),
        "a rare actor": EventFilter(actor="acct_rare"),
        "a common actor, deep": replace(deep, actor="system"),
        "a common actor's rare deeds": EventFilter(actor="system", types=("plan.retired.v1",)),
        "a stream": EventFilter(stream="key_77"),
        "late": EventFilter(since=late),
        "a late minute": EventFilter(since=late, until=late + timedelta(minutes=1)),
        "an early minute": EventFilter(
            since=BEGIN + timedelta(hours=1), until=BEGIN + timedelta(hours=1, minutes=1)
        ),
        "an early minute, newest first": EventFilter(
            since=BEGIN + timedelta(hours=1),
            until=BEGIN + timedelta(hours=1, minutes=1),
            newest_first=True,
        ),
        "a rare actor, late": EventFilter(actor="acct_rare", since=late),
        "a rare type, late": EventFilter(types=("plan.retired.v1",), since=late),
        "nobody's": EventFilter(actor="acct_nobody", since=late),
    }
    slow = {}
    for name, wanted in asked.items():
        best = 1e9
        for _ in range(3):
            started = time.perf_counter()
            found = await pages.page(wanted, 201, None)
            best = min(best, time.perf_counter() - started)
        print(f"{best * 1000:7.1f} ms  {len(found):4} of {name}")
        if best > 0.05:
            sql, parameters = page_statement(wanted, wanted.types, (1, 2**62), 201)
            slow[name] = (best, rows(database_url, f"EXPLAIN ANALYZE {sql}", *parameters))
    assert not slow
