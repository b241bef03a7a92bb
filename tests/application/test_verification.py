"""Verification: answered when it is counted, never oversold, and nobody is left waiting."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from application.asks import Ask, Resolved, Resolver
from application.batches import NO_LABELS, Labels, Waiting
from application.begun import Begun
from application.deciding import FOLLOWED
from application.errors import DirectoryStale, StoreUnavailable
from application.rules import RuleBook
from application.verdicts import Verdict
from application.verification import Verifier
from domain import key_format
from domain.allowances import Allowance, AllowanceSet, GlobalReset
from domain.api_keys import ApiKey
from domain.calendars import ETERNITY, Period
from domain.counters import PLAN_BITS, counter_of, quota_counter
from domain.errors import UnknownOperation
from domain.event import Recorded, Unreadable
from domain.permission_query import Query, parse
from domain.plans import Entitlements, Plan, rule_no
from domain.quotas import Quota, RateLimit
from domain.verification import Counter
from projections.key_directory import KeyDirectory
from projections.recent_keys import Fetched
from tests.application.memory_usage_log import MemoryUsageLog
from tests.factories import AT, DIGESTS, a_key, an_account, an_allowance, metadata

pytestmark = pytest.mark.anyio


FREE = Plan(name="free", tier="free", title="Free", entitlements=Entitlements(), self_service=True)


class Gate:
    """A verifier with all that is around it, and one account to try it on."""

    def __init__(self) -> None:
        self.usage = MemoryUsageLog()
        nouns = {event: noun.evolve for event, noun in FOLLOWED.items()}
        self.directory = KeyDirectory(nouns)
        self.account = an_account()
        self.directory.keep(self.account)
        self.directory.keep(FREE)
        self.directory.start_at(1)
        self.directory.confirmed_at = time.monotonic()
        self.verifier = Verifier(
            self.directory,
            self.usage,
            DIGESTS,
            "usage_1",
            "log1",
            60.0,
            lambda: datetime.now(UTC),
            self.settle,
            self.rehash,
        )
        self.credits = 0
        self.rehashed: list[tuple[str, str]] = []
        self.running: asyncio.Task[None] | None = None

    async def settle(self, account_ids: Sequence[str]) -> None:
        for account_id in account_ids:
            counter = self.usage.counters[counter_of(account_id, "credits")]
            account = self.directory.account(account_id)
            plan = None if account is None else self.directory.plan(account.plan)
            assert account is not None
            assert plan is not None
            counter.rule_no, counter.changes_at = rule_no(account, plan), ETERNITY
            counter.limit = counter.used + self.credits

    async def rehash(self, key_id: str, secret: str) -> None:
        self.rehashed.append((key_id, secret))

    def start(self) -> None:
        self.running = asyncio.create_task(self.verifier.run())

    async def stop(self) -> None:
        self.usage.open.set()
        self.usage.down = False
        await self.verifier.close()
        if self.running is not None:
            await asyncio.wait_for(self.running, 30)

    def key(self, limit: int | None = None, used: int = 0) -> ApiKey:
        """A key of the account, with a quota of its own if there is a limit."""
        key = a_key(self.account.id)
        self.directory.keep(key)
        if limit is not None:
            self.rule(key.id, limit, used)
        return key

    def rule(
        self, owner_id: str, limit: int, used: int = 0, period: Period = "lifetime"
    ) -> Allowance:
        rule = an_allowance(owner_id, self.account.id, limit, period=period)
        self.usage.counters[rule.counter_id] = Counter(limit=limit, used=used)
        self.directory.keep(rule)
        return rule

    def used(self, owner_id: str) -> int:
        (rule,) = self.directory.allowances(owner_id)
        return self.usage.counters[rule.counter_id].used

    async def verify(
        self,
        key: ApiKey | None,
        cost: int = 1,
        labels: Labels = NO_LABELS,
        operation: str | None = None,
        query: Query | None = None,
    ) -> Verdict:
        async with asyncio.timeout(30):
            ask = Ask(Resolved(key), cost=cost, labels=labels, operation=operation, query=query)
            return await self.verifier.verify(ask, "req_1")


@pytest.fixture
async def gate(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gate]:
    monkeypatch.setattr("application.counting.RETRY_SECONDS", 0.005)
    monkeypatch.setattr("application.verification.STALE_PAUSE_SECONDS", 0.002)
    made = Gate()
    made.start()
    yield made
    await made.stop()


async def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


async def test_metered_key_is_valid_until_its_quota_is_used_up(gate: Gate) -> None:
    key = gate.key(limit=2)
    verdicts = [await gate.verify(key) for _ in range(3)]
    assert [each.code for each in verdicts] == ["VALID", "VALID", "USAGE_EXCEEDED"]
    assert [each.quotas[0].remaining for each in verdicts] == [1, 0, 0]
    assert [each.valid for each in verdicts] == [True, True, False]
    assert gate.used(key.id) == 2


async def test_answer_stands_in_the_log_before_it_is_given(gate: Gate) -> None:
    key = gate.key(limit=5)
    gate.usage.open.clear()
    asked = asyncio.create_task(gate.verify(key))
    await until(lambda: gate.usage.asked == 1)
    assert not asked.done()
    gate.usage.open.set()
    verdict = await asked
    assert verdict.verification_id == "ver_1_1_0"
    assert verdict.position == "log1:1"
    assert ("usage_1", 1) in gate.usage.log


async def test_the_next_batch_is_on_its_way_before_this_one_is_answered(gate: Gate) -> None:
    """So the database counts while answers are made, instead of waiting for them."""
    key = gate.key(limit=5)
    under_way: list[int] = []
    gate.usage.open.clear()
    for _ in range(2):
        ask = Ask(Resolved(key))
        assert gate.verifier.begin(ask, "req_1", lambda _: under_way.append(gate.usage.asked))
        await until(lambda: gate.usage.asked == 1)
    gate.usage.open.set()
    await until(lambda: len(under_way) == 2)
    assert under_way == [2, 2]


async def test_key_and_account_are_counted_both_or_neither(gate: Gate) -> None:
    key = gate.key(limit=5)
    gate.rule(gate.account.id, 3)
    verdicts = await asyncio.gather(*(gate.verify(key) for _ in range(8)))
    assert [each.code for each in verdicts].count("VALID") == 3
    assert (gate.used(key.id), gate.used(gate.account.id)) == (3, 3)
    other = gate.key(limit=100)
    assert (await gate.verify(other)).code == "USAGE_EXCEEDED"
    assert gate.used(other.id) == 0


async def test_64_at_once_on_50_left_make_exactly_50_valid(gate: Gate) -> None:
    key = gate.key(limit=150, used=100)
    verdicts = await asyncio.gather(*(gate.verify(key) for _ in range(64)))
    assert [each.code for each in verdicts].count("VALID") == 50
    assert [each.code for each in verdicts].count("USAGE_EXCEEDED") == 14
    assert gate.used(key.id) == 150
    # In order of arrival, and each was told what was left after it.
    assert [each.quotas[0].used for each in verdicts] == [*range(101, 151)] + [150] * 14
    assert len({each.verification_id for each in verdicts}) == 64


async def test_who_waits_at_once_is_counted_in_one_commit(gate: Gate) -> None:
    key = gate.key(limit=1000)
    gate.usage.open.clear()
    first = asyncio.create_task(gate.verify(key))
    await until(lambda: gate.usage.asked == 1)
    others = [asyncio.create_task(gate.verify(key)) for _ in range(100)]
    await asyncio.sleep(0)
    gate.usage.open.set()
    await asyncio.gather(first, *others)
    assert gate.usage.asked == 2
    assert [len(event.code) for event in gate.usage.events] == [1, 100]


async def test_cost_is_what_is_taken(gate: Gate) -> None:
    key = gate.key(limit=10)
    assert (await gate.verify(key, cost=7)).quotas[0].remaining == 3
    assert (await gate.verify(key, cost=4)).code == "USAGE_EXCEEDED"
    assert (await gate.verify(key, cost=3)).quotas[0].remaining == 0


async def test_cost_of_nothing_is_valid_and_takes_nothing(gate: Gate) -> None:
    key = gate.key(limit=1, used=1)
    verdict = await gate.verify(key, cost=0)
    assert (verdict.code, verdict.quotas[0].remaining) == ("VALID", 0)
    assert gate.used(key.id) == 1


async def test_refusal_by_memory_takes_nothing(gate: Gate) -> None:
    key = gate.key(limit=5)
    gate.directory.keep(msgspec.structs.replace(key, revoked_at=1.0))
    assert (await gate.verify(key)).code == "REVOKED"
    assert (await gate.verify(None)).code == "NOT_FOUND"
    assert gate.used(key.id) == 0


async def test_forged_and_oversized_secrets_resolve_to_nothing(gate: Gate) -> None:
    secret = key_format.compose("th", "live", bytes(32))
    key = a_key(gate.account.id, secret)
    gate.directory.keep(key)
    assert await gate.verifier.resolve(secret) == Resolved(key)
    for stranger in (secret[:-1] + "\ud800", "x" * 513, ""):
        assert await gate.verifier.resolve(stranger) == Resolved(None)


async def test_unmetered_usage_is_flushed_behind(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.usage.down = True
    key = gate.key()
    assert (await gate.verify(key, 3, Labels(tags=("a",)))).valid
    assert (await gate.verify(None)).code == "NOT_FOUND"
    gate.usage.down = False
    await until(lambda: bool(gate.usage.events))
    (event,) = gate.usage.events
    assert event.code == ["VALID", "NOT_FOUND"]
    assert (event.keys, event.key, event.cost) == ([key.id], [0, -1], [3, 1])
    assert event.labels == {"0": {"tags": ["a"]}}
    assert event.takes == []


async def test_unmetered_rows_ride_along_with_metered_ones(gate: Gate) -> None:
    await gate.verify(gate.key())
    await gate.verify(gate.key(limit=5))
    (event,) = gate.usage.events
    assert event.code == ["VALID", "VALID"]
    assert event.takes[0] == 1


async def test_postgres_gone_refuses_metered_at_once_and_lets_others_go_on(gate: Gate) -> None:
    metered, unmetered = gate.key(limit=5), gate.key()
    gate.usage.down = True
    with pytest.raises(StoreUnavailable):
        await gate.verify(metered)
    gate.usage.open.clear()  # it answers nobody any more: who asked it now would wait for ever
    for _ in range(10):
        with pytest.raises(StoreUnavailable):
            await gate.verify(metered)
        assert (await gate.verify(unmetered)).valid
    assert gate.used(metered.id) == 0


async def test_stale_directory_says_so_for_everybody(gate: Gate) -> None:
    metered, unmetered = gate.key(limit=5), gate.key()
    gate.directory.confirmed_at = time.monotonic() - 61
    for key in (metered, unmetered, None):
        with pytest.raises(DirectoryStale):
            await gate.verify(key)
    gate.directory.confirmed_at = time.monotonic()
    assert (await gate.verify(metered)).valid


async def test_recovery_settles_the_lost_batch_once(gate: Gate) -> None:
    key = gate.key(limit=10)
    await gate.verify(key)
    gate.usage.lose_reply = True
    outcomes = await asyncio.gather(*(gate.verify(key) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in outcomes] == [StoreUnavailable] * 3
    with pytest.raises(StoreUnavailable):
        await gate.verify(key)
    asked = gate.usage.asked
    gate.usage.down = False
    await until(lambda: gate.usage.asked > asked)
    await asyncio.sleep(0.02)
    verdict = await gate.verify(key)
    assert verdict.quotas[0].used == 5  # 1 answered, 3 counted and never answered, and this
    assert gate.used(key.id) == 5
    versions = [version for _, version in gate.usage.log]
    assert versions == sorted(set(versions))


async def test_batch_that_never_arrived_takes_nothing_after_recovery(gate: Gate) -> None:
    key, unmetered = gate.key(limit=10), gate.key()
    await gate.verify(key)
    gate.usage.open.clear()
    asked = asyncio.create_task(gate.verify(key))
    await until(lambda: gate.usage.asked == 2)
    gate.usage.down = True
    gate.usage.open.set()
    with pytest.raises(StoreUnavailable):
        await asked
    assert (await gate.verify(unmetered)).valid
    gate.usage.down = False
    await until(lambda: ("usage_1", 2) in gate.usage.log)
    assert gate.usage.events[1].code == ["UNAVAILABLE"]
    assert gate.used(key.id) == 1
    await asyncio.sleep(0.02)
    assert (await gate.verify(key)).quotas[0].used == 2
    assert sum(event.code.count("VALID") for event in gate.usage.events) == 3


async def test_stale_rule_is_tried_again_once_the_directory_has_caught_up(gate: Gate) -> None:
    key = gate.key()
    rule = gate.rule(key.id, 5, period="day")
    gate.usage.counters[rule.counter_id].rule_no = 2 << PLAN_BITS
    asked = asyncio.create_task(gate.verify(key))
    await until(lambda: len(gate.usage.log) >= 2)
    assert not asked.done()
    event = AllowanceSet(
        allowance_id=rule.id,
        owner_id=key.id,
        account_id=gate.account.id,
        scope="own",
        limit=5,
        period="month",
        counter_id=rule.counter_id,
        rule_no=2,
    )
    gate.directory.apply(Recorded(2, rule.id, 2, event, metadata(), None))
    verdict = await asked
    assert verdict.valid
    assert (verdict.quotas[0].period, verdict.quotas[0].used) == ("month", 1)


async def test_rule_that_stays_unknown_is_a_stale_directory(gate: Gate) -> None:
    key = gate.key()
    rule = gate.rule(key.id, 5)
    gate.usage.counters[rule.counter_id].rule_no = 2 << PLAN_BITS
    with pytest.raises(DirectoryStale):
        await gate.verify(key)
    assert gate.used(key.id) == 0


async def test_key_revoked_while_it_waits_for_a_rule_is_refused(gate: Gate) -> None:
    key = gate.key()
    rule = gate.rule(key.id, 5)
    gate.usage.counters[rule.counter_id].rule_no = 2 << PLAN_BITS
    asked = asyncio.create_task(gate.verify(key))
    await until(lambda: len(gate.usage.log) >= 1)
    gate.directory.keep(msgspec.structs.replace(key, revoked_at=1.0))
    assert (await asked).code == "REVOKED"


async def test_cancelled_request_leaves_nobody_waiting(gate: Gate) -> None:
    key = gate.key(limit=10)
    gate.usage.open.clear()
    requests = [asyncio.create_task(gate.verify(key)) for _ in range(5)]
    await until(lambda: gate.usage.asked == 1)
    requests[0].cancel()
    requests[3].cancel()
    gate.usage.open.set()
    outcomes = await asyncio.gather(*requests, return_exceptions=True)
    assert [isinstance(each, Verdict) for each in outcomes] == [False, True, True, False, True]
    assert gate.used(key.id) == 5  # they were on their way already
    assert (await gate.verify(key)).quotas[0].used == 6


async def test_error_nobody_thought_of_fails_its_batch_and_no_other(gate: Gate) -> None:
    key = gate.key(limit=10)
    gate.usage.broken = RuntimeError("boom")
    with pytest.raises(StoreUnavailable):
        await gate.verify(key)
    gate.usage.broken = None
    assert (await gate.verify(key)).valid


async def test_error_nobody_thought_of_during_recovery_does_not_end_counting(gate: Gate) -> None:
    key = gate.key(limit=10)
    gate.usage.lose_reply = True
    with pytest.raises(StoreUnavailable):
        await gate.verify(key)
    gate.usage.broken = RuntimeError("boom")
    gate.usage.down = False
    await asyncio.sleep(0.03)
    gate.usage.broken = None
    assert (await gate.verify(key)).valid


async def test_closing_flushes_what_is_there_and_takes_nothing_more(gate: Gate) -> None:
    metered, unmetered = gate.key(limit=10), gate.key()
    await gate.verify(unmetered)
    await gate.verifier.close()
    assert [event.code for event in gate.usage.events] == [["VALID"]]
    with pytest.raises(StoreUnavailable):
        await gate.verify(metered)


async def test_counting_that_is_cancelled_fails_whoever_waits(gate: Gate) -> None:
    key = gate.key(limit=10)
    gate.usage.open.clear()
    asked = asyncio.create_task(gate.verify(key))
    await until(lambda: gate.usage.asked == 1)
    assert gate.running is not None
    gate.running.cancel()
    with pytest.raises(StoreUnavailable):
        await asked
    await asyncio.wait([gate.running])
    gate.running = None


async def test_windows_begin_anew_on_their_own(gate: Gate) -> None:
    key = gate.key()
    rule = gate.rule(key.id, 1, used=1, period="day")
    gate.usage.counters[rule.counter_id].window_start = 86_400_000_000  # long ago
    verdict = await gate.verify(key)
    assert verdict.valid
    assert verdict.quotas[0].resets_at is not None
    assert (await gate.verify(key)).code == "USAGE_EXCEEDED"


async def test_verdict_says_what_the_caller_needs(gate: Gate) -> None:
    key = msgspec.structs.replace(
        a_key(gate.account.id),
        permissions=("read",),
        metadata={"team": "ops"},
        external_id="e1",
        expires_at=AT.timestamp() + 1e9,
    )
    gate.directory.keep(key)
    verdict = await gate.verify(key)
    assert (verdict.key_id, verdict.account_id, verdict.plan) == (key.id, gate.account.id, "free")
    assert (verdict.permissions, verdict.metadata, verdict.external_id) == (
        ("read",),
        {"team": "ops"},
        "e1",
    )
    assert verdict.expires_at == "2057-11-07T13:46:40Z"


async def test_more_than_a_flush_can_carry_goes_in_several_and_none_is_lost(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.batches.MAX_ROWS", 10)
    key, metered = gate.key(), gate.key(limit=100)
    gate.usage.open.clear()
    verdicts = [await gate.verify(key) for _ in range(35)]
    asked = asyncio.create_task(gate.verify(metered))
    await asyncio.sleep(0)
    gate.usage.open.set()
    verdicts.append(await asked)
    rows = [event.code for event in gate.usage.events]
    assert sum(map(len, rows)) == 36
    assert max(map(len, rows)) == 10
    assert len({each.verification_id for each in verdicts}) == 36
    assert gate.used(metered.id) == 1
    assert gate.verifier.rows_dropped == 0


async def test_what_waits_is_bounded_and_what_is_dropped_is_counted(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.batches.MAX_ROWS", 10)
    monkeypatch.setattr("application.counting.MOST_FULL", 2)
    key = gate.key()
    gate.usage.open.clear()
    for _ in range(60):
        assert (await gate.verify(key)).valid
    dropped = gate.verifier.rows_dropped
    assert 60 - 50 <= dropped <= 60 - 30  # two full, one open, perhaps one under way
    with pytest.raises(StoreUnavailable):
        await gate.verify(gate.key(limit=5))
    gate.usage.open.set()
    await until(lambda: sum(len(each.code) for each in gate.usage.events) == 60 - dropped)
    assert (await gate.verify(gate.key(limit=5))).valid


async def test_a_stop_without_a_store_is_not_waited_for_batch_by_batch(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.batches.MAX_ROWS", 10)
    key = gate.key()
    gate.usage.open.clear()
    for _ in range(55):
        await gate.verify(key)
    gate.usage.down = True
    gate.usage.open.set()
    await asyncio.wait_for(gate.verifier.close(), 30)
    assert gate.running is not None
    await asyncio.wait_for(gate.running, 30)
    assert gate.usage.asked <= 3
    assert sum(len(each.code) for each in gate.usage.events) + gate.verifier.rows_dropped == 55


def on_plan(gate: Gate, **entitlements: Any) -> Plan:
    """Put the gate's account on a plan of these entitlements."""
    held = gate.directory.plan("free")
    plan = Plan(
        name="free",
        tier="free",
        title="Free",
        entitlements=Entitlements(**entitlements),
        self_service=True,
        revision=1 if held is None else held.revision + 1,
    )
    gate.directory.keep(plan)
    return plan


