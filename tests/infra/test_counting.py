"""Counting in Postgres: as the oracle says, once, and never oversold by anybody."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from application.errors import StoreUnavailable
from application.ports import Counted, Flush
from domain.allowances import ETERNITY, MAX_AMOUNT, Window
from domain.verification import (
    GRANTED,
    STALE,
    Counter,
    Take,
    VerificationsCounted,
    take,
)
from infra.event_mapper import EventMapper
from infra.postgres.connection import conninfo
from infra.postgres.usage_log import PostgresUsageLog
from tests.factories import an_id, metadata
from tests.infra.proxy import COUNTED, lossy

pytestmark = pytest.mark.anyio

HOUR = 3_600_000_000
ALWAYS = Window(0, ETERNITY, ETERNITY)


@pytest.fixture
async def usage(database_url: str) -> AsyncIterator[PostgresUsageLog]:
    log = PostgresUsageLog(database_url)
    yield log
    await log.close()


def write(url: str, counters: dict[int, Counter]) -> None:
    with psycopg.connect(conninfo(url)) as connection:
        for counter_id, each in counters.items():
            connection.execute(
                "INSERT INTO counters VALUES (%s, 'o', 'a', %s, %s, %s, %s, %s) "
                "ON CONFLICT (counter_id) DO UPDATE SET limit_amount = excluded.limit_amount",
                (counter_id, each.limit, each.used, each.window_start, each.rule_no, each.entry_no),
            )


def read(url: str) -> dict[int, Counter]:
    with psycopg.connect(conninfo(url)) as connection:
        rows = connection.execute(
            "SELECT counter_id, limit_amount, used, window_start, rule_no, entry_no FROM counters"
        ).fetchall()
    return {row[0]: Counter(*row[1:]) for row in rows}


def events(url: str) -> list[VerificationsCounted]:
    """All that the usage log holds, as the event mapper reads it."""
    with psycopg.connect(conninfo(url)) as connection:
        rows = connection.execute(
            "SELECT notification_id, originator_id, originator_version, topic, state "
            "FROM usage ORDER BY notification_id"
        ).fetchall()
    found = []
    for row in rows:
        event = EventMapper().decode(*row).event
        assert isinstance(event, VerificationsCounted)
        found.append(event)
    return found


def flush(
    stream: str,
    version: int,
    counters: Sequence[int],
    expected: Sequence[tuple[int, Window]],
    requests: Sequence[Sequence[Take]],
) -> Flush:
    takes = [
        number
        for row, request in enumerate(requests)
        for each in request
        for number in (row, each.counter + 1, each.amount)
    ]
    rows = len(requests)
    event = VerificationsCounted(
        instance=stream,
        at_us=[0] * rows,
        judged_at=[(0, 1)],
        keys=["key_1"],
        accounts=["acct_1"],
        key=[0] * rows,
        account=[0] * rows,
        code=["VALID"] * rows,
        cost=[request[0].amount if request else 0 for request in requests],
        takes=takes,
        counters=list(counters),
        labels={"0": {"tags": ['q"\\ \u20ac \u0001']}},
    )
    return Flush(
        stream=stream,
        version=version,
        metadata=msgspec.json.encode(metadata(f"{stream}_{version}")),
        batch=msgspec.json.encode(event)[1:-1],
        counters=list(counters),
        rules=[rule for rule, _ in expected],
        windows=[window for _, window in expected],
        takes=takes,
    )


def one_each(
    version: int, count: int, stream: str = "usage_1", counter: int = 1, amount: int = 1
) -> Flush:
    return flush(stream, version, [counter], [(1, ALWAYS)], [[Take(0, amount)]] * count)


class Situation(NamedTuple):
    counters: list[Counter]
    expected: list[tuple[int, Window]]
    requests: list[list[Take]]


# The database's clock can't be set: windows are laid around it, as offsets in half hours,
# so that no test is at the mercy of the moment. The clock is 0.
HALF = HOUR // 2
windows = st.one_of(
    st.just((-1, 3)),  # current
    st.just((-3, 1)),  # it has just left the first one for the second
    st.integers(-9, 9).flatmap(  # anything: current, next, stale in the past or the future
        lambda start: st.integers(1, 4).map(lambda length: (2 * start - 1, 2 * length))
    ),
)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    counters, expected = [], []
    for _ in range(draw(st.integers(1, 4))):
        start, length = draw(windows)
        window = Window(start * HALF, (start + length) * HALF, (start + 2 * length) * HALF)
        starts = st.sampled_from([window.start, window.end, window.next_end]) | st.integers(
            -20, 20
        ).map(lambda half: (2 * half + 1) * HALF)
        counters.append(
            Counter(
                limit=draw(st.none() | st.integers(0, 12)),
                used=draw(st.integers(0, 14)),
                window_start=draw(starts),
                rule_no=draw(st.sampled_from([1, 1, 1, 2])),
                entry_no=draw(st.integers(0, 5)),
            )
        )
        expected.append((draw(st.sampled_from([1, 1, 1, 2])), window))
    request = st.lists(
        st.tuples(st.integers(0, len(counters) - 1), st.integers(0, 4)),
        max_size=len(counters),
        unique_by=lambda each: each[0],
    ).map(lambda takes: [Take(*each) for each in takes])
    return Situation(counters, expected, draw(st.lists(request, max_size=10)))


def moved(situation: Situation, now: int) -> Situation:
    """The situation, that lies around 0, around this instant."""

    def at(window: Window) -> Window:
        return Window(*(now + bound for bound in window))

    return Situation(
        [
            msgspec.structs.replace(each, window_start=now + each.window_start)
            for each in situation.counters
        ],
        [(rule, at(window)) for rule, window in situation.expected],
        situation.requests,
    )


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(situation=situations())
async def test_database_decides_as_the_oracle(
    situation: Situation, usage: PostgresUsageLog, database_url: str
) -> None:
    now = await usage.now_us()
    situation = moved(situation, now)
    stream = an_id("usage")
    first = int(stream.rpartition("_")[2]) * 10
    ids = [first + number for number in range(len(situation.counters))]
    before = dict(zip(ids, situation.counters, strict=True))
    await asyncio.to_thread(write, database_url, before)

    counted = await usage.count(flush(stream, 1, ids, situation.expected, situation.requests))
    assert now <= counted.now_us < now + HALF

    opened = [msgspec.structs.replace(each) for each in situation.counters]
    take(opened, situation.expected, [], counted.now_us)
    oracle = [msgspec.structs.replace(each) for each in situation.counters]
    # A request that takes nothing isn't among the takes: nobody could have refused it.
    verdicts = take(oracle, situation.expected, situation.requests, counted.now_us)
    refused = {row: verdict for row, verdict in enumerate(verdicts) if verdict != GRANTED}
    assert counted.refused == refused
    assert counted.limits == [each.limit for each in opened]
    assert counted.opening == [each.used for each in opened]
    assert counted.windows == [each.window_start for each in opened]
    assert counted.entry_no == [each.entry_no for each in situation.counters]

    rows = await asyncio.to_thread(read, database_url)
    for counter_id, expected in zip(ids, oracle, strict=True):
        if expected.entry_no == before[counter_id].entry_no:
            # Nobody took: the row needn't be touched, the next one to take will move it.
            assert rows[counter_id] == before[counter_id]
        else:
            assert rows[counter_id] == expected


async def test_usage_event_holds_what_was_asked_and_what_was_decided(
    usage: PostgresUsageLog, database_url: str
) -> None:
    write(database_url, {1: Counter(limit=3, used=2, entry_no=7), 2: Counter(limit=None)})
    requests = [[Take(0, 1), Take(1, 1)], [Take(0, 1)], []]
    asked = flush("usage_1", 1, [1, 2], [(1, ALWAYS)] * 2, requests)
    counted = await usage.count(asked)
    (event,) = events(database_url)
    assert event.takes == asked.takes
    assert event.labels == {"0": {"tags": ['q"\\ \u20ac \u0001']}}
    assert event.counted_at_us == counted.now_us
    assert (event.windows, event.limits) == (counted.windows, counted.limits) == ([0, 0], [3, None])
    assert (event.opening, event.entry_no) == ([2, 0], [7, 0])
    assert (event.refused, event.refused_by) == ([1], [1])


async def test_batch_that_takes_nothing_is_logged(
    usage: PostgresUsageLog, database_url: str
) -> None:
    counted = await usage.count(flush("usage_1", 1, [], [], [[], []]))
    assert counted.refused == {}
    (event,) = events(database_url)
    assert event.code == ["VALID", "VALID"]


async def test_two_processes_never_oversell_a_hot_counter(database_url: str) -> None:
    write(database_url, {1: Counter(limit=500)})
    logs = [PostgresUsageLog(database_url) for _ in range(2)]

    async def sell(log: PostgresUsageLog, stream: str) -> int:
        valid = 0
        for version in range(1, 41):
            size = 5 + version % 7
            counted = await log.count(one_each(version, size, stream))
            valid += size - len(counted.refused)
        return valid

    try:
        sold = await asyncio.gather(
            *(sell(log, f"usage_{number}") for number, log in enumerate(logs))
        )
    finally:
        for log in logs:
            await log.close()
    assert sum(sold) == 500
    assert min(sold) > 0
    assert read(database_url)[1].used == 500
    seen = events(database_url)
    assert sum(len(event.code) - len(event.refused) for event in seen) == 500
    # One total order of all that was counted, whoever counted it.
    totals = [(event.entry_no[0], event.opening[0]) for event in seen]
    assert totals == sorted(totals)


async def test_flushes_over_many_counters_in_any_order_never_deadlock(database_url: str) -> None:
    ids = list(range(1, 9))
    write(database_url, {counter_id: Counter(limit=None) for counter_id in ids})
    logs = [PostgresUsageLog(database_url) for _ in range(4)]

    async def count(log: PostgresUsageLog, stream: str, chosen: list[int]) -> None:
        for version in range(1, 16):
            takes = [Take(number, 1) for number in reversed(range(len(chosen)))]
            await log.count(flush(stream, version, chosen, [(1, ALWAYS)] * len(chosen), [takes]))

    try:
        async with asyncio.timeout(30):
            await asyncio.gather(
                *(count(log, f"usage_{n}", ids[n : n + 5]) for n, log in enumerate(logs))
            )
    finally:
        for log in logs:
            await log.close()
    assert sum(each.used for each in read(database_url).values()) == 4 * 15 * 5


@pytest.mark.parametrize("loss", ["cut", "silence"])
async def test_flush_whose_reply_was_lost_counts_once(
    database_url: str, loss: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.postgres.usage_log.STUCK_SECONDS", 0.5)
    write(database_url, {1: Counter(limit=10)})
    with lossy(database_url) as proxy:
        log = PostgresUsageLog(proxy.url)
        try:
            await log.count(one_each(1, 3))
            proxy.lose(loss, COUNTED)
            async with asyncio.timeout(5):
                counted = await log.count(one_each(2, 9))
            assert proxy.lost == 1
            assert counted.opening == [3]
            assert counted.limits == [10]
            assert counted.refused == {7: 1, 8: 1}
            assert read(database_url)[1] == Counter(limit=10, used=10, entry_no=10)
            assert len(events(database_url)) == 2
            assert (await log.count(one_each(3, 1))).refused == {0: 1}
        finally:
            await log.close()


async def test_flush_that_never_arrived_is_sent_again(database_url: str) -> None:
    write(database_url, {1: Counter(limit=10)})
    with lossy(database_url) as proxy:
        log = PostgresUsageLog(proxy.url)
        try:
            await log.count(one_each(1, 1))
            proxy.lose("cut_request", b"usage_1")
            counted = await log.count(one_each(2, 1))
            assert proxy.lost == 1
            assert counted.opening == [1]
            assert read(database_url)[1].used == 2
        finally:
            await log.close()


async def test_same_stream_and_version_counts_once_and_answers_the_same(
    usage: PostgresUsageLog, database_url: str
) -> None:
    write(database_url, {1: Counter(limit=10)})
    first = await usage.count(one_each(1, 3))
    assert await usage.count(one_each(1, 3)) == first
    other = PostgresUsageLog(database_url)
    try:
        empty = flush("usage_1", 1, [], [], [[]])
        assert await other.count(empty) == first
    finally:
        await other.close()
    assert read(database_url)[1].used == 3
    assert len(events(database_url)) == 1
    assert (await usage.count(one_each(2, 1))).opening == [3]


async def test_counting_without_postgres_is_unavailable_and_then_settles(
    database_url: str,
) -> None:
    write(database_url, {1: Counter(limit=10)})
    with lossy(database_url) as proxy:
        log = PostgresUsageLog(proxy.url)
        try:
            await log.count(one_each(1, 1))
            proxy.lose("cut", COUNTED)
            proxy.refusing = True
            with pytest.raises(StoreUnavailable):
                await log.count(one_each(2, 4))
            with pytest.raises(StoreUnavailable):
                await log.now_us()
            assert read(database_url)[1].used == 5  # it had been committed
            proxy.refusing = False
            settled = await log.count(flush("usage_1", 2, [], [], [[]] * 4))
            assert settled.opening == [1]
            assert read(database_url)[1].used == 5
        finally:
            await log.close()


async def test_lowered_limit_takes_nothing_back_and_gives_nothing_more(
    usage: PostgresUsageLog, database_url: str
) -> None:
    write(database_url, {1: Counter(limit=10)})
    await usage.count(one_each(1, 8))
    write(database_url, {1: Counter(limit=5)})
    lowered = await usage.count(one_each(2, 2))
    assert lowered.limits == [5]
    assert lowered.opening == [8]
    assert lowered.refused == {0: 1, 1: 1}
    assert read(database_url)[1].used == 8
    write(database_url, {1: Counter(limit=9)})
    assert (await usage.count(one_each(3, 2))).refused == {1: 1}


async def test_missing_counter_fails_the_flush_and_counts_nothing(
    usage: PostgresUsageLog, database_url: str
) -> None:
    write(database_url, {1: Counter(limit=10)})
    asked = flush("usage_1", 1, [1, 2], [(1, ALWAYS)] * 2, [[Take(0, 1), Take(1, 1)]])
    with pytest.raises(psycopg.Error, match="missing"):
        await usage.count(asked)
    assert read(database_url)[1].used == 0
    assert events(database_url) == []
    assert (await usage.count(one_each(1, 1))).refused == {}


async def test_clock_that_is_ahead_of_the_directory_is_stale(
    usage: PostgresUsageLog, database_url: str
) -> None:
    now = await usage.now_us()
    write(database_url, {1: Counter(limit=10)})
    past = Window(now - 3 * HOUR, now - 2 * HOUR, now - HOUR)
    future = Window(now + HOUR, now + 2 * HOUR, now + 3 * HOUR)
    for version, window in enumerate((past, future), 1):
        counted: Counted = await usage.count(
            flush("usage_1", version, [1], [(1, window)], [[Take(0, 1)]])
        )
        assert counted.refused == {0: STALE}
    assert read(database_url)[1] == Counter(limit=10)


@pytest.mark.parametrize(("limit", "granted"), [(10, 0), (MAX_AMOUNT, 1)])
async def test_huge_costs_at_once_never_oversell_a_limit(
    usage: PostgresUsageLog, database_url: str, limit: int, granted: int
) -> None:
    write(database_url, {1: Counter(limit=limit)})
    counted = await usage.count(one_each(1, 1_100, amount=MAX_AMOUNT))
    assert counted.refused == dict.fromkeys(range(granted, 1_100), 1)
    assert read(database_url)[1].used == granted * MAX_AMOUNT
    (event,) = events(database_url)
    assert len(event.refused) == 1_100 - granted


async def test_huge_costs_never_overflow_a_counter_without_a_limit(
    usage: PostgresUsageLog, database_url: str
) -> None:
    write(database_url, {1: Counter(limit=None)})
    used = [0]
    for version in (1, 2, 3):
        counted = await usage.count(one_each(version, 1_100, amount=MAX_AMOUNT))
        assert counted.refused == {}
        used.append(read(database_url)[1].used)
    assert used == sorted(used)
    assert used[1] >= MAX_AMOUNT
    assert len(events(database_url)) == 3


async def test_counting_against_a_held_lock_gives_up_and_leaves_no_crowd_behind(
    database_url: str,
) -> None:
    write(database_url, {1: Counter(limit=10)})
    log = PostgresUsageLog(database_url)
    try:
        with psycopg.connect(database_url) as holder:
            holder.execute("LOCK TABLE tollhouse.usage IN SHARE MODE")
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    async with asyncio.timeout(10):
                        await log.count(one_each(1, 3))
            assert waiting_for_a_lock(database_url) <= 2
        async with asyncio.timeout(10):
            counted = await log.count(one_each(1, 3))
            while waiting_for_a_lock(database_url):  # noqa: ASYNC110 - Postgres tells nobody
                await asyncio.sleep(0.02)
    finally:
        await log.close()
    assert counted.refused == {}
    assert read(database_url)[1].used == 3
    assert len(events(database_url)) == 1


def waiting_for_a_lock(url: str) -> int:
    """How many of our backends on this database wait for somebody's lock."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'tollhouse' AND wait_event_type = 'Lock'"
        ).fetchone()
    assert row is not None
    return int(row[0])
