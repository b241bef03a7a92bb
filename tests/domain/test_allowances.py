"""Windows are computed: every instant lies in exactly one, and no job ever resets anything."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import allowances, calendars, counters, quotas
from domain.allowances import Allowance, AllowanceLifted, AllowanceReset, AllowanceSet
from domain.calendars import ETERNITY, Calendar, Period, Window
from domain.errors import InvalidCommand
from domain.quotas import MAX_AMOUNT, Quota, RateLimit

AT = datetime(2026, 3, 1, tzinfo=UTC)
LAST = int(datetime(9990, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
PERIODS: tuple[Period, ...] = get_args(Period)
BOUNDED = [period for period in PERIODS if period != "lifetime"]
SET = AllowanceSet(
    allowance_id="alw_1",
    owner_id="key_1",
    account_id="acct_1",
    scope="own",
    limit=10,
    period="day",
    counter_id=7,
)
instants = st.integers(0, LAST)


def window(period: Period, now: int) -> Window:
    return calendars.window(Calendar(period), now)


def us(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[misc, arg-type]


@given(st.sampled_from(PERIODS), instants)
def test_every_instant_lies_in_its_window(period: Period, now: int) -> None:
    found = window(period, now)
    assert found.start <= now < found.end <= found.next_end


@given(st.sampled_from(BOUNDED), instants, st.floats(0, 1, exclude_max=True))
def test_every_instant_lies_in_exactly_one_window(period: Period, now: int, part: float) -> None:
    found = window(period, now)
    inside = found.start + int((found.end - found.start) * part)
    assert window(period, min(inside, found.end - 1)) == found


@given(st.sampled_from(BOUNDED), instants)
def test_consecutive_windows_meet(period: Period, now: int) -> None:
    found = window(period, now)
    following = window(period, found.end)
    assert (following.start, following.end) == (found.end, found.next_end)
    if found.start > us(1970, 2, 1):
        assert window(period, found.start - 1).end == found.start


@given(instants)
def test_windows_begin_where_people_expect_it(now: int) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    begins = {
        period: epoch + timedelta(microseconds=window(period, now).start) for period in BOUNDED
    }
    assert begins["minute"].second == begins["minute"].microsecond == 0
    assert (begins["hour"].minute, begins["hour"].second) == (0, 0)
    assert (begins["day"].hour, begins["day"].minute) == (0, 0)
    if now >= us(1970, 1, 5):
        assert (begins["week"].isoweekday(), begins["week"].hour) == (1, 0)
    assert (begins["month"].day, begins["month"].hour) == (1, 0)


def test_months_end_where_the_calendar_says() -> None:
    assert window("month", us(2024, 2, 29, 23, 59, 59))[:3] == (
        us(2024, 2, 1),
        us(2024, 3, 1),
        us(2024, 4, 1),
    )
    assert window("month", us(2023, 2, 28)).end == us(2023, 3, 1)
    assert window("month", us(2100, 2, 28)).end == us(2100, 3, 1)
    assert window("month", us(2026, 12, 31, 23))[:3] == (
        us(2026, 12, 1),
        us(2027, 1, 1),
        us(2027, 2, 1),
    )


def test_boundary_belongs_to_the_window_that_begins() -> None:
    midnight = us(2026, 3, 1)
    assert window("day", midnight).start == midnight
    assert window("day", midnight - 1).end == midnight


def test_lifetime_is_one_window() -> None:
    assert window("lifetime", 0) == window("lifetime", LAST) == (0, ETERNITY, ETERNITY, 0)


@pytest.mark.parametrize("limit", [-1, MAX_AMOUNT + 1])
def test_limit_that_can_t_be_counted_is_refused(limit: int) -> None:
    with pytest.raises(InvalidCommand) as refused:
        quotas.check(Quota(limit, "day"))
    assert refused.value.param == "quota.limit"


@pytest.mark.parametrize("limit", [0, 1, MAX_AMOUNT])
def test_limit_from_nothing_to_the_largest_is_fine(limit: int) -> None:
    assert quotas.check(Quota(limit, "day")).limit == limit


def state(*more: AllowanceSet | AllowanceLifted) -> Allowance:
    found = allowances.evolve(None, SET, AT)
    for event in more:
        found = allowances.evolve(found, event, AT)
    return found


def test_same_rule_again_is_no_change() -> None:
    assert allowances.changed(state(), Quota(10, "day")) is None


def test_another_limit_keeps_its_counter_and_is_another_rule() -> None:
    changed = allowances.changed(state(), Quota(20, "day"))
    assert changed is not None
    assert (changed.limit, changed.counter_id, changed.rule_no) == (20, 7, 2)


def test_another_period_is_another_rule_so_that_nobody_counts_by_the_old_calendar() -> None:
    changed = allowances.changed(state(), Quota(10, "hour"))
    assert changed is not None
    assert (changed.period, changed.rule_no) == ("hour", 2)
    assert changed.counter_id == counters.quota_counter("key_1", "hour")


def test_lifted_rule_can_be_set_again() -> None:
    lifted = state(AllowanceLifted())
    assert lifted.lifted
    again = allowances.changed(lifted, Quota(10, "day"))
    assert again is not None
    assert not allowances.evolve(lifted, again, AT).lifted


def test_nothing_is_lifted_before_it_is_set() -> None:
    with pytest.raises(ValueError, match=r"before allowance\.set"):
        allowances.evolve(None, AllowanceLifted(), AT)


def test_lifting_is_a_change_of_the_rule_too() -> None:
    again = allowances.changed(state(AllowanceLifted()), Quota(10, "day"))
    assert again is not None
    assert again.rule_no == 3


def test_reset_holds_for_whoever_has_no_rule_of_its_own() -> None:
    reset = AllowanceReset(
        allowance_id="alw_1",
        owner_id="acct_1",
        account_id="acct_1",
        scope="shared",
        reset_at_us=5,
    )
    alone = allowances.evolve(None, reset, AT)
    assert (alone.quota, alone.reset_at_us) == (None, 5)
    assert allowances.evolve(state(), reset, AT).quota == Quota(10, "day")
    assert allowances.evolve(alone, SET, AT).reset_at_us == 5


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]
anchored = st.builds(
    Calendar,
    st.sampled_from(BOUNDED),
    st.none() | st.integers(us(1971, 1, 1), us(2100, 1, 1)),
    st.sampled_from(ZONES),
    st.just(0),
)


@given(anchored, st.integers(us(1975, 1, 1), us(2120, 1, 1)))
def test_windows_of_any_anchor_and_time_zone_meet(calendar: Calendar, now: int) -> None:
    found = calendars.window(calendar, now)
    assert found.start <= now < found.end < found.next_end
    following = calendars.window(calendar, found.end)
    assert (following.start, following.end) == (found.end, found.next_end)
    assert calendars.window(calendar, found.start - 1).end == found.start


def test_days_follow_the_clocks_of_their_time_zone() -> None:
    berlin = Calendar("day", None, "Europe/Berlin")
    short = calendars.window(berlin, us(2026, 3, 29, 12))  # clocks go forward
    assert (short.start, short.end) == (us(2026, 3, 28, 23), us(2026, 3, 29, 22))
    long = calendars.window(berlin, us(2026, 10, 25, 12))  # and back
    assert (long.end - long.start) // 3_600_000_000 == 25


def test_months_anchored_on_the_last_day_end_where_shorter_ones_do() -> None:
    calendar = Calendar("month", us(2026, 1, 31, 15), "UTC")
    assert calendars.window(calendar, us(2026, 2, 28, 14)).start == us(2026, 1, 31, 15)
    assert calendars.window(calendar, us(2026, 2, 28, 15)).start == us(2026, 2, 28, 15)
    assert calendars.window(calendar, us(2028, 3, 1)).start == us(2028, 2, 29, 15)
    assert calendars.window(calendar, us(2028, 3, 1)).end == us(2028, 3, 31, 15)


def test_reset_begins_a_window_and_ends_none() -> None:
    calendar = Calendar("day", None, "UTC", us(2026, 3, 1, 15))
    before = calendars.window(calendar, us(2026, 3, 1, 14))
    assert (before.start, before.end) == (us(2026, 3, 1), us(2026, 3, 2))
    after = calendars.window(calendar, us(2026, 3, 1, 15))
    assert (after.start, after.end, after.base) == (
        us(2026, 3, 1, 15),
        us(2026, 3, 2),
        us(2026, 3, 1),
    )
    assert calendars.window(calendar, us(2026, 3, 2)).start == us(2026, 3, 2)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Mars/Olympus",
        "../../etc/passwd",
        "/etc/passwd",
        "a\0b",
        # What these mean depends on the machine, or on which leap seconds it counts.
        "localtime",
        "posixrules",
        "posix/Europe/Berlin",
        "right/Europe/Berlin",
    ],
)
def test_time_zone_that_nobody_knows_is_refused(name: str) -> None:
    with pytest.raises(InvalidCommand) as refused:
        quotas.check(Quota(1, "day", time_zone=name))
    assert refused.value.param == "quota.time_zone"


def test_anchor_without_a_time_zone_is_refused() -> None:
    with pytest.raises(InvalidCommand) as refused:
        quotas.check(Quota(1, "day", anchor=datetime(2026, 1, 1)))
    assert refused.value.param == "quota.anchor"


def test_counter_follows_from_owner_and_name() -> None:
    ids = {counters.counter_of(o, n) for o in ("a", "b") for n in ("quota", "credits")}
    assert len(ids) == 4
    assert all(0 <= each < 2**63 for each in ids)
    assert counters.counter_of("a", "quota") == counters.counter_of("a", "quota")


@pytest.mark.parametrize(
    ("limit", "param"),
    [
        (RateLimit("", 1, "second"), "rate_limits[0].name"),
        (RateLimit("a", -1, "second"), "rate_limits[0].limit"),
        (RateLimit("a", 1, "second", 0), "rate_limits[0].cost"),
        (RateLimit("a", 1, "second", 2), "rate_limits[0].cost"),
    ],
)
def test_rate_limit_that_counts_nothing_or_refuses_everybody_is_refused(
    limit: RateLimit, param: str
) -> None:
    with pytest.raises(InvalidCommand) as refused:
        quotas.check_rate_limits((limit,))
    assert refused.value.param == param


def test_rate_limit_of_nothing_closes_on_purpose() -> None:
    assert quotas.check_rate_limits((RateLimit("shut", 0, "second", 2),))


def test_rate_limits_have_names_of_their_own() -> None:
    with pytest.raises(InvalidCommand):
        quotas.check_rate_limits((RateLimit("a", 1, "second"), RateLimit("a", 1, "hour")))
