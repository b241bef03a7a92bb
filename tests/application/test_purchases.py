"""A purchase becomes credits once: however many say so at once, and in whatever order."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import TypeVar

import msgspec
import psycopg
import pytest

from application import accounts, credits, purchases
from application.credits import GrantCredits, Price
from application.deciding import Context, Principal
from application.ports import Appended, CounterLock, Decide, Ports
from application.purchases import Outcome
from domain.accounts import Account
from domain.credit_events import CreditGranted, CreditWithdrawn
from domain.errors import (
    AccountNotActive,
    InvalidCommand,
    NotFound,
    UnknownPackage,
    UnknownProvider,
)
from domain.event import Metadata
from domain.purchases import PaymentNotice, Purchase
from infra.embedded import RunningPostgres
from infra.event_mapper import EventMapper
from infra.event_store import PostgresEventStore
from infra.payments.stripe import Stripe
from infra.payments.trial import Trial
from tests.application.house import House, context, opened, owner
from tests.conftest import fresh_database
from tests.infra.proxy import COMMITTED, Loss, LossyProxy, lossy

pytestmark = pytest.mark.anyio

T = TypeVar("T")

STRIPE = Principal(kind="system", id="payments:stripe")
BOTH = {"stripe": Stripe(["whsec_" + "x" * 32]), "test": Trial(b"t" * 32)}


@pytest.fixture(scope="module")
async def house(postgres_server: RunningPostgres) -> AsyncIterator[House]:
    """One for all of these tests: each has accounts and payments of its own."""
    with fresh_database(postgres_server) as url:
        async with opened(url) as made:
            yield made


@pytest.fixture
def ports(house: House) -> Ports:
    return with_providers(house)


def with_providers(house: House) -> Ports:
    """The house's ports, with both providers set up."""
    return msgspec.structs.replace(house.ports, payments=BOTH)


def payment_of(purchase: Purchase) -> str:
    return f"pi_{purchase.id}"


async def started(ports: Ports, account: Account, package: str = "small") -> Purchase:
    purchase, _ = await purchases.start(ports, context(owner(account)), package, "stripe")
    return purchase


def paid(purchase: Purchase, payment_id: str | None = None) -> PaymentNotice:
    return PaymentNotice(
        kind="paid",
        payment_id=payment_id or payment_of(purchase),
        reference=purchase.id,
        amount_minor=purchase.price_minor,
        currency=purchase.currency,
    )


def refunded(purchase: Purchase, so_far: int) -> PaymentNotice:
    return PaymentNotice(
        kind="refunded",
        payment_id=payment_of(purchase),
        reference=purchase.id,
        amount_minor=purchase.price_minor,
        currency=purchase.currency,
        refunded_minor=so_far,
    )


async def told(ports: Ports, *notices: PaymentNotice, provider: str = "stripe") -> list[Outcome]:
    """One after the other; what became of each."""
    outcomes: list[Outcome] = []
    for notice in notices:
        settled, _ = await purchases.settle(ports, context(STRIPE), provider, notice)
        outcomes.append(settled.outcome)
    return outcomes


async def credit_events(house: House, account: Account) -> list[CreditGranted | CreditWithdrawn]:
    """What was bought and taken back, of purchases alone."""
    found = await house.store.read(f"credit_{account.id.partition('_')[2]}")
    return [
        each.event
        for each in found
        if isinstance(each.event, CreditWithdrawn)
        or (isinstance(each.event, CreditGranted) and each.event.source.startswith("purchase:"))
    ]


async def granted(house: House, account: Account) -> list[int]:
    return [
        each.amount
        for each in await credit_events(house, account)
        if isinstance(each, CreditGranted)
    ]


async def test_a_paid_purchase_is_a_grant_with_its_end_and_its_source(
    house: House, ports: Ports
) -> None:
    account = await house.account()
    purchase = await started(ports, account)
    assert await told(ports, paid(purchase)) == ["counted"]
    [lot] = await credit_events(house, account)
    assert isinstance(lot, CreditGranted)
    assert (lot.amount, lot.source) == (100_00, f"purchase:{purchase.id}")
    assert lot.expires_at_us is not None
    lasts = timedelta(microseconds=lot.expires_at_us - lot.starts_at_us)
    assert timedelta(days=364, hours=23) < lasts < timedelta(days=365, hours=1)
    now = await purchases.get(ports, owner(account), purchase.id)
    assert (now.status, now.payment_id) == ("paid", payment_of(purchase))
    [state] = await ports.lookups.purchases_of(account.id, None, 10)
    assert state == now


