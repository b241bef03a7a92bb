"""Credits: what is decided, by examples."""

from datetime import UTC, datetime, timedelta

import pytest

from domain import credits
from domain.calendars import ETERNITY, microseconds
from domain.credit_accounts import CreditAccount
from domain.credit_amounts import decimal, hundredths
from domain.credit_events import (
    CreditBegun,
    CreditCaptured,
    CreditDrawn,
    CreditEvent,
    CreditExpired,
    CreditGranted,
    CreditReleased,
    CreditSpent,
    Part,
)
from domain.credit_lots import month_of, month_start_us
from domain.credits import Entries, GrantCredits, Standing
from domain.errors import CreditsExhausted, HoldEnded, InvalidAmount, InvalidCommand
from domain.quotas import MAX_AMOUNT

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Account:
    """An account and its row, decided on as commands and verifications do."""

    def __init__(self, monthly: int = 0) -> None:
        self.now = NOON
        self.monthly = monthly
        self.state: CreditAccount | None = None
        self.events: list[CreditEvent] = []
        self.used = self.entry_no = self.limit = self.changes_at = 0

    def settled(self) -> Entries:
        standing = Standing(self.used, self.entry_no, microseconds(self.now))
        return credits.settled("acct_1", self.state, standing, self.monthly)

    def keep(self, entries: Entries) -> None:
        if entries.events:
            self.state = entries.state
        self.events += entries.events
        self.entry_no = entries.entry_no
        self.limit = entries.used + entries.available
        self.changes_at = entries.changes_at(self.monthly)

    def grant(self, amount: int, **terms: object) -> None:
        entries = self.settled()
        credits.grant(entries, GrantCredits(amount=amount, **terms))  # type: ignore[arg-type]
        self.keep(entries)

    def spend(self, amount: int) -> None:
        entries = self.settled()
        credits.spend(entries, amount)
        self.keep(entries)

    def hold(self, hold_id: str, amount: int, seconds: int = 900) -> None:
        entries = self.settled()
        credits.hold(entries, hold_id, amount, seconds)
        self.keep(entries)

    def capture(self, hold_id: str, amount: int | None = None) -> None:
        entries = self.settled()
        credits.capture(entries, hold_id, amount)
        self.keep(entries)

    def release(self, hold_id: str) -> None:
        entries = self.settled()
        credits.release(entries, hold_id)
        self.keep(entries)

    def verify(self, amount: int) -> bool:
        """As count_usage does it: never from `changes_at` on, never above the limit."""
        if microseconds(self.now) >= self.changes_at:
            self.keep(self.settled())
        if self.used + amount > self.limit:
            return False
        self.used += amount
        self.entry_no += 1
        return True

    @property
    def available(self) -> int:
        return self.settled().available

    def lots(self) -> dict[int, int]:
        return {lot.no: lot.left for lot in self.settled().state.lots}


def test_lower_priority_is_spent_first_then_what_expires_first_then_the_older() -> None:
    account = Account()
    account.grant(1_00, priority=50)
    account.grant(1_00, priority=50, expires_at=NOON + 2 * DAY)
    account.grant(1_00, priority=50, expires_at=NOON + DAY)
    account.grant(1_00, priority=7)
    account.grant(1_00, priority=50)
    account.spend(4_50)
    spent = account.events[-1]
    assert spent == CreditSpent(
        entry_no=6,
        at_us=microseconds(NOON),
        before=5_00,
        after=50,
        amount=4_50,
        parts=(Part(4, 1_00), Part(3, 1_00), Part(2, 1_00), Part(1, 1_00), Part(5, 50)),
    )


def test_what_verifications_spent_is_drawn_as_if_it_had_been_at_once() -> None:
    """They took it before the first lot expired, so it is the first lot's, however late."""
    account = Account()
    account.grant(5_00, expires_at=NOON + DAY)
    account.grant(5_00)
    assert account.verify(3_00)
    account.now += 30 * DAY
    account.keep(account.settled())
    drawn, expired = account.events[-2:]
    assert isinstance(drawn, CreditDrawn)
    assert (drawn.parts, drawn.before, drawn.after) == ((Part(1, 3_00),), 7_00, 7_00)
    assert isinstance(expired, CreditExpired)
    assert (expired.lot, expired.amount, expired.after) == (1, 2_00, 5_00)
    assert expired.at_us == microseconds(NOON + DAY), "it expired then, not when it was noticed"


def test_verifications_never_spend_past_the_next_change_by_time() -> None:
    account = Account()
    account.grant(5_00, expires_at=NOON + DAY)
    assert account.verify(1_00)
    assert account.changes_at == microseconds(NOON + DAY)
    account.now += DAY
    assert not account.verify(1_00), "what is left expired at this very instant"
    assert account.available == 0
    assert account.changes_at == ETERNITY


