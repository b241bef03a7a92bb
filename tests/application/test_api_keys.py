"""API keys: the plan's limit is exact, revoked stays revoked, and foreign keys aren't there."""

import asyncio
from collections.abc import Sequence

import msgspec
import psycopg
import pytest

from application import api_keys
from application.deciding import OPERATOR, PUBLIC, Principal
from application.errors import VersionConflict
from application.ports import EventStore
from application.rows import Row
from domain.accounts import Account
from domain.api_key_rules import Labels
from domain.api_keys import AmendApiKey, IssueApiKey
from domain.errors import (
    EntitlementExceeded,
    InvalidCommand,
    KeyRevoked,
    NotFound,
    NotPermitted,
    Taken,
    UnknownPlan,
)
from domain.event import Metadata, NewEvent
from domain.quotas import Quota
from infra.postgres.connection import conninfo
from tests.application.house import House, context, opened, owner

pytestmark = pytest.mark.anyio


async def test_issued_key_is_found_by_its_secret_and_only_its_digest_is_kept(house: House) -> None:
    account = await house.account()
    issued = await house.key(account, quota=Quota(5, "hour"))
    assert issued.secret.startswith("th_live_")
    assert house.directory.find(house.ports.digests.candidates(issued.secret)) == issued.key
    assert issued.secret not in str(issued.key)
    (rule,) = house.directory.allowances(issued.key.id)
    assert (rule.limit, rule.period, rule.scope) == (5, "hour", "own")
    assert await api_keys.get(house.ports, owner(account), issued.key.id) == issued.key


async def test_plan_s_limit_of_keys_is_exact_under_concurrency(
    house: House, database_url: str
) -> None:
    account = await house.account()
    async with opened(database_url) as other:

        async def issue(at: House) -> str:
            try:
                return (await at.key(account)).key.id
            except EntitlementExceeded as error:
                return f"{error.limit} {error.entitlement} on {error.plan}"

        outcomes = await asyncio.gather(*(issue((house, other)[n % 2]) for n in range(14)))
    assert outcomes.count("5 keys on free") == 9
    keys = await api_keys.list_keys(house.ports, owner(account), account.id, None, 100)
    assert sorted(key.id for key in keys) == sorted(o for o in outcomes if o.startswith("key_"))


async def test_revoked_key_makes_room_for_another(house: House) -> None:
    account = await house.account()
    keys = [await house.key(account) for _ in range(5)]
    with pytest.raises(EntitlementExceeded):
        await house.key(account)
    await api_keys.revoke(house.ports, context(owner(account)), keys[0].key.id)
    await house.key(account)


async def test_revoked_key_stays_revoked(house: House) -> None:
    account = await house.account()
    key = (await house.key(account)).key
    by_owner = context(owner(account))
    first = await api_keys.revoke(house.ports, by_owner, key.id, "leaked")
    assert await api_keys.revoke(house.ports, context(owner(account)), key.id) >= first
    for command in (AmendApiKey(enabled=True), AmendApiKey(expires_at=None)):
        with pytest.raises(KeyRevoked):
            await api_keys.amend(house.ports, context(owner(account)), key.id, command)
    with pytest.raises(KeyRevoked):
        await api_keys.amend(
            house.ports, context(owner(account)), key.id, AmendApiKey(), Quota(1, "day")
        )
    seen = await api_keys.get(house.ports, owner(account), key.id)
    assert seen.revoked_at is not None
    assert len(await house.store.read(key.id)) == 2


async def test_amendments_at_once_all_take_effect(house: House, database_url: str) -> None:
    account = await house.account()
    key = (await house.key(account)).key
    commands = [
        AmendApiKey(name="renamed"),
        AmendApiKey(permissions=("read",)),
        AmendApiKey(tags=("blue",)),
        AmendApiKey(enabled=False),
    ]
    async with opened(database_url) as other:
        await asyncio.gather(
            *(
                api_keys.amend((house, other)[n % 2].ports, context(), key.id, command)
                for n, command in enumerate(commands)
            )
        )
    seen = await api_keys.get(house.ports, OPERATOR, key.id)
    assert (seen.name, seen.permissions, seen.tags, seen.enabled) == (
        "renamed",
        ("read",),
        ("blue",),
        False,
    )
    assert [each.version for each in await house.store.read(key.id)] == [1, 2, 3, 4, 5]


class Jostling:
    """An event store where somebody else is always a little faster, so many times."""

    writes_rows = True

    def __init__(self, store: EventStore, times: int) -> None:
        self._store = store
        self.left = times
        self.log_id = store.log_id
        self.read = store.read
        self.follow = store.follow

    async def append(
        self, events: Sequence[NewEvent], metadata: Metadata, rows: Sequence[Row] = ()
    ) -> int:
        if self.left:
            self.left -= 1
            raise VersionConflict("somebody else was first")
        return await self._store.append(events, metadata, rows)


@pytest.mark.parametrize(("conflicts", "done"), [(1, True), (3, True), (4, False)])
async def test_conflict_is_tried_again_a_bounded_number_of_times(
    house: House, conflicts: int, done: bool
) -> None:
    account = await house.account()
    key = (await house.key(account)).key
    ports = msgspec.structs.replace(house.ports, store=Jostling(house.store, conflicts))
    if done:
        await api_keys.revoke(ports, context(), key.id)
    else:
        with pytest.raises(VersionConflict):
            await api_keys.revoke(ports, context(), key.id)
    seen = await api_keys.get(house.ports, OPERATOR, key.id)
    assert (seen.revoked_at is not None) == done


