"""Rotation, import and the response to a leak, on a real Postgres."""

import asyncio
import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pytest

from application import accounts, api_keys, key_import, key_rotation, leaks
from application.deciding import OPERATOR, Principal
from application.errors import AnalyticsUnavailable
from application.key_import import ImportedKey
from application.ports import KeyTrail, LakeFormat, Trace, UsageWanted
from domain.accounts import Account
from domain.api_keys import AmendApiKey, IssueApiKey
from domain.errors import (
    ImportRefused,
    InvalidCommand,
    KeyRevoked,
    NotFound,
    NotPermitted,
)
from domain.quotas import Quota
from infra.digests import PepperedDigests
from infra.postgres.connection import conninfo
from tests.application.house import House, context, opened, owner
from tests.factories import DIGESTS

pytestmark = pytest.mark.anyio

IMPORT_KEY = b"the other system's secret"


def item(account: Account, secret: str, **fields: Any) -> ImportedKey:
    algorithm = fields.pop("algorithm", "sha256")
    command = IssueApiKey(account_id=account.id, name=secret, **fields.pop("command", {}))
    given = {"hash": hashlib.sha256(secret.encode()).hexdigest(), "hint": "old_…", **fields}
    return ImportedKey(command=command, algorithm=algorithm, **given)


async def test_rotated_key_is_one_key_with_two_secrets(house: House) -> None:
    account = await house.account()
    issued = await house.key(account, quota=Quota(5, "hour"))
    rules = house.directory.allowances(issued.key.id)
    by_owner = context(owner(account))
    first, position = await key_rotation.rotate(house.ports, by_owner, issued.key.id, 3600)
    assert first.key.id == issued.key.id
    assert position == house.directory.position
    assert house.directory.allowances(issued.key.id) == rules
    for secret in (issued.secret, first.secret):
        assert house.directory.find(DIGESTS.candidates(secret)) == first.key
    second, _ = await key_rotation.rotate(house.ports, context(), issued.key.id)
    assert house.directory.find(DIGESTS.candidates(issued.secret)) is None
    assert (second.key.generation, second.key.previous_until) == (3, 0)
    # What was given out stays this key's for ever: nobody gets it as another's.
    digests = [DIGESTS.key(each) for each in (issued.secret, first.secret, second.secret)]
    holders = await house.lookups.key_holders(digests)
    assert holders == dict.fromkeys(digests, issued.key.id)
    # A process that starts now knows the same.
    async with opened(house.url) as other:
        assert other.directory.key(issued.key.id) == second.key
        assert other.directory.find(digests[1:2]) == second.key
        assert other.directory.find(digests[:1]) is None


async def test_two_rotations_at_once_are_two_in_a_row(house: House) -> None:
    account = await house.account()
    key = (await house.key(account)).key
    async with opened(house.url) as other:
        rotated = await asyncio.gather(
            *(key_rotation.rotate(each.ports, context(), key.id, 60) for each in (house, other))
        )
    seen = await api_keys.get(house.ports, OPERATOR, key.id)
    assert sorted(each.key.generation for each, _ in rotated) == [2, 3]
    assert seen.digest in {DIGESTS.key(each.secret) for each, _ in rotated}


async def test_who_may_rotate(house: House) -> None:
    account, other = await house.account(), await house.account(plan="internal")
    key = (await house.key(account)).key
    with pytest.raises(NotFound):
        await key_rotation.rotate(house.ports, context(owner(other)), key.id)
    manager = Principal(kind="service", id="key_9", permissions=frozenset({"keys.manage"}))
    with pytest.raises(NotPermitted):
        await key_rotation.rotate(house.ports, context(manager), key.id)
    command = IssueApiKey(account_id=other.id, name="s", kind="service")
    service, _ = await api_keys.issue(house.ports, context(), command)
    issuer = Principal(kind="service", id="key_9", permissions=frozenset({"keys.issue"}))
    for principal in (issuer, owner(other)):
        with pytest.raises(NotPermitted):
            await key_rotation.rotate(house.ports, context(principal), service.key.id)
    await key_rotation.rotate(house.ports, context(issuer), key.id)
    with pytest.raises(InvalidCommand):
        await key_rotation.rotate(house.ports, context(), key.id, 2_592_001)
    await api_keys.revoke(house.ports, context(), key.id)
    with pytest.raises(KeyRevoked):
        await key_rotation.rotate(house.ports, context(), key.id)


