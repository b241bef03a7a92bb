"""The verdict, and the taking of counters: never over the limit, all or none, in order."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.accounts import Account
from domain.api_keys import ApiKey
from domain.calendars import ETERNITY, Window
from domain.verification import (
    GRANTED,
    STALE,
    UNSETTLED,
    Code,
    Counter,
    Expected,
    Presented,
    Take,
    VerificationsCounted,
    evolve,
    judge,
    take,
)

AT = datetime(2026, 3, 1, tzinfo=UTC)
NOW = AT.timestamp()
KEY = ApiKey(
    id="key_1",
    account_id="acct_1",
    name="ci",
    digest=b"d",
    pepper_id="p",
    hint="h",
    kind="standard",
    environment="live",
    issued_at=NOW - 100,
)
ACCOUNT = Account(
    id="acct_1", username=None, kind="personal", actor_type="user", registered_at=AT, plan="free"
)
replace = msgspec.structs.replace
ALWAYS = Window(0, ETERNITY, ETERNITY, 0)
Situation = tuple[list[Counter], list[Expected], list[list[Take]], int]


def known(rule_no: int, window: Window, limit: int | None = None) -> Expected:
    return Expected(rule_no, window, limit)


@pytest.mark.parametrize(
    ("key", "account", "audience", "code"),
    [
        (KEY, ACCOUNT, None, "VALID"),
        (None, None, None, "NOT_FOUND"),
        (KEY, None, None, "NOT_FOUND"),
        (replace(KEY, revoked_at=NOW), ACCOUNT, None, "REVOKED"),
        (KEY, replace(ACCOUNT, status="suspended"), None, "ACCOUNT_SUSPENDED"),
        (replace(KEY, enabled=False), ACCOUNT, None, "DISABLED"),
        (replace(KEY, expires_at=NOW), ACCOUNT, None, "EXPIRED"),
        (replace(KEY, expires_at=NOW + 1), ACCOUNT, None, "VALID"),
        (replace(KEY, audience="a"), ACCOUNT, None, "FORBIDDEN"),
        (replace(KEY, audience="a"), ACCOUNT, "b", "FORBIDDEN"),
        (replace(KEY, audience="a"), ACCOUNT, "a", "VALID"),
        (KEY, ACCOUNT, "a", "VALID"),
    ],
)
def test_memory_knows_the_verdict(
    key: ApiKey | None, account: Account | None, audience: str | None, code: Code
) -> None:
    assert judge(key, account, Presented(audience), NOW) == code


@given(st.booleans(), st.sampled_from([None, NOW - 1, NOW + 1]), st.sampled_from([None, "a", "b"]))
def test_revoked_key_is_never_valid_again(
    enabled: bool, expires_at: float | None, audience: str | None
) -> None:
    key = replace(KEY, revoked_at=NOW, enabled=enabled, expires_at=expires_at, audience=audience)
    for now in (0.0, NOW, NOW + 1e9):
        assert judge(key, ACCOUNT, Presented(audience), now) == "REVOKED"


counters_strategy = st.lists(
    st.builds(
        Counter,
        limit=st.none() | st.integers(0, 20),
        used=st.integers(0, 25),
        window_start=st.integers(0, 40),
        rule_no=st.integers(1, 2),
        carried=st.integers(0, 5),
        carry_max=st.integers(0, 5),
        changes_at=st.sampled_from([20, ETERNITY]),
    ),
    min_size=1,
    max_size=3,
)


@st.composite
def situations(
    draw: st.DrawFn,
) -> Situation:
    counters = draw(counters_strategy)
    expected = []
    for _ in counters:
        start, length = draw(st.integers(0, 30)), draw(st.integers(1, 20))
        window = Window(start, start + length, start + 2 * length, start)
        expected.append(
            Expected(
                draw(st.integers(1, 2)),
                window,
                draw(st.none() | st.integers(0, 20)),
                draw(st.integers(0, 5)),
                draw(st.sampled_from(["quota", "quota", "rate", "credits"])),
                length,
            )
        )
    requests = draw(
        st.lists(
            st.lists(st.integers(0, len(counters) - 1), min_size=1, unique=True).flatmap(
                lambda chosen: st.integers(0, 6).map(
                    lambda amount: [Take(each, amount) for each in chosen]
                )
            ),
            max_size=12,
        )
    )
    return counters, expected, requests, draw(st.integers(0, 70))


def copied(counters: list[Counter]) -> list[Counter]:
    return [msgspec.structs.replace(each) for each in counters]


@given(situations())
def test_a_limit_is_never_exceeded(
    situation: Situation,
) -> None:
    counters, expected, requests, now = situation
    before = copied(counters)
    take(counters, expected, requests, now)
    for was, counter in zip(before, counters, strict=True):
        if counter.allowed is not None:
            assert counter.used <= max(counter.allowed, was.used)


@given(situations())
def test_a_request_takes_all_of_its_counters_or_none(
    situation: Situation,
) -> None:
    counters, expected, requests, now = situation
    opened = copied(counters)
    take(opened, expected, [], now)  # only moves the windows
    verdicts = take(counters, expected, requests, now)
    for number, counter in enumerate(counters):
        given = [
            each.amount
            for verdict, takes in zip(verdicts, requests, strict=True)
            if verdict == GRANTED
            for each in takes
            if each.counter == number
        ]
        assert counter.used == opened[number].used + sum(given)
        assert counter.entry_no == opened[number].entry_no + len(given)


@given(situations())
def test_a_window_never_moves_back(
    situation: Situation,
) -> None:
    counters, expected, requests, now = situation
    before = copied(counters)
    take(counters, expected, requests, now)
    for was, counter in zip(before, counters, strict=True):
        assert counter.window_start >= was.window_start
        if counter.window_start == was.window_start:
            assert counter.used >= was.used


@given(situations(), st.data())
def test_who_comes_first_is_served_first(
    situation: Situation,
    data: st.DataObject,
) -> None:
    counters, expected, requests, now = situation
    again = copied(counters)
    whole = take(counters, expected, requests, now)
    cut = data.draw(st.integers(0, len(requests)))
    parts = take(again, expected, requests[:cut], now) + take(again, expected, requests[cut:], now)
    assert parts == whole  # later arrivals change nothing for earlier ones, nor does batching
    assert again == counters


def test_refusal_names_the_first_counter_that_is_used_up() -> None:
    counters = [Counter(limit=5), Counter(limit=1, used=1), Counter(limit=0)]
    everything = [Take(0, 1), Take(1, 1), Take(2, 1)]
    assert take(counters, [known(1, ALWAYS)] * 3, [everything], 0) == [2]
    assert [each.used for each in counters] == [0, 1, 0]


def test_last_unit_can_be_taken_and_no_more() -> None:
    counter = Counter(limit=3, used=2)
    assert take([counter], [known(1, ALWAYS)], [[Take(0, 1)], [Take(0, 1)]], 0) == [GRANTED, 1]
    assert counter.used == 3


def test_smaller_request_may_fit_where_a_larger_one_did_not() -> None:
    counter = Counter(limit=3)
    requests = [[Take(0, 2)], [Take(0, 2)], [Take(0, 1)]]
    assert take([counter], [known(1, ALWAYS)], requests, 0) == [GRANTED, 1, GRANTED]


def test_cost_of_nothing_is_granted_as_long_as_the_limit_holds() -> None:
    assert take([Counter(limit=0)], [known(1, ALWAYS)], [[Take(0, 0)]], 0) == [GRANTED]
    assert take([Counter(limit=1, used=2)], [known(1, ALWAYS)], [[Take(0, 0)]], 0) == [1]


def test_counter_without_a_limit_counts_and_never_refuses() -> None:
    counter = Counter(limit=None, used=10)
    assert take([counter], [known(1, ALWAYS)], [[Take(0, 5)]], 0) == [GRANTED]
    assert counter.used == 15


@pytest.mark.parametrize(
    ("now", "used", "start"),
    [(99, 9, 0), (100, 0, 100), (199, 0, 100), (200, 0, 200), (299, 0, 200)],
)
def test_new_window_begins_on_its_boundary(now: int, used: int, start: int) -> None:
    counter = Counter(limit=10, used=9, window_start=0)
    window = Window(0, 100, 200, 0) if now < 100 else Window(100, 200, 300, 100)
    assert take([counter], [known(1, window)], [[Take(0, 1)]], now) == [GRANTED]
    assert (counter.used, counter.window_start) == (used + 1, start)


@pytest.mark.parametrize(("rule_no", "now"), [(2, 50), (1, -1), (1, 200)])
def test_stale_rule_or_clock_takes_nothing(rule_no: int, now: int) -> None:
    counters = [Counter(limit=10, rule_no=rule_no), Counter(limit=10)]
    expected = [known(1, Window(0, 100, 200, 0)), known(1, ALWAYS)]
    requests = [[Take(0, 1), Take(1, 1)], [Take(1, 1)]]
    if now < 0:
        expected[1] = known(1, Window(-10, 100, 200, -10))
    assert take(counters, expected, requests, now) == [STALE, GRANTED]
    assert [each.used for each in counters] == [0, 1]


def test_usage_stream_folds_to_how_many_were_counted() -> None:
    batch = VerificationsCounted(
        instance="i",
        at_us=[1, 2],
        judged_at=[(0, 1)],
        keys=[],
        accounts=[],
        key=[-1, -1],
        account=[-1, -1],
        code=["NOT_FOUND"] * 2,
        cost=[1, 1],
        takes=[],
        counters=[],
    )
    assert evolve(evolve(None, batch, AT), batch, AT) == 4


def test_newer_rule_is_taken_on_and_an_older_one_counts_nothing() -> None:
    counter = Counter(limit=2, used=2, rule_no=1)
    assert take([counter], [known(2, ALWAYS, 3)], [[Take(0, 1)]], 0) == [GRANTED]
    assert (counter.limit, counter.rule_no, counter.used) == (3, 2, 3)
    assert take([counter], [known(1, ALWAYS, 100)], [[Take(0, 1)]], 0) == [STALE]
    assert counter.used == 3


DAY = Window(100, 200, 300, 100)


@pytest.mark.parametrize(
    ("used", "since", "carried", "carry_max", "brought"),
    [
        (4, 0, 0, 10, 6),  # the rest of the window before
        (4, 0, 0, 5, 5),  # but no more than may be carried
        (10, 0, 0, 10, 0),
        (12, 0, 5, 10, 3),  # what had been carried is left, too
        (4, -100, 0, 100, 16),  # and all of a window that nobody used
        (4, 50, 0, 10, 6),  # a window that began by a reset is one window
        (4, 0, 0, 0, 0),
    ],
)
def test_what_was_left_is_carried_over(
    used: int, since: int, carried: int, carry_max: int, brought: int
) -> None:
    since = since or 1  # 0 is a row that has never counted
    counter = Counter(limit=10, used=used, window_start=since, carried=carried, carry_max=carry_max)
    expected = Expected(1, DAY, 10, carry_max, "quota", 100)
    assert take([counter], [expected], [[Take(0, 1)]], 150) == [GRANTED]
    assert (counter.carried, counter.used, counter.window_start) == (brought, 1, 100)


def test_new_counter_has_nothing_to_carry_over() -> None:
    counter = Counter(limit=10)
    take([counter], [Expected(1, DAY, 10, 10, "quota", 100)], [[Take(0, 1)]], 150)
    assert counter.carried == 0


def test_reset_keeps_what_was_carried_over() -> None:
    counter = Counter(limit=10, used=12, window_start=100, carried=5, carry_max=5)
    reset = Window(140, 200, 300, 100)
    assert take([counter], [Expected(1, reset, 10, 5, "quota", 100)], [[Take(0, 1)]], 150) == [0]
    assert (counter.used, counter.carried, counter.window_start) == (1, 5, 140)


@pytest.mark.parametrize(
    ("rule_no", "now", "reason"),
    [(1, 50, GRANTED), (1, 100, UNSETTLED), (2, 50, UNSETTLED), (0, 50, STALE)],
)
def test_credits_are_spent_only_as_long_as_they_stand(rule_no: int, now: int, reason: int) -> None:
    counter = Counter(limit=10, used=9, changes_at=100)
    expected = Expected(rule_no, ALWAYS, 0, 0, "credits")
    assert take([counter], [expected], [[Take(0, 1)]], now) == [reason]
    assert counter.used == (10 if reason == GRANTED else 9)


def test_a_rule_that_begins_to_hold_carries_nothing_over_from_before_it() -> None:
    minute = 60_000_000
    month = Counter(limit=1_000, used=1_000, window_start=minute, rule_no=1)
    window = Window(90 * minute, 91 * minute, 92 * minute, 90 * minute)
    rule = Expected(2, window, 10, carry_max=500, length=minute)
    now = 90 * minute
    assert take([month], [rule], [[Take(0, 10)], [Take(0, 1)]], now) == [GRANTED, 1]
    assert (month.carried, month.carry_max) == (0, 500)
    following = Window(91 * minute, 92 * minute, 93 * minute, 91 * minute)
    assert take([month], [rule._replace(window=following)], [[]], now + minute) == [GRANTED]
    assert (month.carried, month.allowed) == (0, 10)
