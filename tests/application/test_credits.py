"""Credits on a real Postgres: what commands promise, alone and all at once."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest

from application import accounts, credit_balances, credits, deciding
from application.accounts import RegisterAccount
from application.asks import Ask
from application.crediting import Behind, counter_id_of, stream_of
from application.credits import GrantCredits, Price
from application.deciding import OPERATOR, Context, Principal
from application.ports import CreditEntry
from application.starting import prepare
from domain.accounts import Account
from domain.api_keys import IssueApiKey
from domain.errors import (
    AccountNotActive,
    CreditsExhausted,
    HoldEnded,
    InvalidAmount,
    InvalidCommand,
    NotFound,
    NotPermitted,
    UnknownOperation,
)
from domain.plans import Entitlements, PlanPublished
from house import House, opened
from infra.embedded import RunningPostgres
from infra.postgres.many_rows import LEAST
from infra.settings import Settings
from tests.conftest import fresh_database
from tests.factories import an_id
from tests.faults.credits_agree import credit_violations
from tests.infra.following import followed, rows, run

pytestmark = pytest.mark.anyio

SETTINGS = Settings(
    environment="test",
    master_key=b"m" * 32,
    key_pepper=b"p" * 32,
    argon2_memory_kib=7168,
    argon2_time=1,
    require_verified_email=False,
    directory_max_staleness_ms=30_000,
)


@pytest.fixture(scope="module")
def url(postgres_server: RunningPostgres) -> Iterator[str]:
    """A database for all tests here: every account is one test's own."""
    with fresh_database(postgres_server) as url:
        yield url
        assert credit_violations(url) == []


@pytest.fixture(scope="module")
async def houses(url: str) -> AsyncIterator[list[House]]:
    """Two processes on one database."""
    async with AsyncExitStack() as stack:
        found = [
            await stack.enter_async_context(opened(SETTINGS, url, verifying=True)) for _ in "12"
        ]
        await prepare(found[0].ports, "start", None, None)
        yield found


@pytest.fixture
def house(houses: list[House]) -> House:
    return houses[0]


def context(principal: Principal = OPERATOR) -> Context:
    return Context(principal=principal, command_id=an_id("cmd"))


async def an_account(house: House, plan: str = "free") -> Account:
    command = RegisterAccount(
        email=f"{an_id('u')}@example.org", password="a long password", plan=plan
    )
    registered, _ = await accounts.register(house.ports, context(), command)
    return registered.account


async def a_plan(house: House, monthly: int, **costs: int) -> str:
    """A plan of its own, so that a test can say what there is."""
    name = f"plan{an_id('p')[-6:]}"
    event = PlanPublished(
        name=name,
        tier="free",
        title=name,
        entitlements=Entitlements(monthly_credits=monthly, operation_costs=costs),
    )
    made = deciding.change(
        deciding.fresh(deciding.PLAN, f"plan_{name}"), [event], house.ports.clock(), None
    )
    await deciding.commit(house.ports, context(), house.ports.clock(), [made])
    return name


async def a_key(house: House, account: Account, environment: str = "live") -> str:
    from application.api_keys import issue

    command = IssueApiKey(account_id=account.id, name="a key", environment=environment)  # type: ignore[arg-type]
    issued, _ = await issue(house.ports, context(), command)
    return issued.secret


async def verified(house: House, secret: str, operation: str) -> str:
    resolved = await house.verifier.resolve(secret)
    verdict = await house.verifier.verify(Ask(resolved, operation=operation), "req_1")
    return verdict.code


async def entries_of(url: str, house: House, account_id: str) -> list[CreditEntry]:
    await followed(url, "credit_decisions", "credit_uses", "history")
    found = await credit_balances.history(house.ports, account_id, None, 200)
    return list(reversed(found))


async def test_what_is_granted_can_be_spent_once(house: House) -> None:
    account = await an_account(house)
    granted, first = await credits.grant(
        house.ports, context(), account.id, GrantCredits(amount=10_00)
    )
    assert granted.available == 15_00, "the plan's and these"
    spent, second = await credits.spend(house.ports, context(), account.id, Price(amount=12_00))
    assert (spent.amount, spent.available) == (12_00, 3_00)
    assert second > first
    with pytest.raises(CreditsExhausted) as refused:
        await credits.spend(house.ports, context(), account.id, Price(amount=3_01))
    assert (refused.value.available, refused.value.needed) == (3_00, 3_01)
    balance = await credit_balances.balance(house.ports, account.id)
    assert (balance.available, balance.held, len(balance.expiring)) == (3_00, 0, 0)