async def test_rotation_keeps_the_prefix_and_the_environment(house: House) -> None:
    account = await house.account()
    command = IssueApiKey(account_id=account.id, name="k", environment="test")
    issued, _ = await api_keys.issue(house.ports, context(owner(account)), command, prefix="acme")
    rotated, _ = await key_rotation.rotate(house.ports, context(), issued.key.id)
    assert rotated.secret.startswith("acme_test_")
    assert rotated.key.hint == f"acme_test_…{rotated.secret[-4:]}"


async def test_imported_keys_are_found_by_their_secrets_and_rehashed_once(house: House) -> None:
    account = await house.account(plan="internal")
    digests = PepperedDigests(b"p" * 32, import_key=IMPORT_KEY)
    ports = msgspec.structs.replace(house.ports, digests=digests)
    blake = hashlib.blake2b(b"four", digest_size=32).digest()
    keyed = hmac.digest(IMPORT_KEY, b"five", "sha256")
    items = [
        item(account, "one", quota=Quota(3, "day")),
        item(account, "two", hash=hashlib.sha256(b"two").hexdigest().upper()),
        item(account, "three", hash=hashlib.sha512(b"three").hexdigest(), algorithm="sha512"),
        item(account, "four", hash=base64.b64encode(blake).decode(), algorithm="blake2b-256"),
        item(
            account,
            "five",
            hash=base64.urlsafe_b64encode(keyed).decode().rstrip("="),
            algorithm="hmac-sha256",
        ),
    ]
    keys, position = await key_import.bring_in(ports, context(), items)
    assert position == house.directory.position
    assert [key.name for key in keys] == ["one", "two", "three", "four", "five"]
    assert len(house.directory.allowances(keys[0].id)) == 1
    known = house.directory.foreign_algorithms
    assert known == {"sha256", "sha512", "blake2b-256", "hmac-sha256"}
    for key in keys:
        assert house.directory.find(digests.candidates(key.name)) is None
        assert house.directory.find(digests.foreign(key.name, known)) == key
        await key_rotation.rehash(ports, key.id, "not its secret")
        await asyncio.gather(*(key_rotation.rehash(ports, key.id, key.name) for _ in range(2)))
        await key_rotation.rehash(ports, key.id, key.name)
        found = house.directory.find(digests.candidates(key.name))
        assert found is not None
        assert (found.id, found.algorithm) == (key.id, None)
        assert len(await house.store.read(key.id)) == 2
    with pytest.raises(ImportRefused):
        await key_import.bring_in(ports, context(), items)


async def test_import_says_what_is_wrong_with_every_item_and_does_nothing(house: House) -> None:
    account, full = await house.account(), await house.account()
    suspended = await house.account()
    await _suspend(house, suspended)
    for _ in range(4):
        await house.key(full)
    issued = (await house.key(account)).key
    taken = item(account, "taken")
    await key_import.bring_in(house.ports, context(), [taken])
    items = [
        item(account, "fine"),
        item(account, "taken"),
        item(account, "fine"),
        item(account, "x", hash="abc"),
        item(account, "y", hash="zz" * 32),
        item(account, "z", algorithm="hmac-sha256"),
        item(account, "n", command={"permissions": ("No Way",)}),
        item(msgspec.structs.replace(account, id="acct_nobody"), "o"),
        item(suspended, "s"),
        item(account, "q", quota=Quota(-1, "day")),
        item(account, "h", hint=""),
    ]
    before = house.directory.position
    with pytest.raises(ImportRefused) as refused:
        await key_import.bring_in(house.ports, context(), items)
    found = {(fault.index, fault.param): fault.reason for fault in refused.value.faults}
    assert list(found) == [
        (1, "hash"),
        (2, "hash"),
        (3, "hash"),
        (4, "hash"),
        (5, "algorithm"),
        (6, "permissions[0]"),
        (7, "account_id"),
        (8, "account_id"),
        (9, "quota.limit"),
        (10, "hint"),
    ]
    assert "TOLLHOUSE_IMPORT_HMAC_KEY" in found[5, "algorithm"]
    assert found[8, "account_id"] == "the account is suspended"
    many = [
        item(full, "a"),
        item(account, "b"),
        item(full, "c", command={"environment": "test"}),
        item(full, "d"),
    ]
    with pytest.raises(ImportRefused) as refused:
        await key_import.bring_in(house.ports, context(), many)
    assert [(fault.index, fault.param) for fault in refused.value.faults] == [
        (2, "account_id"),
        (3, "account_id"),
    ]
    assert house.directory.position == before
    with psycopg.connect(conninfo(house.url)) as connection:
        assert connection.execute("SELECT count(*) FROM key_digests").fetchone() == (6,)
    assert (await api_keys.get(house.ports, OPERATOR, issued.id)) == issued


async def _suspend(house: House, account: Account) -> None:
    await accounts.suspend(house.ports, context(), account.id, None)