async def test_twenty_deliveries_at_once_over_two_processes_are_one_grant(
    house: House, ports: Ports
) -> None:
    account = await house.account()
    purchase = await started(ports, account)
    async with opened(house.url) as other:
        both = (ports, with_providers(other))
        answers = await asyncio.gather(
            *(told(both[number % 2], paid(purchase)) for number in range(20))
        )
        outcomes = [outcome for [outcome] in answers]
        assert sorted(outcomes) == ["counted", *["duplicate"] * 19]
        assert await granted(house, account) == [100_00]
        assert len(await house.store.read(purchase.id)) == 2


async def test_one_payment_pays_one_purchase_even_at_the_same_moment(
    house: House, ports: Ports
) -> None:
    """The shop's mistake, or somebody's trick: two purchases, one payment."""
    account = await house.account()
    several = [await started(ports, account) for _ in range(4)]
    answers = await asyncio.gather(*(told(ports, paid(each, "pi_one")) for each in several))
    assert sorted(outcome for [outcome] in answers) == ["counted", *["ignored"] * 3]
    assert await granted(house, account) == [100_00]


ORDERS: list[Sequence[str]] = [
    ("failed", "paid"),
    ("paid", "failed"),
    ("paid", "paid", "refund 250", "refund 250"),
    ("refund 250", "paid", "refund 250", "failed", "paid"),
    ("refund 250", "failed", "refund 100", "paid"),
]


@pytest.mark.parametrize("order", ORDERS, ids=" then ".join)
async def test_out_of_order_ends_the_same(house: House, ports: Ports, order: Sequence[str]) -> None:
    account = await house.account()
    purchase = await started(ports, account)
    notices = {
        "paid": paid(purchase),
        "failed": PaymentNotice(
            kind="failed", payment_id=payment_of(purchase), reference=purchase.id
        ),
        "refund 100": refunded(purchase, 1_00),
        "refund 250": refunded(purchase, 2_50),
    }
    await told(ports, *(notices[each] for each in order))
    now = await purchases.get(ports, owner(account), purchase.id)
    assert (now.status, now.payment_id) == ("paid", payment_of(purchase))
    net = sum(
        each.amount if isinstance(each, CreditGranted) else -each.amount
        for each in await credit_events(house, account)
    )
    assert net == (75_00 if "refund 250" in order else 100_00)


class Unlucky(PostgresEventStore):
    """Loses the commit of every decision once: its answer, or the whole of it."""

    proxy: LossyProxy
    loss: Loss

    async def append_locked(
        self, locks: Sequence[CounterLock], decide: Decide[T], metadata: Metadata
    ) -> Appended[T]:
        self.proxy.lose(self.loss, COMMITTED if self.loss == "cut" else b"COMMIT")
        return await super().append_locked(locks, decide, metadata)


@pytest.mark.parametrize("loss", ["cut", "cut_request"])
async def test_a_commit_whose_answer_is_lost_counts_once(
    house: House, ports: Ports, loss: Loss
) -> None:
    """Postgres goes away between the commit and its answer, or just before the commit."""
    account = await house.account()
    purchase = await started(ports, account)
    with lossy(house.url) as proxy:
        store = Unlucky(proxy.url, "log1", house.vault, EventMapper(), "decisions")
        store.proxy, store.loss = proxy, loss
        through = msgspec.structs.replace(ports, store=store)
        notices = (paid(purchase), refunded(purchase, 2_50), refunded(purchase, 10_00))
        try:
            for number, notice in enumerate(notices, 1):
                assert await told(through, notice) == ["counted"]
                assert proxy.lost == number
                assert await told(ports, notice) == ["duplicate"]
        finally:
            await store.close()
    [bought, *taken] = await credit_events(house, account)
    assert (bought.amount, [each.amount for each in taken]) == (100_00, [25_00, 75_00])


async def test_a_full_refund_before_the_payment_leaves_no_credits(
    house: House, ports: Ports
) -> None:
    account = await house.account()
    purchase = await started(ports, account)
    outcomes = await told(ports, refunded(purchase, 10_00), paid(purchase), paid(purchase))
    assert outcomes == ["recorded", "recorded", "duplicate"]
    assert await granted(house, account) == []
    assert (await purchases.get(ports, owner(account), purchase.id)).status == "refunded"