async def test_a_verification_spends_what_its_operation_costs(house: House, url: str) -> None:
    account = await an_account(house)
    secret = await a_key(house, account)
    assert [await verified(house, secret, "ai") for _ in range(3)] == [
        "VALID",
        "VALID",
        "CREDITS_EXHAUSTED",
    ]
    assert await verified(house, secret, "post") == "VALID"
    balance = await credit_balances.balance(house.ports, account.id)
    assert balance.available == 0
    granted, _ = await credits.grant(house.ports, context(), account.id, GrantCredits(amount=2_00))
    assert granted.available == 2_00
    assert await verified(house, secret, "ai") == "VALID"
    found = await entries_of(url, house, account.id)
    shown = [(e.kind, e.amount, e.before, e.after, e.operation) for e in found]
    assert shown == [
        ("granted", 5_00, 0, 5_00, None),
        ("verification", 2_00, 5_00, 3_00, "ai"),
        ("verification", 2_00, 3_00, 1_00, "ai"),
        ("verification", 1_00, 1_00, 0, "post"),
        ("granted", 2_00, 0, 2_00, None),
        ("verification", 2_00, 2_00, 0, "ai"),
    ]
    assert all(e.verification_id and e.key_id for e in found if e.kind == "verification")
    newest = await credit_balances.history(house.ports, account.id, None, 2)
    assert [e.entry_no for e in newest] == [found[-1].entry_no, found[-2].entry_no]
    older = await credit_balances.history(house.ports, account.id, newest[-1].entry_no, 200)
    assert list(reversed(older)) + list(reversed(newest)) == found


async def test_a_test_key_never_spends_credits(house: House) -> None:
    account = await an_account(house)
    secret = await a_key(house, account, "test")
    assert await verified(house, secret, "ai") == "VALID"
    assert (await credit_balances.balance(house.ports, account.id)).available == 5_00


async def test_a_hold_ends_once_and_says_how_it_ended(house: House, url: str) -> None:
    account = await an_account(house)
    ports = house.ports
    held = [
        (await credits.hold(ports, context(), account.id, Price(operation="post"), seconds))[0]
        for seconds in (900, 900, 1)
    ]
    captured, _ = await credits.capture(ports, context(), held[0].hold_id, 40)
    assert (captured.status, captured.captured, captured.available) == ("captured", 40, 2_60)
    released, _ = await credits.release(ports, context(), held[1].hold_id)
    assert (released.status, released.captured, released.available) == ("released", 0, 3_60)
    await asyncio.sleep(max(0.0, held[2].expires_at_us / 1e6 - datetime.now(UTC).timestamp()))
    with pytest.raises(InvalidAmount):
        fresh, _ = await credits.hold(ports, context(), account.id, Price(amount=1_00))
        await credits.capture(ports, context(), fresh.hold_id, 1_01)
    for end in (credits.capture, credits.release):
        for hold, status in zip(held, ("captured", "released", "expired"), strict=True):
            with pytest.raises(HoldEnded) as refused:
                await end(ports, context(), hold.hold_id)
            assert refused.value.status == status
    with pytest.raises(NotFound):
        await credits.capture(ports, context(), an_id("hold"))
    assert (await credit_balances.balance(ports, account.id)).available == 3_60


async def test_a_hold_captured_by_many_at_once_is_captured_once(houses: list[House]) -> None:
    account = await an_account(houses[0])
    held, _ = await credits.hold(houses[0].ports, context(), account.id, Price(amount=4_00))

    async def end(number: int) -> str:
        use = credits.capture if number % 2 else credits.release
        try:
            ended, _ = await use(houses[number % 3 % 2].ports, context(), held.hold_id)
        except HoldEnded as refused:
            return f"was {refused.status}"
        return ended.status

    outcomes = await asyncio.gather(*(end(number) for number in range(8)))
    [won] = [each for each in outcomes if not each.startswith("was")]
    assert sorted(outcomes) == sorted([won, *[f"was {won}"] * 7])


