"""The key directory: what it holds is what a replay of the log gives, on every process."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import msgspec
import psycopg
import pytest

from application import accounts, api_keys
from application.deciding import FOLLOWED
from application.ports import Followed, Unreadable
from domain.accounts import AccountRegistered, AccountSuspended
from domain.allowances import AllowanceLifted, AllowanceSet
from domain.api_keys import AmendApiKey, ApiKeyPaused, ApiKeyRevoked
from domain.event import Event, Recorded
from domain.plans import SHIPPED, stream
from domain.quotas import Quota
from domain.verification import Presented, judge
from infra.postgres.states import load_states
from projections.key_directory import KeyDirectory
from tests.application.house import House, context, opened, owner, states
from tests.factories import DIGESTS, an_issued, metadata, registered
from tests.infra.following import until

pytestmark = pytest.mark.anyio
ASKED = Presented()


def a_directory() -> KeyDirectory:
    return KeyDirectory({event: noun.evolve for event, noun in FOLLOWED.items()})


def given(*events: tuple[str, Event]) -> KeyDirectory:
    directory = a_directory()
    for position, (name, event) in enumerate(events, 1):
        directory.apply(Recorded(position, name, position, event, metadata("cmd_1"), None))
    return directory


def unreadable(position: int, name: str, of: str) -> Unreadable:
    return Unreadable(position, of, 9, name, "from the future")


ACCOUNT = ("acct_1", registered("acct_1"))
KEY = ("key_1", an_issued("acct_1", "a secret", "key_1"))
RULE = AllowanceSet(
    allowance_id="alw_1",
    owner_id="key_1",
    account_id="acct_1",
    scope="own",
    limit=5,
    period="day",
    counter_id=7,
)


def test_key_is_found_by_its_digest_until_it_is_revoked_and_then_known_as_such() -> None:
    directory = given(ACCOUNT, KEY)
    found = directory.find(DIGESTS.candidates("a secret"))
    assert found is not None
    assert directory.find(DIGESTS.candidates("another")) is None
    assert judge(found, directory.account("acct_1"), ASKED, 0.0) == "VALID"
    directory = given(ACCOUNT, KEY, ("key_1", ApiKeyRevoked()))
    found = directory.find(DIGESTS.candidates("a secret"))
    assert judge(found, directory.account("acct_1"), ASKED, 0.0) == "REVOKED"


def test_rules_are_held_by_their_owner_until_they_are_lifted() -> None:
    directory = given(ACCOUNT, KEY, ("alw_1", RULE))
    assert [rule.limit for rule in directory.allowances("key_1")] == [5]
    changed = msgspec.structs.replace(RULE, limit=6)
    directory = given(ACCOUNT, KEY, ("alw_1", RULE), ("alw_1", changed))
    assert [rule.limit for rule in directory.allowances("key_1")] == [6]
    directory = given(ACCOUNT, KEY, ("alw_1", RULE), ("alw_1", AllowanceLifted()))
    assert directory.allowances("key_1") == ()
    directory = given(("alw_1", RULE), ("alw_1", AllowanceLifted()), ("alw_1", RULE))
    assert [rule.limit for rule in directory.allowances("key_1")] == [5]


def test_plans_are_listed_as_they_were_published() -> None:
    directory = given(*((stream(plan.name), plan) for plan in SHIPPED))
    assert [plan.name for plan in directory.plans()] == [plan.name for plan in SHIPPED]
    assert directory.plan("free") is not None
    assert directory.plan("platinum") is None


def test_unreadable_event_closes_its_stream_and_no_other() -> None:
    directory = given(ACCOUNT, KEY, ("key_2", an_issued("acct_1", "other", "key_2")))
    directory.apply(unreadable(4, "api_key.enchanted.v1", "key_1"))
    assert directory.find(DIGESTS.candidates("a secret")) is None
    assert directory.key("key_1") is None
    assert directory.key("key_2") is not None
    assert directory.closed() == {"key_1"}
    assert directory.position == 4
    directory.apply(Recorded(5, "key_1", 10, ApiKeyPaused(), metadata(), None))
    assert directory.key("key_1") is None  # what follows doesn't open it again


def test_unreadable_event_of_an_account_closes_it_to_all_of_its_keys() -> None:
    directory = given(ACCOUNT, KEY)
    directory.apply(unreadable(3, "account.registered.v7", "acct_1"))
    found = directory.find(DIGESTS.candidates("a secret"))
    assert judge(found, directory.account("acct_1"), ASKED, 0.0) == "NOT_FOUND"


def test_event_that_can_t_be_applied_closes_its_stream() -> None:
    directory = given(ACCOUNT, ("key_1", ApiKeyRevoked()), KEY)
    assert directory.closed() == {"key_1"}
    assert directory.account("acct_1") is not None


@pytest.mark.parametrize("name", ["credit.granted.v1", "purchase.started.v9", "webhook.sent.v1"])
def test_unknown_nouns_are_passed_over(name: str) -> None:
    directory = given(ACCOUNT, KEY)
    directory.apply(unreadable(3, name, "key_1"))
    assert directory.key("key_1") is not None
    assert directory.closed() == frozenset()
    assert directory.position == 3


async def test_catching_up_waits_for_the_position_and_no_longer() -> None:
    directory = given(ACCOUNT)
    assert await directory.catch_up(1, 0)
    assert not await directory.catch_up(2, 0.01)
    waiting = [asyncio.create_task(directory.catch_up(2, 60)) for _ in range(3)]
    later = asyncio.create_task(directory.catch_up(3, 5))
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    directory.apply(Recorded(2, "acct_1", 2, AccountSuspended(), metadata(), None))
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert outcomes[1:] == [True, True]
    assert not later.done()
    directory.apply(unreadable(3, "webhook.sent.v1", "x"))
    assert await later


async def test_only_the_end_of_the_log_is_a_confirmation() -> None:
    directory = a_directory()
    assert not directory.fresh(1.0)
    now = time.monotonic()
    event = Recorded(1, "acct_1", 1, AccountRegistered(account_id="acct_1"), metadata(), None)
    steps: Sequence[Followed] = [Followed([event], False, now), Followed([], True, now - 5)]

    async def given_steps(count: int) -> None:
        async def each() -> object:
            for step in steps[:count]:
                yield step

        await directory.run(each())  # type: ignore[arg-type]

    await given_steps(1)
    assert not directory.fresh(1.0)
    await given_steps(2)
    assert directory.fresh(6.0)
    assert not directory.fresh(4.0)


async def test_states_that_were_only_loaded_are_not_fresh() -> None:
    directory = a_directory()
    directory.start_at(7)
    assert not directory.fresh(60.0)

    async def step() -> AsyncIterator[Followed]:
        yield Followed([], True, time.monotonic())

    await directory.run(step())
    assert directory.fresh(60.0)
    assert directory.position == 7


async def test_those_who_waited_in_vain_hold_no_place_of_those_who_come_later() -> None:
    directory = given(ACCOUNT)
    reached = await asyncio.gather(*(directory.catch_up(2, 0.01) for _ in range(5_000)))
    assert not any(reached)
    later = asyncio.create_task(directory.catch_up(2, 60))
    await asyncio.sleep(0)
    directory.apply(Recorded(2, "acct_1", 2, AccountSuspended(), metadata(), None))
    assert await later


async def test_who_comes_when_too_many_wait_is_told_so_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("projections.key_directory.MAX_WAITERS", 3)
    directory = given(ACCOUNT)
    waiting = [asyncio.create_task(directory.catch_up(2, 60)) for _ in range(3)]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        assert not await directory.catch_up(2, 60)
        assert await directory.catch_up(1, 60)  # nothing to wait for
    directory.apply(Recorded(2, "acct_1", 2, AccountSuspended(), metadata(), None))
    assert await asyncio.gather(*waiting) == [True] * 3


async def lived_in(house: House) -> None:
    """Some of everything that can happen."""
    account, other = await house.account(), await house.account(plan="pro")
    keys = [(await house.key(account, quota=Quota(3, "day"))).key for _ in range(3)]
    by_owner = owner(account)
    await api_keys.revoke(house.ports, context(by_owner), keys[0].id)
    amendment = AmendApiKey(name="renamed", tags=("t",), metadata={"a": 1.5, "b": None})
    await api_keys.amend(house.ports, context(by_owner), keys[1].id, amendment, Quota(9, "month"))
    await api_keys.amend(house.ports, context(by_owner), keys[2].id, AmendApiKey(), None)
    await accounts.suspend(house.ports, context(), other.id, None)


async def test_what_is_followed_equals_a_replay_and_the_states_of_the_commands(
    database_url: str,
) -> None:
    async with opened(database_url) as house:
        before = a_directory()
        before.start_at(await load_states(database_url, before))
        await lived_in(house)
        middle = a_directory()
        middle.start_at(await load_states(database_url, middle))
        await lived_in(house)
        loaded = a_directory()
        loaded.start_at(await load_states(database_url, loaded))
        end = house.directory.position
        replayed = a_directory()
        for directory in (replayed, before, middle):
            following = asyncio.create_task(directory.run(house.store.follow(directory.position)))
            assert await directory.catch_up(end, 5)
            following.cancel()
            await asyncio.wait([following])
        wanted = states(house.directory)
        assert len(wanted) == 4 + 2 * (2 + 3 + 3)  # plans, accounts, keys, rules of keys
        for directory in (replayed, before, middle, loaded):
            assert directory.position == end
            assert states(directory) == wanted
            for struct in wanted.values():
                owner_id = getattr(struct, "owner_id", "")
                rules = {rule.id for rule in directory.allowances(owner_id)}
                assert rules == {rule.id for rule in house.directory.allowances(owner_id)}


async def test_large_states_load_over_many_chunks(database_url: str) -> None:
    async with opened(database_url) as house:
        account = await house.account(plan="enterprise")
        issued = [await house.key(account, name="n" * 100) for _ in range(3)]
    state = msgspec.json.encode(
        msgspec.structs.replace(issued[0].key, metadata={"x": "y" * 200_000})
    )
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE tollhouse.states SET state = %s WHERE stream_id = %s",
            (state, issued[0].key.id),
        )
    directory = a_directory()
    await load_states(database_url, directory)
    assert directory.size() == {"keys": 3, "accounts": 1}
    assert all(directory.find(DIGESTS.candidates(each.secret)) for each in issued)


async def test_key_revoked_in_one_process_is_soon_refused_by_another(
    database_url: str,
) -> None:
    async with opened(database_url) as one, opened(database_url) as other:
        account = await one.account()
        issued = await one.key(account)
        digests = DIGESTS.candidates(issued.secret)
        assert await other.directory.catch_up(one.directory.position, 1)
        assert other.directory.find(digests) is not None
        await api_keys.revoke(one.ports, context(owner(account)), issued.key.id)
        await until(lambda: judge(other.directory.find(digests), account, ASKED, 0.0) == "REVOKED")
        own = judge(one.directory.find(digests), account, ASKED, 0.0)
        assert own == "REVOKED"  # whoever did it sees it at once


def test_a_rule_that_cannot_be_read_refuses_its_account_instead_of_letting_it_through() -> None:
    directory = given(ACCOUNT, KEY)
    directory.apply(Unreadable(3, "alw_1", 1, "allowance.set.v9", "from the future", "acct_1"))
    found = directory.find(DIGESTS.candidates("a secret"))
    assert judge(found, directory.account("acct_1"), ASKED, 0.0) == "NOT_FOUND"


async def test_a_stream_closed_by_an_unreadable_event_stays_closed_after_a_restart(
    database_url: str,
) -> None:
    async with opened(database_url) as house:
        issued = await house.key(await house.account())
        with psycopg.connect(database_url) as connection:
            connection.execute(
                "INSERT INTO tollhouse.decisions "
                "(originator_id, originator_version, topic, state) VALUES (%s, 2, %s, %s)",
                (issued.key.id, "api_key.frobbed.v1", b'{"event":{},"metadata":{}}'),
            )
        restarted = a_directory()
        await load_states(database_url, restarted)
        assert restarted.find(DIGESTS.candidates(issued.secret)) is None
        assert restarted.closed() == {issued.key.id}
