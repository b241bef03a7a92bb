"""A payment counts once, whatever comes twice and in whatever order."""

from collections.abc import Iterable, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import purchases
from domain.errors import InvalidCommand, UnknownPackage
from domain.event import Event
from domain.purchases import (
    SHIPPED,
    Package,
    PaymentNotice,
    Purchase,
    PurchaseFailed,
    PurchasePaid,
    PurchasePaidAgain,
    PurchaseRefunded,
)
from tests.exploring import examples
from tests.factories import AT

PRICE = 10_00
CREDITS = 100_00


def a_purchase(*events: purchases.PurchaseEvent) -> Purchase:
    """A purchase of 100 credits for 10.00 USD, after these events."""
    [started] = purchases.start("pur_1", "acct_1", SHIPPED[0], "stripe")
    state = fold(None, [started])
    return fold(state, events) if events else state


def fold(state: Purchase | None, events: Iterable[Event]) -> Purchase:
    for event in events:
        assert isinstance(event, purchases.PurchaseEvent)
        state = purchases.evolve(state, event, AT)
    assert state is not None
    return state


def paid(payment_id: str = "pi_1", amount: int = PRICE, currency: str = "USD") -> PaymentNotice:
    return PaymentNotice(kind="paid", payment_id=payment_id, amount_minor=amount, currency=currency)


def failed(reason: str | None = "card_declined", payment_id: str = "pi_1") -> PaymentNotice:
    return PaymentNotice(kind="failed", payment_id=payment_id, reason=reason)


def refunded(so_far: int, payment_id: str = "pi_1", amount: int = PRICE) -> PaymentNotice:
    return PaymentNotice(
        kind="refunded", payment_id=payment_id, amount_minor=amount, refunded_minor=so_far
    )


def after(
    notices: Iterable[PaymentNotice], state: Purchase | None = None
) -> tuple[Purchase, list[Event]]:
    """The purchase after these notices, and all that happened."""
    state = state or a_purchase()
    happened: list[Event] = []
    for notice in notices:
        events = purchases.settle(state, notice, AT)
        happened += events
        state = fold(state, events)
    return state, happened


def net(events: Sequence[Event]) -> int:
    """The credits that these events leave with the account, if it spends none."""
    granted = sum(each.credits for each in events if isinstance(each, PurchasePaid))
    return granted - sum(each.credits for each in events if isinstance(each, PurchaseRefunded))


def test_a_payment_of_the_price_counts() -> None:
    state, events = after([paid()])
    assert events == [
        PurchasePaid(payment_id="pi_1", amount_minor=PRICE, credits=CREDITS, paid_at=AT)
    ]
    assert (state.status, state.paid_at, state.payment_id) == ("paid", AT, "pi_1")


def test_the_same_payment_again_changes_nothing() -> None:
    _, events = after([paid(), paid(), paid()])
    assert len(events) == 1


def test_a_failed_attempt_ends_nothing() -> None:
    state, _ = after([failed()])
    assert state.status == "failed"
    state, _ = after([paid()], state)
    assert state.status == "paid"


def test_a_failure_that_comes_after_success_is_not_even_taken_note_of() -> None:
    state, events = after([paid(), failed(), failed("expired", "pi_0")])
    assert (state.status, len(events)) == ("paid", 1)


def test_the_same_failure_is_taken_note_of_once_and_not_without_end() -> None:
    _, events = after([failed(), failed(), failed(None)])
    assert events == [
        PurchaseFailed(payment_id="pi_1", reason="card_declined"),
        PurchaseFailed(payment_id="pi_1", reason="failed"),
    ]
    _, events = after(failed(f"reason_{number}") for number in range(100))
    assert len(events) == purchases.MOST_REMEMBERED


@pytest.mark.parametrize(
    ("notice", "reason"),
    [
        (paid(amount=PRICE - 1), "amount_mismatch"),
        (paid(amount=0), "amount_mismatch"),
        (paid(currency="EUR"), "currency_mismatch"),
        (paid(currency="JPY", amount=PRICE * 100), "currency_mismatch"),
    ],
)
def test_what_does_not_pay_the_price_gives_no_credits(notice: PaymentNotice, reason: str) -> None:
    state, events = after([notice])
    assert events == [PurchaseFailed(payment_id="pi_1", reason=reason)]
    assert state.status == "failed"


def test_tax_may_come_on_top() -> None:
    state, events = after([paid(amount=PRICE + 190)])
    assert net(events) == CREDITS
    assert (state.status, state.paid_minor) == ("paid", PRICE + 190)