async def test_plan_that_changes_holds_at_once_for_who_is_on_it(gate: Gate) -> None:
    key = gate.key()
    assert (await gate.verify(key)).quotas == []
    on_plan(gate, quota=Quota(2, "day"))
    assert [(await gate.verify(key)).code for _ in range(3)][1:] == ["VALID", "USAGE_EXCEEDED"]
    on_plan(gate, quota=Quota(3, "day"))
    verdict = await gate.verify(key)
    assert (verdict.code, verdict.quotas[0].used) == ("VALID", 3)
    on_plan(gate, quota=Quota(1, "day"))  # below what is used
    verdict = await gate.verify(key)
    assert (verdict.code, verdict.quotas[0].remaining) == ("USAGE_EXCEEDED", 0)


async def test_what_staff_set_comes_before_the_plan(gate: Gate) -> None:
    key = gate.key()
    on_plan(gate, quota=Quota(1, "day"))
    await gate.verify(key)
    rule = an_allowance(
        gate.account.id,
        gate.account.id,
        5,
        period="day",
        scope="shared",
        counter_id=quota_counter(gate.account.id, "day"),
    )
    gate.directory.keep(rule)
    assert (await gate.verify(key)).quotas[0].remaining == 3
    gate.directory.keep(msgspec.structs.replace(rule, lifted=True, rule_no=2))
    assert (await gate.verify(key)).code == "USAGE_EXCEEDED"