async def test_commands_and_verifications_at_once_never_overspend(
    houses: list[House], url: str
) -> None:
    """Flushes of two processes, spends, holds and grants, all on one account."""
    plan = await a_plan(houses[0], 20_00, call=30, page=1_10)
    account = await an_account(houses[0], plan)
    for house in houses:
        assert await house.directory.catch_up(houses[0].directory.position, 5)
    secret = await a_key(houses[0], account)
    assert await houses[1].directory.catch_up(houses[0].directory.position, 5)
    gained, spent = 20_00, 0

    async def one(number: int) -> None:
        nonlocal gained, spent
        house, ports = houses[number % 2], houses[number % 2].ports
        chance = random.Random(number)
        match chance.choice(["verify"] * 6 + ["spend", "hold", "release", "grant"]):
            case "verify":
                operation, price = chance.choice([("call", 30), ("page", 1_10)])
                code = await verified(house, secret, operation)
                assert code in ("VALID", "CREDITS_EXHAUSTED")
                spent += price if code == "VALID" else 0
            case "spend":
                try:
                    done, _ = await credits.spend(
                        ports, context(), account.id, Price(operation="page")
                    )
                    spent += done.amount
                except CreditsExhausted:
                    return
            case "grant":
                command = GrantCredits(amount=1_00, priority=chance.randint(1, 255))
                await credits.grant(ports, context(), account.id, command)
                gained += 1_00
            case use:
                try:
                    held, _ = await credits.hold(ports, context(), account.id, Price(amount=90))
                except CreditsExhausted:
                    return
                if use == "release":
                    await credits.release(ports, context(), held.hold_id)
                else:
                    ended, _ = await credits.capture(ports, context(), held.hold_id, 50)
                    spent += ended.captured

    await asyncio.gather(*(one(number) for number in range(160)))
    balance = await credit_balances.balance(houses[0].ports, account.id)
    assert balance.available == gained - spent >= 0
    assert balance.held == 0
    assert credit_violations(url) == []
    found = await entries_of(url, houses[0], account.id)
    afters = [0, *(entry.after for entry in found)]
    assert [entry.before for entry in found] == afters[:-1]
    assert afters[-1] == balance.available


async def test_the_past_is_what_it_was(house: House, url: str) -> None:
    """At every instant and every position at which the balance was read, it is read again."""
    account = await an_account(house)
    secret = await a_key(house, account)
    seen: list[tuple[datetime, int, int, int]] = []

    async def look() -> None:
        balance = await credit_balances.balance(house.ports, account.id)
        at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=balance.at_us)
        seen.append((at, house.directory.position, balance.available, balance.held))

    await look()
    await credits.grant(house.ports, context(), account.id, GrantCredits(amount=3_00))
    await look()
    assert await verified(house, secret, "post") == "VALID"
    await look()
    held, _ = await credits.hold(house.ports, context(), account.id, Price(amount=2_00))
    await look()
    assert await verified(house, secret, "ai") == "VALID"
    await look()
    await credits.capture(house.ports, context(), held.hold_id, 1_00)
    await look()
    assert [each[2:] for each in seen] == [
        (5_00, 0),
        (8_00, 0),
        (7_00, 0),
        (5_00, 2_00),
        (3_00, 2_00),
        (4_00, 0),
    ]
    await followed(url)
    for at, _, available, in_hold in seen:
        then = await credit_balances.balance(house.ports, account.id, at)
        assert (then.available, then.held) == (available, in_hold)
    for number in (1, 3, 5):  # just after a command; others are between two positions
        then = await credit_balances.balance(house.ports, account.id, seen[number][1])
        assert (then.available, then.held) == seen[number][2:]
    for wrong in (datetime.now(UTC) + timedelta(hours=1), account.registered_at - timedelta(1)):
        with pytest.raises(InvalidCommand):
            await credit_balances.balance(house.ports, account.id, wrong)
    past = await credit_balances.history(house.ports, account.id, None, 9, as_of=seen[2][0])
    assert [entry.kind for entry in past] == ["verification", "granted", "granted"]


async def test_looking_and_checking_spend_nothing(house: House, url: str) -> None:
    account = await an_account(house)
    check = await credit_balances.check(house.ports, account.id, Price(operation="post"))
    assert (check.allowed, check.amount, check.available) == (True, 1_00, 5_00)
    check = await credit_balances.check(house.ports, account.id, Price(amount=5_01))
    assert not check.allowed
    costs = await credit_balances.costs(house.ports, account.id)
    assert (costs.plan, costs.monthly, costs.operations["ai"]) == ("free", 5_00, 2_00)
    assert rows(url, "SELECT 1 FROM states WHERE stream_id = %s", stream_of(account.id)) == []