def test_a_second_payment_buys_nothing_and_its_refund_takes_nothing() -> None:
    state, events = after([paid("pi_1"), paid("pi_2"), paid("pi_2"), refunded(PRICE, "pi_2")])
    assert events[1] == PurchasePaidAgain(payment_id="pi_2", amount_minor=PRICE)
    assert len(events) == 3
    assert (net(events), state.status, state.payment_id) == (CREDITS, "paid", "pi_1")


def test_a_refund_takes_its_share_rounded_up() -> None:
    state, events = after([paid(), refunded(1_00), refunded(3_33)])
    assert [each.credits for each in events if isinstance(each, PurchaseRefunded)] == [
        10_00,
        23_30,
    ]
    assert state.status == "paid"
    state, events = after([refunded(PRICE)], state)
    assert events[0] == PurchaseRefunded(
        payment_id="pi_1", amount_minor=PRICE, refunded_minor=PRICE, credits=66_70
    )
    assert state.status == "refunded"
    assert purchases.credits_lost(1, 3, 1) == 1


def test_a_refund_that_comes_before_its_payment_is_remembered() -> None:
    state, events = after([refunded(PRICE), paid()])
    assert [type(each) for each in events] == [PurchaseRefunded, PurchasePaid]
    assert (net(events), state.status) == (0, "refunded")
    state, events = after([refunded(2_50), paid()])
    assert (net(events), state.status) == (75_00, "paid")


def test_refunds_out_of_order_never_give_back() -> None:
    _, events = after([paid(), refunded(5_00), refunded(2_00), refunded(0)])
    assert (len(events), net(events)) == (2, 50_00)


def test_what_is_not_ours_means_nothing() -> None:
    assert after([PaymentNotice(kind="other")])[1] == []


NOTICES = st.one_of(
    st.just(paid()),
    st.sampled_from([failed(), failed("expired"), failed(None)]),
    st.integers(1, PRICE + 50).map(refunded),
    st.sampled_from([paid(amount=3), paid(currency="EUR"), PaymentNotice(kind="other")]),
)


@settings(max_examples=examples(80))
@given(st.lists(NOTICES, max_size=7), st.data())
def test_the_order_of_notices_makes_no_difference(
    notices: list[PaymentNotice], data: st.DataObject
) -> None:
    """One payment, each notice once or more, in two orders: the same credits, the same end."""
    notices = [*notices, paid()]
    twice = [*notices, *data.draw(st.lists(st.sampled_from(notices), max_size=5))]
    shuffled = data.draw(st.permutations(twice))
    (one, first), (other, second) = after(notices), after(shuffled)
    assert net(first) == net(second)
    assert sum(isinstance(each, PurchasePaid) for each in second) == 1
    assert (one.status, one.refunds, one.payment_id) == (
        other.status,
        other.refunds,
        other.payment_id,
    )
    most = max((each.refunded_minor for each in notices if each.kind == "refunded"), default=0)
    assert net(second) == CREDITS - purchases.credits_lost(CREDITS, PRICE, most)


@settings(max_examples=examples(40))
@given(st.permutations([paid(f"pi_{number}") for number in (1, 1, 2, 2, 3)]))
def test_of_several_payments_one_counts_and_the_others_are_remembered(
    notices: list[PaymentNotice],
) -> None:
    state, events = after(notices)
    assert net(events) == CREDITS
    assert {state.payment_id, *state.surplus} == {"pi_1", "pi_2", "pi_3"}
    assert len(events) == 3


def test_shipped_packages_are_sound_and_found_by_name() -> None:
    assert purchases.check(SHIPPED) == SHIPPED
    assert purchases.package_named(SHIPPED, "medium").credits == 500_00
    with pytest.raises(UnknownPackage):
        purchases.package_named(SHIPPED, "huge")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"name": "Small"}, "name"),
        ({"title": ""}, "title"),
        ({"credits": 0}, "credits"),
        ({"credits": 2**60}, "credits"),
        ({"price_minor": 0}, "price_minor"),
        ({"price_minor": -1}, "price_minor"),
        ({"currency": "usd"}, "currency"),
        ({"expires_after_days": 0}, "expires_after_days"),
    ],
)
def test_a_package_that_makes_no_sense_is_refused(change: dict[str, object], param: str) -> None:
    package: Package = msgspec.structs.replace(SHIPPED[0], **change)
    with pytest.raises(InvalidCommand) as refusal:
        purchases.check([package])
    assert refusal.value.param == param


def test_two_packages_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidCommand):
        purchases.check([SHIPPED[0], SHIPPED[0]])