async def test_rate_limit_refuses_and_nothing_else_is_taken(gate: Gate) -> None:
    key = msgspec.structs.replace(
        gate.key(limit=10), rate_limits=(RateLimit("burst", 4, "day", cost=2),)
    )
    gate.directory.keep(key)
    verdicts = [await gate.verify(key) for _ in range(3)]
    assert [each.code for each in verdicts] == ["VALID", "VALID", "RATE_LIMITED"]
    assert [each.rate_limits[0].remaining for each in verdicts] == [2, 0, 0]
    assert [each.rate_limits[0].exceeded for each in verdicts] == [False, False, True]
    assert gate.used(key.id) == 2


async def test_quota_rate_and_credits_are_taken_all_or_none(gate: Gate) -> None:
    key = gate.key(limit=10)
    on_plan(gate, quota=Quota(100, "day"), operation_costs={"ai": 2_00})
    gate.credits = 5_00
    verdicts = [await gate.verify(key, operation="ai") for _ in range(3)]
    assert [each.code for each in verdicts] == ["VALID", "VALID", "CREDITS_EXHAUSTED"]
    assert [each.credits and each.credits.remaining for each in verdicts] == [
        "3.00",
        "1.00",
        "1.00",
    ]
    assert gate.used(key.id) == 2
    shared = gate.usage.counters[quota_counter(gate.account.id, "day")]
    credits = gate.usage.counters[counter_of(gate.account.id, "credits")]
    assert (shared.used, credits.used) == (2, 4_00)
    assert gate.usage.events[-2].operations == {"0": "ai"}
    last = gate.usage.events[-1]
    assert sorted(set(last.kinds)) == [0, 2]


