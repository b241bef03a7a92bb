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
from domain.calendars import ETERNITY, Calendar, Window, length
from domain.counters import Rule
from domain.quotas import MAX_AMOUNT
from domain.verification import (
    GRANTED,
    KINDS,
    STALE,
    UNSETTLED,
    Counter,
    Expected,
    Take,
    VerificationsCounted,
    take,
)
from infra.event_mapper import EventMapper
from infra.postgres.connection import conninfo
from infra.postgres.usage_log import PostgresUsageLog
from tests.exploring import examples
from tests.factories import an_id, metadata
from tests.infra.proxy import COUNTED, lossy

pytestmark = pytest.mark.anyio

HOUR = 3_600_000_000
ALWAYS = Window(0, ETERNITY, ETERNITY, 0)
UNCHANGED = Expected(1, ALWAYS)
"""The rule that the rows of most tests have already."""


@pytest.fixture
async def usage(database_url: str) -> AsyncIterator[PostgresUsageLog]:
    log = PostgresUsageLog(database_url)
    yield log
    await log.close()


def write(url: str, counters: dict[int, Counter]) -> None:
    with psycopg.connect(conninfo(url)) as connection:
        for counter_id, each in counters.items():
            connection.execute(
                "INSERT INTO counters VALUES (%s, 'o', 'a', %s, %s, %s, %s, %s, %s, %s, %s) "
                "ON CONFLICT (counter_id) DO UPDATE SET limit_amount = excluded.limit_amount",
                (counter_id, *msgspec.structs.astuple(each)),
            )


def read(url: str) -> dict[int, Counter]:
    with psycopg.connect(conninfo(url)) as connection:
        rows = connection.execute(
            "SELECT counter_id, limit_amount, used, window_start, rule_no, entry_no, carried, "
            "carry_max, changes_at FROM counters"
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
    expected: Sequence[Expected],
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
        kinds=[KINDS.index(each.kind) for each in expected],
        labels={"0": {"tags": ['q"\\ \u20ac \u0001']}},
    )
    rules = [
        rule(number, *each) for number, each in enumerate(zip(counters, expected, strict=True))
    ]
    return Flush(
        stream=stream,
        version=version,
        metadata=msgspec.json.encode(metadata(f"{stream}_{version}")),
        batch=msgspec.json.encode(event)[1:-1],
        rules=rules,
        windows={each.calendar: known.window for each, known in zip(rules, expected, strict=True)},
        takes=takes,
    )


def rule(number: int, counter_id: int, known: Expected) -> Rule:
    """The rule that leads to these expectations; its windows are given beside it, by a calendar
    that no other rule has."""
    return Rule(
        counter_id=counter_id,
        owner_id="o",
        account_id="a",
        kind=known.kind,
        name="a rule",
        scope="own",
        limit=known.limit,
        calendar=Calendar("lifetime" if known.length == ETERNITY else "hour", number),
        rule_no=known.rule_no,
        carry_over_max=known.carry_max,
    )


def one_each(
    version: int, count: int, stream: str = "usage_1", counter: int = 1, amount: int = 1
) -> Flush:
    return flush(stream, version, [counter], [UNCHANGED], [[Take(0, amount)]] * count)


class Situation(NamedTuple):
    counters: list[Counter]
    expected: list[Expected]
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
        start, span = draw(windows)
        base = start * HALF
        end, next_end = base + span * HALF, base + 2 * span * HALF
        # A reset in the middle of it: a window begins later than its base.
        reset = draw(st.sampled_from([0, 0, 0, HALF // 2]))
        window = Window(base + reset, end, next_end, base)
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
                carried=draw(st.integers(0, 5)),
                carry_max=draw(st.integers(0, 5)),
                changes_at=draw(st.sampled_from([-HALF, HALF])),
            )
        )
        expected.append(
            Expected(
                draw(st.sampled_from([1, 1, 1, 2])),
                window,
                draw(st.none() | st.integers(0, 12)),
                draw(st.sampled_from([0, 3, 50])),
                draw(st.sampled_from(["quota", "quota", "rate", "credits"])),
                draw(st.sampled_from([length("hour"), ETERNITY])),
            )
        )
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
            msgspec.structs.replace(
                each, window_start=now + each.window_start, changes_at=now + each.changes_at
            )
            for each in situation.counters
        ],
        [each._replace(window=at(each.window)) for each in situation.expected],
        situation.requests,
    )


@settings(
    max_examples=examples(60),
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
    assert counted.limits == [each.allowed for each in opened]
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
    asked = flush("usage_1", 1, [1, 2], [UNCHANGED] * 2, requests)
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
            await log.count(flush(stream, version, chosen, [UNCHANGED] * len(chosen), [takes]))

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
            async with asyncio.timeout(30):
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


async def test_counter_that_is_needed_for_the_first_time_is_made(
    usage: PostgresUsageLog, database_url: str
) -> None:
    write(database_url, {1: Counter(limit=10)})
    expected = [UNCHANGED, Expected(7, ALWAYS, 2), Expected(7, ALWAYS, 0, kind="credits")]
    takes = [[Take(0, 1), Take(1, 1)], [Take(2, 1)]]
    counted = await usage.count(flush("usage_1", 1, [1, 2, 3], expected, takes))
    assert counted.refused == {1: UNSETTLED}  # nobody has said what credits there are
    assert counted.limits == [10, 2, 0]
    rows = read(database_url)
    assert rows[2] == Counter(limit=2, used=1, rule_no=7, entry_no=1)
    assert (rows[3].used, rows[3].changes_at) == (0, 0)


async def test_processes_that_need_new_counters_at_once_make_each_once(database_url: str) -> None:
    ids = list(range(1, 31))
    logs = [PostgresUsageLog(database_url) for _ in range(4)]

    async def count(log: PostgresUsageLog, stream: str, chosen: list[int]) -> None:
        known = [Expected(1, ALWAYS, 1000)] * len(chosen)
        takes = [Take(number, 1) for number in range(len(chosen))]
        for version in (1, 2, 3):
            await log.count(flush(stream, version, chosen, known, [takes]))

    try:
        async with asyncio.timeout(20):
            await asyncio.gather(
                *(count(log, f"usage_{n}", ids[n * 3 : n * 3 + 20]) for n, log in enumerate(logs))
            )
    finally:
        for log in logs:
            await log.close()
    assert sum(each.used for each in read(database_url).values()) == 4 * 3 * 20


async def test_clock_that_is_ahead_of_the_directory_is_stale(
    usage: PostgresUsageLog, database_url: str
) -> None:
    now = await usage.now_us()
    write(database_url, {1: Counter(limit=10)})
    past = Window(now - 3 * HOUR, now - 2 * HOUR, now - HOUR, now - 3 * HOUR)
    future = Window(now + HOUR, now + 2 * HOUR, now + 3 * HOUR, now + HOUR)
    for version, window in enumerate((past, future), 1):
        counted: Counted = await usage.count(
            flush("usage_1", version, [1], [Expected(1, window)], [[Take(0, 1)]])
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