async def test_foreign_key_is_not_found(house: House) -> None:
    mine, yours = await house.account(), await house.account()
    key = (await house.key(yours)).key
    by_me = context(owner(mine))
    with pytest.raises(NotFound):
        await api_keys.get(house.ports, owner(mine), key.id)
    with pytest.raises(NotFound):
        await api_keys.revoke(house.ports, by_me, key.id)
    with pytest.raises(NotFound):
        await api_keys.amend(house.ports, by_me, key.id, AmendApiKey(name="mine"))
    with pytest.raises(NotFound):
        await api_keys.list_keys(house.ports, owner(mine), yours.id, None, 10)
    with pytest.raises(NotFound):
        await api_keys.issue(house.ports, by_me, IssueApiKey(account_id=yours.id, name="mine"))
    for unknown in ("key_nobody", mine.id, "plan_free", ""):
        with pytest.raises(NotFound):
            await api_keys.get(house.ports, OPERATOR, unknown)


async def test_service_keys_are_for_staff_to_make(house: House) -> None:
    account = await house.account(plan="internal")
    command = IssueApiKey(
        account_id=account.id, name="gateway", kind="service", permissions=("keys.verify",)
    )
    with pytest.raises(NotPermitted):
        await api_keys.issue(house.ports, context(owner(account)), command)
    issued, _ = await api_keys.issue(house.ports, context(), command)
    for permission in ("keys.verify", "keys.manage"):
        service = Principal(kind="service", id="key_1", permissions=frozenset({permission}))
        with pytest.raises((NotFound, NotPermitted)):
            await api_keys.issue(house.ports, context(service), command)
    assert issued.key.kind == "service"


async def test_secret_that_the_operator_brings_is_taken_once(house: House) -> None:
    account = await house.account(plan="internal")
    command = IssueApiKey(account_id=account.id, name="gateway", kind="service")
    secret = "an-operator-s-own-secret-of-40-characters"
    issued, _ = await api_keys.issue(house.ports, context(), command, secret=secret)
    assert house.directory.find(house.ports.digests.candidates(secret)) == issued.key
    assert secret[:8] not in issued.key.hint
    with pytest.raises(Taken):
        await api_keys.issue(house.ports, context(), command, secret=secret)


async def quotas(house: House, account: Account, key_id: str, *rules: Quota | None) -> None:
    for rule in rules:
        await api_keys.amend(house.ports, context(owner(account)), key_id, AmendApiKey(), rule)


async def test_quota_is_set_changed_lifted_and_set_again_on_one_counter(house: House) -> None:
    account = await house.account()
    key_id = (await house.key(account)).key.id
    await quotas(house, account, key_id, Quota(5, "day"), Quota(7, "day"), Quota(7, "hour"))
    (rule,) = house.directory.allowances(key_id)
    assert (rule.limit, rule.period, rule.rule_no) == (7, "hour", 3)
    await quotas(house, account, key_id, None)
    assert house.directory.allowances(key_id) == ()
    counter = (await house.lookups.counters([rule.counter_id]))[rule.counter_id]
    assert counter.limit is None
    await quotas(house, account, key_id, Quota(3, "hour"), Quota(3, "hour"))
    (again,) = house.directory.allowances(key_id)
    counter = (await house.lookups.counters([rule.counter_id]))[rule.counter_id]
    assert (again.counter_id, counter.limit) == (rule.counter_id, 3)


async def test_quota_given_from_two_sides_at_once_is_one_quota(
    house: House, database_url: str
) -> None:
    account = await house.account()
    key_id = (await house.key(account)).key.id
    async with opened(database_url) as other:
        await asyncio.gather(
            *(quotas((house, other)[n % 2], account, key_id, Quota(n + 1, "day")) for n in range(4))
        )
        position = max(house.directory.position, other.directory.position)
        assert await house.directory.catch_up(position, 2)
        assert len(house.directory.allowances(key_id)) == 1


async def test_keys_are_listed_page_by_page(house: House) -> None:
    account = await house.account()
    ids = [(await house.key(account)).key.id for _ in range(5)]
    first = await api_keys.list_keys(house.ports, owner(account), account.id, None, 3)
    rest = await api_keys.list_keys(house.ports, owner(account), account.id, first[-1].id, 3)
    assert sorted(key.id for key in (*first, *rest)) == sorted(ids)


async def test_label_that_postgres_could_not_read_again_is_refused(house: House) -> None:
    account = await house.account()
    command = IssueApiKey(
        account_id=account.id, name="a key", labels=Labels(metadata={"note": "a\0b"})
    )
    with pytest.raises(InvalidCommand):
        await api_keys.issue(house.ports, context(owner(account)), command)
    await house.key(account)


async def test_refused_key_leaves_no_row_behind(house: House, database_url: str) -> None:
    account = await house.account()
    for _ in range(5):
        await house.key(account, quota=Quota(1, "day"))
    with pytest.raises(EntitlementExceeded):
        await house.key(account, quota=Quota(1, "day"))

    def count(table: str) -> object:
        with psycopg.connect(conninfo(database_url)) as connection:
            return connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()

    assert count("key_digests") == (5,)
    assert count("counters") == (5,)


async def test_an_account_on_a_plan_that_nobody_knows_gets_no_key(database_url: str) -> None:
    async with opened(database_url) as house:
        account = await house.account()
        house.directory._plans.clear()
        with pytest.raises(UnknownPlan):
            await house.key(account)


def test_the_public_is_not_staff() -> None:
    assert not PUBLIC.may("accounts.read")