async def test_credits_are_settled_once_for_all_who_wait(gate: Gate) -> None:
    key = gate.key()
    on_plan(gate, operation_costs={"ai": 1})
    gate.credits = 50
    verdicts = await asyncio.gather(*(gate.verify(key, operation="ai") for _ in range(64)))
    assert [each.code for each in verdicts].count("VALID") == 50
    assert [each.code for each in verdicts].count("CREDITS_EXHAUSTED") == 14
    assert gate.usage.asked == 2


async def test_credits_that_can_t_be_settled_are_unavailable(gate: Gate) -> None:
    key = gate.key()
    on_plan(gate, operation_costs={"ai": 1})
    gate.verifier._settling._settle = failing
    with pytest.raises(StoreUnavailable):
        await gate.verify(key, operation="ai")
    assert (await gate.verify(key)).valid


async def failing(account_ids: Sequence[str]) -> None:
    raise StoreUnavailable("down")


async def test_test_key_has_counters_of_its_own_and_spends_no_credits(gate: Gate) -> None:
    live = gate.key()
    test = msgspec.structs.replace(gate.key(), environment="test")
    gate.directory.keep(test)
    on_plan(gate, quota=Quota(1, "day"), operation_costs={"ai": 1})
    assert (await gate.verify(test, operation="ai")).valid
    verdict = await gate.verify(test, operation="ai")
    assert (verdict.code, verdict.credits) == ("USAGE_EXCEEDED", None)
    assert (await gate.verify(live)).valid
    assert counter_of(gate.account.id, "credits") not in gate.usage.counters