async def test_a_refund_takes_what_is_left_and_never_more(house: House, ports: Ports) -> None:
    account = await house.account()
    purchase = await started(ports, account)
    await told(ports, paid(purchase))
    # 5.00 of the plan go first, then 90.00 of what was bought; then the rest of that.
    await credits.spend(ports, context(), account.id, Price(amount=95_00))
    assert await told(ports, refunded(purchase, 5_00)) == ["counted"]
    assert await told(ports, refunded(purchase, 10_00)) == ["counted"]
    [_, *taken] = await credit_events(house, account)
    assert [(each.amount, each.after) for each in taken] == [(10_00, 0)]
    assert (await purchases.get(ports, owner(account), purchase.id)).status == "refunded"


async def test_a_refund_without_a_reference_is_found_by_its_payment(
    house: House, ports: Ports
) -> None:
    account = await house.account()
    other, purchase = await started(ports, account), await started(ports, account)
    await told(ports, paid(other), paid(purchase))
    unnamed = msgspec.structs.replace(refunded(purchase, 10_00), reference=None)
    stranger = msgspec.structs.replace(unnamed, payment_id="pi_9")
    assert await told(ports, unnamed, unnamed, stranger) == ["counted", "duplicate", "ignored"]
    assert (await purchases.get(ports, owner(account), purchase.id)).status == "refunded"
    assert (await purchases.get(ports, owner(account), other.id)).status == "paid"


def written(house: House) -> object:
    """How far the log is, and how many payments are claimed."""
    with psycopg.connect(house.url) as connection:
        return connection.execute(
            "SELECT (SELECT max(notification_id) FROM decisions), "
            "(SELECT count(*) FROM claims WHERE kind = 'payment')"
        ).fetchone()


async def test_what_is_not_ours_is_ignored_and_writes_nothing(house: House, ports: Ports) -> None:
    account = await house.account()
    purchase = await started(ports, account)
    before = written(house)
    nobody = msgspec.structs.replace(paid(purchase), reference=f"pur_{'0' * 26}")
    key = msgspec.structs.replace(paid(purchase), reference=account.id)
    strange = msgspec.structs.replace(paid(purchase), reference="'; DROP TABLE")
    unnamed = msgspec.structs.replace(paid(purchase), reference=None)
    other = PaymentNotice(kind="other")
    outcomes = await told(ports, nobody, key, strange, unnamed, other)
    # Whoever may say things as `test` can't pay for what Stripe is to be paid for.
    outcomes += await told(ports, paid(purchase), provider="test")
    assert outcomes == ["ignored"] * 6
    assert written(house) == before


async def test_an_account_that_is_suspended_gets_what_it_paid_for_and_starts_nothing(
    house: House, ports: Ports
) -> None:
    account = await house.account()
    purchase = await started(ports, account)
    await accounts.suspend(ports, context(), account.id, None)
    assert await told(ports, paid(purchase)) == ["counted"]
    with pytest.raises(AccountNotActive):
        await started(ports, account)


async def test_what_was_paid_for_is_given_however_many_lots_there_are(
    house: House, ports: Ports
) -> None:
    account = await house.account()
    purchase = await started(ports, account)
    for _ in range(8):
        command = GrantCredits(amount=1, every="day", times=24)
        await credits.grant(ports, context(), account.id, command)
    with pytest.raises(InvalidCommand):
        await credits.grant(ports, context(), account.id, command)
    assert await told(ports, paid(purchase)) == ["counted"]


async def test_a_purchase_is_only_its_owners_and_the_staffs(house: House, ports: Ports) -> None:
    account, stranger = await house.account(), await house.account()
    purchase = await started(ports, account)
    assert await purchases.get(ports, context().principal, purchase.id) == purchase
    for someone, purchase_id in ((stranger, purchase.id), (account, account.id)):
        with pytest.raises(NotFound):
            await purchases.get(ports, owner(someone), purchase_id)
    assert await ports.lookups.purchases_of(stranger.id, None, 10) == []


async def test_only_what_is_on_offer_can_be_bought_from_who_is_set_up(
    house: House, ports: Ports
) -> None:
    account = await house.account()
    by: Context = context(owner(account))
    with pytest.raises(UnknownPackage):
        await purchases.start(ports, by, "huge", "stripe")
    for name in ("paypal", "", None):
        with pytest.raises(UnknownProvider):
            await purchases.start(ports, by, "small", name)
    one = msgspec.structs.replace(ports, payments={"test": BOTH["test"]})
    purchase, _ = await purchases.start(one, by, "small", None)
    assert purchase.provider == "test"
    with pytest.raises(UnknownProvider):
        await purchases.start(house.ports, by, "small", None)
