"""A quota that changes its period: what was used counts on only while it still counts at all."""

import asyncio
import time

import psycopg
import pytest

from application import api_keys, quotas
from application.allowances import allowance_id, standing
from application.deciding import ALLOWANCE, load
from application.rules import account_rules
from domain.allowances import Allowance
from domain.api_keys import AmendApiKey
from domain.calendars import Calendar, Period, window
from domain.counters import PLAN_BITS
from domain.quotas import Quota
from infra.postgres.connection import conninfo
from tests.application.house import House, context, owner

pytestmark = pytest.mark.anyio

HOURS = 3_600_000_000


async def within_one_minute() -> int:
    """An instant whose minute lasts some seconds more, in microseconds."""
    while time.time() % 60 > 56:  # noqa: ASYNC110 - nobody tells that a minute has begun
        await asyncio.sleep(0.1)
    return time.time_ns() // 1000


def start_of(period: Period, now: int) -> int:
    return window(Calendar(period), now).start


def use_up(house: House, rule: Allowance, window_start: int) -> None:
    with psycopg.connect(conninfo(house.url)) as connection:
        connection.execute(
            "UPDATE counters SET used = limit_amount, window_start = %s WHERE counter_id = %s",
            (window_start, rule.counter_id),
        )


async def test_another_period_counts_in_a_row_of_its_own_and_going_back_wins_nothing(
    house: House,
) -> None:
    account = await house.account()
    key = (await house.key(account, quota=Quota(5, "minute"))).key
    (rule,) = house.directory.allowances(key.id)
    now = await within_one_minute()
    use_up(house, rule, start_of("minute", now))

    async def change(quota: Quota) -> Allowance:
        await api_keys.amend(house.ports, context(owner(account)), key.id, AmendApiKey(), quota)
        (changed,) = house.directory.allowances(key.id)
        return changed

    by_day = await change(Quota(5, "day"))
    assert by_day.counter_id != rule.counter_id
    counters = await house.lookups.counters([rule.counter_id, by_day.counter_id])
    assert counters[by_day.counter_id].used == 5  # of the minute that is now: a part of the day
    assert counters[by_day.counter_id].window_start == start_of("day", now)
    # Whoever knows the old rule only is refused at the old row.
    assert counters[rule.counter_id].rule_no == by_day.rule_no << PLAN_BITS

    back = await change(Quota(5, "minute"))
    assert back.counter_id == rule.counter_id
    counter = (await house.lookups.counters([back.counter_id]))[back.counter_id]
    assert (counter.used, counter.limit, counter.rule_no) == (5, 5, 3 << PLAN_BITS)


async def test_another_limit_in_the_same_period_keeps_the_count(house: House) -> None:
    account = await house.account()
    key = (await house.key(account, quota=Quota(5, "minute"))).key
    (rule,) = house.directory.allowances(key.id)
    now = await within_one_minute()
    start = start_of("minute", now)
    use_up(house, rule, start)
    await api_keys.amend(
        house.ports, context(owner(account)), key.id, AmendApiKey(), Quota(9, "minute")
    )
    counter = (await house.lookups.counters([rule.counter_id]))[rule.counter_id]
    assert (counter.limit, counter.used, counter.window_start) == (9, 5, start)


@pytest.mark.parametrize(("used", "carried"), [(15, 0), (12, 3), (2, 6)])
async def test_what_is_carried_over_a_change_is_what_was_left(
    house: House, used: int, carried: int
) -> None:
    account = await house.account()
    key = (await house.key(account, quota=Quota(10, "minute", carry_over_max=6))).key
    (rule,) = house.directory.allowances(key.id)
    now = await within_one_minute()
    start = start_of("minute", now)
    with psycopg.connect(conninfo(house.url)) as connection:
        connection.execute(
            "UPDATE counters SET used = %s, carried = 5, window_start = %s WHERE counter_id = %s",
            (used, start - 60_000_000, rule.counter_id),
        )
    await api_keys.amend(
        house.ports,
        context(owner(account)),
        key.id,
        AmendApiKey(),
        Quota(9, "minute", carry_over_max=6),
    )
    counter = (await house.lookups.counters([rule.counter_id]))[rule.counter_id]
    assert (counter.used, counter.carried, counter.window_start) == (0, carried, start)


async def test_a_second_rule_beside_the_plan_s_does_not_count_what_is_long_past(
    house: House,
) -> None:
    account = await house.account()
    for quota in (Quota(7, "day"), None):
        await quotas.set_account_quota(house.ports, context(), account.id, quota)
    (rule,) = [await load(house.ports, ALLOWANCE, allowance_id(account.id))]
    assert rule.state is not None
    counter_id = rule.state.counter_id
    yesterday = start_of("day", time.time_ns() // 1000) - 24 * HOURS
    with psycopg.connect(conninfo(house.url)) as connection:
        connection.execute(
            "UPDATE counters SET used = 7, window_start = %s WHERE counter_id = %s",
            (yesterday, counter_id),
        )
    await quotas.set_account_quota(house.ports, context(), account.id, Quota(5, "day"))
    (state,) = await standing(
        house.ports, account_rules(house.directory, house.directory.account(account.id) or account)
    )
    assert (state.limit, state.used, state.remaining) == (5, 0, 5)