async def test_staff_s_plan_costs_nothing(gate: Gate) -> None:
    account = msgspec.structs.replace(an_account(), plan="internal")
    gate.directory.keep(account)
    held = on_plan(gate, operation_costs={"ai": 1})
    gate.directory.keep(msgspec.structs.replace(held, name="internal"))
    key = a_key(account.id)
    gate.directory.keep(key)
    verdict = await gate.verify(key, operation="ai")
    assert (verdict.code, verdict.credits) == ("VALID", None)


async def test_unknown_operation_is_refused_before_anything_is_taken(gate: Gate) -> None:
    key = gate.key(limit=5)
    on_plan(gate, operation_costs={"ai": 1})
    with pytest.raises(UnknownOperation) as refused:
        await gate.verify(key, operation="render")
    assert refused.value.known == ["ai"]
    asks = [Ask(Resolved(key)), Ask(Resolved(key), operation="render")]
    with pytest.raises(UnknownOperation):
        await gate.verifier.verify_many(asks, "req_1")
    assert gate.used(key.id) == 0
    gate.directory.keep(msgspec.structs.replace(key, enabled=False))
    assert (await gate.verify(key, operation="render")).code == "DISABLED"


async def test_batch_is_answered_in_order_and_the_first_come_first(gate: Gate) -> None:
    keys = [gate.key(limit=1), gate.key()]
    asks = [Ask(Resolved(each)) for each in (keys[0], keys[1], keys[0], None)]
    verdicts = await gate.verifier.verify_many(asks, "req_1")
    assert [each.code for each in verdicts] == ["VALID", "VALID", "USAGE_EXCEEDED", "NOT_FOUND"]
    assert [each.key_id for each in verdicts] == [keys[0].id, keys[1].id, keys[0].id, None]


