"""Durable throttles (SECURITY 4): exact over all processes, and there after a restart."""

import asyncio
import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from application.throttle_ports import Throttled
from infra.postgres.lookups import PostgresLookups
from infra.postgres.throttles import PostgresThrottles, standing
from tests.exploring import examples

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = 3_600_000_000

pytestmark = pytest.mark.anyio


@pytest.fixture
async def lookups(database_url: str) -> AsyncIterator[PostgresLookups]:
    lookups = PostgresLookups(database_url)
    await lookups.open()
    yield lookups
    await lookups.close()


@pytest.fixture
def throttles(lookups: PostgresLookups) -> PostgresThrottles:
    return PostgresThrottles(lookups)


async def test_exactly_the_limit_passes_however_many_ask_at_once(
    throttles: PostgresThrottles, database_url: str
) -> None:
    others = PostgresLookups(database_url)
    await others.open()
    elsewhere = PostgresThrottles(others)
    wanted = [Throttled("otp", b"somebody", 5)]
    standings = await asyncio.gather(
        *(each.hit(wanted, NOON) for each in (throttles, elsewhere) for _ in range(25))
    )
    await others.close()
    assert sum(standing.allowed for (standing,) in standings) == 5
    assert (await throttles.peek(wanted, NOON))[0].remaining == 0


async def test_a_count_is_there_for_a_process_that_comes_later(database_url: str) -> None:
    for expected in (1, 0):
        lookups = PostgresLookups(database_url)
        await lookups.open()
        standing = (await PostgresThrottles(lookups).hit([Throttled("otp", b"x", 2)], NOON))[0]
        await lookups.close()
        assert (standing.allowed, standing.remaining) == (True, expected)


async def test_what_is_over_one_limit_counts_in_none(throttles: PostgresThrottles) -> None:
    narrow, wide = Throttled("otp", b"pair", 1), Throttled("otp_address", b"address", 5)
    await throttles.hit([narrow, wide], NOON)
    refused = await throttles.hit([narrow, wide], NOON)
    assert [each.allowed for each in refused] == [False, True]
    assert (await throttles.peek([wide], NOON))[0].remaining == 4


async def test_an_hour_slides_and_never_doubles_where_two_meet(
    throttles: PostgresThrottles,
) -> None:
    wanted = [Throttled("otp", b"x", 4)]
    before_one = NOON + timedelta(minutes=59)
    for _ in range(4):
        assert (await throttles.hit(wanted, before_one))[0].allowed
    just_after = NOON + timedelta(minutes=61)
    refused = (await throttles.hit(wanted, just_after))[0]
    assert not refused.allowed
    # The wait that is answered is the wait: a second less is refused, then it is allowed.
    then = just_after + timedelta(seconds=refused.resets_in)
    assert not (await throttles.peek(wanted, then - timedelta(seconds=1)))[0].allowed
    assert (await throttles.hit(wanted, then))[0].allowed
    assert (await throttles.peek(wanted, NOON + timedelta(hours=3)))[0].remaining == 4


async def test_a_cleared_count_begins_at_nothing(throttles: PostgresThrottles) -> None:
    wanted = [Throttled("otp", b"x", 1)]
    await throttles.hit(wanted, NOON)
    await throttles.clear("otp", b"x")
    assert (await throttles.hit(wanted, NOON))[0].allowed


@hypothesis_settings(max_examples=examples(200))
@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 20), st.integers(0, HOUR - 1))
def test_the_wait_that_is_answered_is_enough_and_not_a_second_too_long(
    before: int, current: int, limit: int, into: int
) -> None:
    def weighs(at: int) -> int:
        if at < HOUR:
            return math.ceil(Fraction(before * (HOUR - at), HOUR)) + current
        return math.ceil(Fraction(current * (2 * HOUR - at), HOUR)) if at < 2 * HOUR else 0

    if weighs(into) < limit:
        return
    refused = standing(Throttled("otp", b"", limit), before, current, into, False)
    assert weighs(into + refused.resets_in * 1_000_000) < limit
    if refused.resets_in > 1:
        assert weighs(into + (refused.resets_in - 1) * 1_000_000) >= limit