async def test_who_may_not_is_told_so_and_nothing_happens(house: House) -> None:
    account = await an_account(house)
    stranger = Principal(kind="account", id=account.id, account_id=account.id)
    service = Principal(
        kind="service", id="key_1", account_id="acct_1", permissions=frozenset({"keys.verify"})
    )
    for principal in (stranger, service):
        with pytest.raises(NotPermitted):
            await credits.grant(house.ports, context(principal), account.id, GrantCredits(amount=1))
        with pytest.raises(NotPermitted):
            await credits.spend(house.ports, context(principal), account.id, Price(amount=1))
        with pytest.raises(NotPermitted):
            await credits.hold(house.ports, context(principal), account.id, Price(amount=1))
    for price in (Price(), Price(1_00, "post")):
        with pytest.raises(InvalidCommand):
            await credits.spend(house.ports, context(), account.id, price)
    with pytest.raises(UnknownOperation):
        await credits.spend(house.ports, context(), account.id, Price(operation="flight"))
    with pytest.raises(NotFound):
        await credits.spend(house.ports, context(), an_id("acct"), Price(amount=1))


async def test_a_suspended_account_spends_nothing_but_is_given_and_can_let_go(
    house: House,
) -> None:
    account = await an_account(house)
    held, _ = await credits.hold(house.ports, context(), account.id, Price(amount=1_00))
    await accounts.suspend(house.ports, context(), account.id, None)
    for use in (credits.spend, credits.hold):
        with pytest.raises(AccountNotActive):
            await use(house.ports, context(), account.id, Price(amount=1))
    await credits.release(house.ports, context(), held.hold_id)
    granted, _ = await credits.grant(house.ports, context(), account.id, GrantCredits(amount=1_00))
    assert granted.available == 6_00
    check = await credit_balances.check(house.ports, account.id, Price(amount=1))
    assert not check.allowed


async def test_many_accounts_are_settled_at_once_and_settling_again_changes_nothing(
    house: House, url: str
) -> None:
    made = [(await an_account(house)).id for _ in range(LEAST)]  # their rows go in runs
    await credits.settle(house.ports, [*made, *made, an_id("acct")])
    positions = rows(
        url,
        "SELECT originator_id, notification_id FROM decisions WHERE originator_id = ANY (%s)",
        [stream_of(each) for each in made],
    )
    assert len(positions) == LEAST
    before = rows(url, "SELECT * FROM counters ORDER BY counter_id")
    await credits.settle(house.ports, made)
    assert rows(url, "SELECT * FROM counters ORDER BY counter_id") == before


async def test_a_process_that_is_behind_does_not_give_by_an_old_plan(
    house: House, url: str
) -> None:
    """The row has seen a newer plan than this process: it reads the log before it decides."""
    account = await an_account(house)
    await credits.settle(house.ports, [account.id])
    counter_id = counter_id_of(account.id)
    newer = "UPDATE counters SET rule_no = rule_no + (1 << 20) WHERE counter_id = %s"
    run(url, newer, counter_id)
    with pytest.raises(Behind):  # the log has nothing newer: the row was tampered with
        await credits.settle(house.ports, [account.id])
    run(url, newer.replace("+", "-"), counter_id)
    await credits.settle(house.ports, [account.id])


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        ("used = used + 1", "used = used - 1"),
        ("limit_amount = limit_amount + 1", "limit_amount = limit_amount - 1"),
        ("entry_no = entry_no + 1", "entry_no = entry_no - 1"),
    ],
)
async def test_a_row_that_was_tampered_with_is_told_from_outside(
    house: House, url: str, spoil: str, mend: str
) -> None:
    account = await an_account(house)
    await credits.spend(house.ports, context(), account.id, Price(amount=1_00))
    held, _ = await credits.hold(house.ports, context(), account.id, Price(amount=1_00))
    assert credit_violations(url) == []
    change = "UPDATE counters SET {} WHERE counter_id = %s"
    run(url, change.format(spoil), counter_id_of(account.id))
    assert any(account.id in each for each in credit_violations(url))
    run(url, change.format(mend), counter_id_of(account.id))
    change = "UPDATE credit_holds SET status = %s WHERE hold_id = %s"
    run(url, change, "expired", held.hold_id)
    assert credit_violations(url) == ["1 holds differ between events and rows"]
    run(url, change, "held", held.hold_id)
    assert credit_violations(url) == []