async def test_missing_permission_takes_nothing(gate: Gate) -> None:
    key = msgspec.structs.replace(gate.key(limit=5), permissions=("documents.*",))
    gate.directory.keep(key)
    assert (await gate.verify(key, query=parse("documents.read"))).valid
    verdict = await gate.verify(key, query=parse("documents.read AND billing.read"))
    assert verdict.code == "INSUFFICIENT_PERMISSIONS"
    assert gate.used(key.id) == 1


async def test_replaced_secret_works_until_its_overlap_ends(gate: Gate) -> None:
    key = msgspec.structs.replace(
        a_key(gate.account.id, "new"),
        previous_digest=DIGESTS.key("old"),
        previous_until=time.time() + 100,
    )
    gate.directory.keep(key)
    gate.rule(key.id, 2)
    new, old = await gate.verifier.resolve("new"), await gate.verifier.resolve("old")
    assert (new, old) == (Resolved(key), Resolved(key, superseded=True))
    verdicts = [await gate.verifier.verify(Ask(each), "req_1") for each in (new, old, new)]
    assert [each.code for each in verdicts] == ["VALID", "VALID", "USAGE_EXCEEDED"]  # one budget
    gate.directory.keep(msgspec.structs.replace(key, previous_until=time.time() - 1))
    assert (await gate.verifier.verify(Ask(old), "req_1")).code == "EXPIRED"