def test_a_month_s_credits_are_there_when_somebody_looks_and_once() -> None:
    account = Account(monthly=5_00)
    assert account.verify(5_00)
    assert not account.verify(1)
    account.now = datetime(2026, 4, 1, tzinfo=UTC)
    assert account.available == 5_00
    assert account.verify(2_00)
    account.now = datetime(2026, 8, 20, tzinfo=UTC)
    assert account.available == 5_00, "months that nobody looked at are not made up for"
    account.keep(account.settled())
    granted = account.events[-1]
    assert isinstance(granted, CreditGranted)
    assert (granted.source, granted.month) == ("plan", 2026 * 12 + 7)
    assert granted.expires_at_us == microseconds(datetime(2026, 9, 1, tzinfo=UTC))
    account.keep(account.settled())
    assert account.events[-1] == granted


def test_a_plan_that_gives_more_gives_the_difference_and_one_that_gives_less_takes_nothing() -> (
    None
):
    account = Account(monthly=5_00)
    assert account.verify(4_00)
    account.monthly = 120_00
    assert account.available == 116_00
    account.keep(account.settled())
    account.monthly = 5_00
    assert account.available == 116_00
    account.keep(account.settled())
    account.monthly = 120_00
    assert account.available == 116_00, "up and down again is no source of credits"


def test_scheduled_lots_begin_one_by_one_and_each_lives_as_long() -> None:
    account = Account()
    start = datetime(2026, 3, 31, tzinfo=UTC)
    account.grant(1_00, starts_at=start, expires_at=start + 10 * DAY, every="month", times=3)
    assert [
        (e.starts_at_us, e.expires_at_us) for e in account.events if type(e) is CreditGranted
    ] == [
        (microseconds(start), microseconds(datetime(2026, 4, 10, tzinfo=UTC))),
        (
            microseconds(datetime(2026, 4, 30, tzinfo=UTC)),
            microseconds(datetime(2026, 5, 10, tzinfo=UTC)),
        ),
        (
            microseconds(datetime(2026, 5, 31, tzinfo=UTC)),
            microseconds(datetime(2026, 6, 10, tzinfo=UTC)),
        ),
    ]
    assert account.available == 0
    seen = []
    for day in (1, 25, 55, 83, 400):
        account.now = NOON + day * DAY
        seen.append(account.available)
    assert seen == [0, 1_00, 1_00, 1_00, 0]
    account.keep(account.settled())
    assert [type(event) for event in account.events[3:]] == [CreditBegun, CreditExpired] * 3


def test_capture_spends_a_part_and_lets_go_of_the_rest() -> None:
    account = Account()
    account.grant(5_00, priority=1)
    account.grant(5_00)
    account.hold("hold_1", 7_00)
    assert (account.available, account.settled().state.held) == (3_00, 7_00)
    account.capture("hold_1", 6_00)
    assert (account.available, account.settled().state.held) == (4_00, 0)
    captured, released = account.events[-2:]
    assert isinstance(captured, CreditCaptured)
    assert captured.parts == (Part(1, 5_00), Part(2, 1_00))
    assert isinstance(released, CreditReleased)
    assert (released.parts, released.reason) == ((Part(2, 1_00),), "rest")
    for end in (account.capture, account.release):
        with pytest.raises(HoldEnded):
            end("hold_1")


def test_a_hold_expires_without_anybody_s_doing() -> None:
    account = Account()
    account.grant(5_00)
    account.hold("hold_1", 5_00, seconds=60)
    assert not account.verify(1)
    account.now += timedelta(seconds=60)
    assert account.verify(5_00)
    with pytest.raises(HoldEnded):
        account.capture("hold_1")


def test_what_is_held_can_be_captured_after_its_lot_expired_but_not_come_back() -> None:
    account = Account()
    account.grant(5_00, expires_at=NOON + DAY)
    account.hold("hold_1", 2_00, seconds=7 * 86_400)
    account.hold("hold_2", 2_00, seconds=7 * 86_400)
    account.now += 2 * DAY
    account.capture("hold_1")
    account.release("hold_2")
    assert account.available == 0
    released, expired = account.events[-2:]
    assert isinstance(released, CreditReleased)
    assert isinstance(expired, CreditExpired)
    assert (released.after, expired.after) == (2_00, 0)
    assert account.settled().state.lots == ()