async def test_who_may_import(house: House) -> None:
    account = await house.account()
    items = [item(account, "one")]
    manager = Principal(kind="service", id="key_9", permissions=frozenset({"keys.manage"}))
    for principal in (owner(account), manager):
        with pytest.raises(NotPermitted):
            await key_import.bring_in(house.ports, context(principal), items)
    issuer = Principal(kind="service", id="key_9", permissions=frozenset({"keys.issue"}))
    service = [item(account, "two", command={"kind": "service"})]
    with pytest.raises(ImportRefused) as refused:
        await key_import.bring_in(house.ports, context(issuer), service)
    assert refused.value.faults[0].param == "kind"
    await key_import.bring_in(house.ports, context(issuer), items)
    for wrong in ([], items * 1001):
        with pytest.raises(InvalidCommand):
            await key_import.bring_in(house.ports, context(), wrong)


async def test_a_thousand_keys_come_in_at_once(house: House) -> None:
    account = await house.account(plan="internal")
    items = [item(account, f"secret {n}", quota=Quota(9, "day")) for n in range(1000)]
    keys, position = await key_import.bring_in(house.ports, context(), items)
    assert len({key.id for key in keys}) == 1000
    assert await house.directory.catch_up(position, 60)  # a busy machine answers before that
    assert house.directory.size()["keys"] == 1000
    # They are written in runs; what is read again is the same as from one at a time.
    async with opened(house.url) as other:
        for key in keys[::333]:
            digests = DIGESTS.foreign(key.name, other.directory.foreign_algorithms)
            assert other.directory.find(digests) == house.directory.key(key.id) == key
            rules = other.directory.allowances(key.id)
            assert rules == house.directory.allowances(key.id)
            counter = await house.lookups.counters([rules[0].counter_id])
            assert counter[rules[0].counter_id].limit == 9
    with psycopg.connect(conninfo(house.url)) as connection:
        voided = connection.execute("SELECT count(*) FROM packed_states WHERE body IS NULL")
        assert voided.fetchone() == (0,)


class Lake:
    """An analytics port that answers one trail, or has none."""

    def __init__(self, house: House, trail: KeyTrail | None) -> None:
        self._house = house
        self._trail = trail
        self.asked: list[tuple[str, datetime]] = []

    async def query(self, sql: str, format: LakeFormat) -> bytes:
        raise NotImplementedError

    async def usage(self, wanted: UsageWanted, format: LakeFormat) -> bytes:
        raise NotImplementedError

    async def key_trail(self, key_id: str, since: datetime) -> KeyTrail:
        key = await api_keys.get(self._house.ports, OPERATOR, key_id)
        assert key.revoked_at is not None  # first the end, then the reading
        self.asked.append((key_id, since))
        if self._trail is None:
            raise AnalyticsUnavailable("The lake has not been written yet.")
        return self._trail


async def test_leaked_key_is_ended_before_anything_is_read(house: House) -> None:
    account = await house.account()
    key = (await house.key(account)).key
    at = datetime(2026, 3, 1, tzinfo=UTC)
    trace = Trace(
        kind="day",
        value="2026-03-01",
        outcome="VALID",
        verifications=3,
        cost=3,
        first_at=at,
        last_at=at,
    )
    lake = Lake(house, KeyTrail([trace], at, 7))
    by_owner = context(owner(account))
    report, _ = await leaks.leak_response(house.ports, lake, by_owner, key.id, at)
    assert lake.asked == [(key.id, at)]
    assert report.key.revoked_at is not None
    assert report.trail is not None
    assert report.trail.traces == [trace]
    again, _ = await leaks.leak_response(house.ports, Lake(house, None), context(), key.id)
    assert (again.trail, again.trail_problem) == (None, "The lake has not been written yet.")
    assert again.since == datetime.fromtimestamp(key.issued_at, UTC)
    assert len(await house.store.read(key.id)) == 2


async def test_leak_response_is_for_owners_and_staff(house: House) -> None:
    account, other = await house.account(), await house.account()
    key = (await house.key(account)).key
    manager = Principal(kind="service", id="key_9", permissions=frozenset({"keys.manage"}))
    with pytest.raises(NotPermitted):
        await leaks.leak_response(house.ports, None, context(manager), key.id)
    with pytest.raises(NotFound):
        await leaks.leak_response(house.ports, None, context(owner(other)), key.id)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with pytest.raises(InvalidCommand):
        await leaks.leak_response(house.ports, None, context(), key.id, tomorrow)
    assert (await api_keys.get(house.ports, OPERATOR, key.id)).revoked_at is None
    await api_keys.amend(house.ports, context(), key.id, AmendApiKey(name="still there"))