async def test_reset_of_everybody_begins_a_window(gate: Gate) -> None:
    key = gate.key()
    gate.rule(key.id, 1, period="day")
    await gate.verify(key)
    assert (await gate.verify(key)).code == "USAGE_EXCEEDED"
    gate.directory.keep(GlobalReset(time.time_ns() // 1000 - 1))
    await gate.verify(
        gate.key(9)
    )  # what the process knows of the database's clock is as of a flush
    verdict = await gate.verify(key)
    assert (verdict.code, verdict.quotas[0].used) == ("VALID", 1)
    assert (await gate.verify(key)).code == "USAGE_EXCEEDED"


async def test_reset_that_the_database_s_clock_has_not_reached_begins_a_window_then(
    gate: Gate,
) -> None:
    key = gate.key()
    gate.rule(key.id, 1, period="day")
    reset_at_us = time.time_ns() // 1000 + 100_000
    gate.directory.keep(GlobalReset(reset_at_us))  # by a host whose clock is ahead
    assert (await gate.verify(key)).valid
    assert (await gate.verify(key)).code == "USAGE_EXCEEDED"
    await until(lambda: time.time_ns() // 1000 > reset_at_us + 20_000)
    await gate.verify(gate.key())  # what the process knows of that clock is as of a flush
    await until(lambda: len(gate.usage.log) >= 2)
    verdicts = [await gate.verify(key) for _ in range(2)]
    assert "VALID" in [each.code for each in verdicts]


class Shelf:
    """Keys that are not in memory."""

    def __init__(self, *keys: ApiKey) -> None:
        self.all = keys

    async def fetch(self, digests: Sequence[bytes]) -> Fetched | None:
        return next((Fetched(1, key, None) for key in self.all if key.digest in digests), None)

    async def keys(self, key_ids: Sequence[str]) -> list[Fetched]:
        return [Fetched(1, key, None) for key in self.all if key.id in key_ids]


async def test_key_that_left_memory_is_fetched_again_and_not_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("projections.recent_keys.KEEP_SECONDS", 0.0)
    account = an_account()
    keys = [a_key(account.id, f"secret {number}") for number in range(3)]
    directory = KeyDirectory({}, Shelf(*keys), 2)
    directory.keep(account)
    directory.keep(FREE)
    resolver, rules = Resolver(directory, DIGESTS), RuleBook(directory)
    for number in (0, 1, 2, 0):
        key = (await resolver.resolve(f"secret {number}")).key
        assert key == keys[number]
    assert directory.key(keys[1].id) is None
    assert resolver.remembered("secret 1") is None
    assert rules.known(keys[0].id) is not None


class Broken:
    """Who waits for a row and can't be told."""

    def done(self) -> bool:
        return False

    def set_result(self, result: Any, /) -> None:
        raise RuntimeError("not to be told")

    def set_exception(self, error: Exception, /) -> None:
        pass


async def test_who_was_answered_is_not_answered_again(gate: Gate) -> None:
    """Though a later row of the batch could not be answered."""
    said: list[Verdict | Exception] = []
    key = gate.key(limit=5)
    gate.usage.open.clear()
    assert gate.verifier.begin(Ask(Resolved(key)), "req_1", said.append)
    batch = gate.verifier._counting.open
    (first,) = batch.waiting
    batch.waiting.append(Waiting(first.row, first.rules, first.amounts, Broken()))
    gate.usage.open.set()
    await until(lambda: bool(said))
    await gate.verify(key)
    assert [type(each) for each in said] == [Verdict]


async def test_verifications_leave_nothing_to_the_collector(gate: Gate) -> None:
    """It would stop everybody for ten milliseconds, several times a second."""
    said: list[Verdict | Exception] = []
    keys = [gate.key(limit=5), gate.key(limit=0), gate.key()]
    gc.collect()
    gc.disable()
    try:
        for key in keys:
            gate.verifier.begin(Ask(Resolved(key)), "req_1", said.append)
        for key in keys:
            await gate.verify(key)
        await until(lambda: len(said) == len(keys))
        await gate.verify(keys[0])  # so that those before are behind us
        left = [each for each in gc.get_objects() if type(each) in (Begun, Waiting)]
    finally:
        gc.enable()
    assert left == []


async def test_account_whose_plan_can_t_be_read_is_refused_and_not_let_through(gate: Gate) -> None:
    key = gate.key()
    assert (await gate.verify(key)).valid
    gate.directory.distrust(Unreadable(2, "plan_free", 2, "plan.changed.v9", "unknown"))
    assert (await gate.verify(key)).code == "NOT_FOUND"