def test_a_clock_that_steps_back_takes_nothing_back() -> None:
    account = Account(monthly=5_00)
    account.now = datetime(2026, 4, 1, tzinfo=UTC)
    assert account.verify(5_00)
    account.now -= DAY
    assert account.available == 0, "March is over once April has begun"
    account.grant(1_00, expires_at=NOON + 60 * DAY)
    assert account.events[-1].at_us >= account.events[-2].at_us
    account.now += 2 * DAY
    assert account.available == 1_00


def test_withdrawal_takes_what_is_left_and_no_more() -> None:
    account = Account()
    account.grant(5_00, source="purchase:1")
    account.grant(5_00, source="purchase:2")
    account.spend(3_00)
    entries = account.settled()
    assert credits.withdraw(entries, "purchase:1", 5_00) == 2_00
    assert entries.available == 5_00


@pytest.mark.parametrize("amount", [0, -1, -(2**70), MAX_AMOUNT + 1, 2**70])
def test_amounts_that_are_none_are_refused(amount: int) -> None:
    account = Account()
    account.grant(MAX_AMOUNT)
    with pytest.raises(InvalidAmount):
        account.spend(amount)
    with pytest.raises(InvalidAmount):
        account.hold("hold_1", amount)
    with pytest.raises(InvalidAmount):
        Account().grant(amount)
    account.hold("hold_1", 5_00)
    with pytest.raises(InvalidAmount):
        account.capture("hold_1", amount)
    with pytest.raises(InvalidAmount):
        account.capture("hold_1", 5_01)


def test_more_than_can_be_exact_is_never_in_one_account() -> None:
    account = Account()
    account.grant(MAX_AMOUNT - 1_00)
    account.hold("hold_1", 50_00)
    account.grant(1_00)
    with pytest.raises(InvalidAmount):
        account.grant(1)


def test_refusals_say_how_much_there_is() -> None:
    account = Account()
    account.grant(1_00)
    with pytest.raises(CreditsExhausted) as refused:
        account.spend(1_01)
    assert (refused.value.available, refused.value.needed) == (1_00, 1_01)


@pytest.mark.parametrize(
    ("terms", "param"),
    [
        ({"priority": 0}, "priority"),
        ({"priority": 256}, "priority"),
        ({"times": 25, "every": "day"}, "times"),
        ({"times": 2}, "every"),
        ({"expires_at": NOON}, "expires_at"),
        ({"starts_at": NOON + DAY, "expires_at": NOON + DAY}, "expires_at"),
        ({"starts_at": NOON.replace(tzinfo=None)}, "starts_at"),
        ({"expires_at": NOON.replace(year=9999)}, "expires_at"),
    ],
)
def test_grants_that_make_no_sense_name_the_field(terms: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidCommand) as refused:
        Account().grant(1_00, **terms)
    assert refused.value.param == param


def test_lots_and_holds_are_bounded() -> None:
    account = Account()
    for _ in range(8):
        account.grant(1, every="day", times=24)
    with pytest.raises(InvalidCommand):
        account.grant(1, every="day", times=24)
    account = Account()
    account.grant(10_00)
    for number in range(credits.MAX_HOLDS):
        account.hold(f"hold_{number}", 1)
    with pytest.raises(InvalidCommand):
        account.hold("one more", 1)
    for seconds in (0, -1, credits.MAX_HOLD_SECONDS + 1):
        with pytest.raises(InvalidCommand):
            account.hold("too long", 1, seconds)


@pytest.mark.parametrize(
    ("text", "amount"), [("12.50", 12_50), ("1", 1_00), ("0.5", 50), ("0.01", 1)]
)
def test_amounts_are_decimal_strings(text: str, amount: int) -> None:
    assert hundredths(text) == amount
    assert hundredths(decimal(amount)) == amount


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0.00",
        "-1",
        "+1",
        "1.005",
        "1,5",
        "1e3",
        "NaN",
        " 1",
        "1 ",
        ".5",
        "1.",
        "\N{ARABIC-INDIC DIGIT ONE}",
        "9" * 40,
    ],
)
def test_other_texts_are_no_amounts(text: str) -> None:
    with pytest.raises(InvalidAmount):
        hundredths(text)


@pytest.mark.parametrize(("amount", "text"), [(0, "0.00"), (5, "0.05"), (-1_50, "-1.50")])
def test_amounts_are_shown_with_two_places(amount: int, text: str) -> None:
    assert decimal(amount) == text


def test_months_begin_where_the_calendar_s_do() -> None:
    for moment in (datetime(1970, 1, 1, tzinfo=UTC), datetime(2028, 2, 29, 23, 59, tzinfo=UTC)):
        month = month_of(microseconds(moment))
        assert month_start_us(month) <= microseconds(moment) < month_start_us(month + 1)
