"""The directory packed, and the directory in part: the same answers as plain dicts give."""

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from application import api_keys
from application.deciding import FOLLOWED
from application.errors import StoreUnavailable
from application.key_rotation import rotate
from domain import ids
from domain.accounts import Account, AccountRegistered, PlanAssigned
from domain.allowances import Allowance, AllowanceLifted, AllowanceSet
from domain.api_key_events import ApiKeyIssued, ApiKeyRevoked, ApiKeyRotated
from domain.api_keys import AmendApiKey, ApiKey
from domain.event import Event, Recorded
from domain.quotas import Quota, RateLimit
from infra.postgres import missing_keys
from infra.postgres.missing_keys import PostgresMissingKeys
from infra.postgres.states import load_states
from projections.key_directory import KeyDirectory
from projections.packed_index import PackedIndex
from projections.packed_states import PackedStates, Page
from projections.packing import (
    pack,
    packed_id,
    unpack_account,
    unpack_key,
    unpack_rule,
    unpacked_id,
)
from projections.recent import Recent
from projections.recent_keys import Fetched, MissingKeys
from tests.application.house import House, context, opened, owner
from tests.exploring import examples
from tests.factories import DIGESTS, metadata

pytestmark = pytest.mark.anyio
AT = datetime(2026, 11, 3, 4, 5, 6, 123456, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
seconds = st.floats(0, 4e9, allow_nan=False)
suffixes = st.builds(
    lambda ms, entropy: ids.compose("x", ms, entropy)[2:],
    st.integers(0, 2**48 - 1),
    st.binary(min_size=10, max_size=10),
)


def evolve_of(event: Event) -> Any:
    return FOLLOWED[type(event)].evolve


def a_directory(missing: MissingKeys | None = None, most: int = 0) -> KeyDirectory:
    nouns = {event: noun.evolve for event, noun in FOLLOWED.items()}
    return KeyDirectory(nouns, missing, most)


keys = st.builds(
    ApiKey,
    id=suffixes.map(lambda each: f"key_{each}"),
    account_id=suffixes.map(lambda each: f"acct_{each}"),
    name=texts,
    digest=st.binary(min_size=32, max_size=32) | st.binary(min_size=1, max_size=70),
    pepper_id=texts,
    hint=texts,
    kind=st.sampled_from(["standard", "service"]),
    environment=st.sampled_from(["live", "test"]),
    issued_at=seconds,
    audience=st.none() | texts,
    permissions=st.lists(texts, max_size=3).map(tuple),
    expires_at=st.none() | seconds,
    metadata=st.none()
    | st.dictionaries(texts, st.none() | st.booleans() | st.integers(-9, 9) | seconds | texts),
    tags=st.lists(texts, max_size=2).map(tuple),
    external_id=st.none() | texts,
    enabled=st.booleans(),
    generation=st.integers(1, 9),
    revoked_at=st.none() | seconds,
    roles=st.lists(texts, max_size=2).map(tuple),
    ip_allow=st.lists(texts, max_size=2).map(tuple),
    rate_limits=st.lists(st.just(RateLimit("burst", 9, "second")), max_size=1).map(tuple),
    limits_no=st.integers(1, 3),
    previous_digest=st.none() | st.binary(min_size=32, max_size=32),
    previous_until=st.none() | seconds,
    algorithm=st.none() | st.just("sha256"),
)
QUICK = settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)


@QUICK
@given(keys)
def test_a_packed_key_is_the_key(key: ApiKey) -> None:
    packed = pack(key)
    assert packed is not None
    assert packed.digest is not None
    assert unpacked_id("key", packed.id) == key.id
    assert unpack_key(packed.id, packed.digest, packed.body) == key


def test_packed_rules_and_accounts_are_the_same_again() -> None:
    rule = Allowance("alw_1", "key_1", "acct_1", "own", 5, "day", 7, 1)
    assert pack(rule) is None  # ids that are not ours are not packed, and held as they are
    suffix = ids.compose("x", 1, bytes(10))[2:]
    of_account = msgspec.structs.replace(
        rule,
        id=f"alw_{suffix}",
        owner_id=f"acct_{suffix}",
        account_id=f"acct_{suffix}",
        reset_at_us=9,
        carry_over_max=4,
        time_zone="Europe/Berlin",
        anchor_us=-5,
    )
    packed = pack(of_account)
    assert packed is not None
    assert packed.part == "account"
    assert unpack_rule(packed.id, packed.body) == of_account
    account = Account(
        id=f"acct_{suffix}",
        username="name",
        kind="business",
        actor_type="creator",
        registered_at=AT,
        status="suspended",
        roles=("admin",),
        next_plan="pro",
        next_plan_at=1.5,
    )
    packed = pack(account)
    assert packed is not None
    assert unpack_account(packed.id, packed.body) == account


@pytest.mark.parametrize(
    "text",
    [
        *("", "key_", "key_1", "key_" + "z" * 26, "key_" + "0" * 25 + "u"),
        *("key_" + "0" * 25 + "A", "key_" + "0" * 25 + "_", "key_ " + "0" * 25),
        *("key_" + "\u0663" * 26, "key_" + "0" * 27),
    ],
)
def test_what_is_not_one_of_our_ids_is_not_packed(text: str) -> None:
    assert packed_id(text) is None


@QUICK
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 400)), max_size=8))
def test_an_index_finds_what_was_added_however_it_was_added(
    steps: list[tuple[bool, int]],
) -> None:
    index = PackedIndex(8, 4)
    added: list[bytes] = []
    for at_once, count in steps:
        more = [os.urandom(8) for _ in range(count)]
        if at_once:
            index.extend(b"".join(more))
        else:
            assert [index.add(each) for each in more] == list(range(len(added), len(added) + count))
        added += more
    assert [index.find(each) for each in added] == list(range(len(added)))
    assert all(index.find(os.urandom(8)) is None for _ in range(20))


def test_bodies_that_grow_and_shrink_take_each_others_room() -> None:
    states = PackedStates()
    held = {os.urandom(16): b"" for _ in range(50)}
    for size in (20, 90, 20, 90, 37, 20, 90):
        for each in held:
            held[each] = os.urandom(size)
            states.put(each, held[each])
        for each, body in held.items():
            number = states.number(each)
            assert number is not None
            assert states.body(number) == body
    assert len(states._bodies) <= 50 * (20 + 90 + 90 + 37)


def test_what_is_asked_for_stays_and_what_is_not_goes() -> None:
    now = 0.0
    recent: Recent[int, str] = Recent(10, 5.0, lambda: now)
    for number in range(100):
        recent.put(number, "x")
    assert len(recent) == 100  # none of it is old
    now = 6.0
    recent.put(100, "x")
    assert recent.get(7) == "x"
    now = 12.0
    for number in range(101, 106):
        recent.put(number, "x")
    assert recent.get(7) == "x"
    assert recent.get(8) is None
    assert len(recent) < 20


class Pause:
    """Gives the test the turn."""

    def __await__(self) -> Any:
        yield


class Snapshots:
    """A database whose answers take as long as the test likes."""

    def __init__(self, machine: "DirectoryMachine") -> None:
        self._machine = machine

    async def fetch(self, digests: Sequence[bytes]) -> Fetched | None:
        await Pause()  # until it is read
        found = self._machine.read(digests)
        await Pause()  # until the answer is there
        return found

    async def keys(self, key_ids: Sequence[str]) -> list[Fetched]:
        await Pause()
        found = [self._machine.read([self._machine.digests[each][0]]) for each in key_ids]
        await Pause()
        return [each for each in found if each is not None]


class DirectoryMachine(RuleBasedStateMachine):
    """A log, and the directories that follow it: whole, started anew, and in part.

    The model is the log folded into dicts, as it stood after each event. What a directory
    answers has to be what the model held at a position that isn't behind what it has applied.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Recorded] = []
        self.past: list[dict[str, msgspec.Struct]] = [{}]
        self.digests: dict[str, list[bytes]] = {}
        self.account = ids.compose("acct", 1, bytes(10))
        self.whole = a_directory()
        self.part = a_directory(Snapshots(self), 1_000)
        self.fetches: list[tuple[Any, str, bytes | None, int]] = []

    def happen(self, stream: str, event: Event) -> None:
        position = len(self.log) + 1
        recorded = Recorded(position, stream, position, event, metadata("cmd"), None)
        self.log.append(recorded)
        now = dict(self.past[-1])
        now[stream] = evolve_of(event)(now.get(stream), event, recorded.metadata.at)
        self.past.append(now)
        self.whole.apply(recorded)

    def read(self, digests: Sequence[bytes]) -> Fetched | None:
        """What a query answers: the states as the log's end has them."""
        now, position = self.past[-1], len(self.log)
        for key_id, known in self.digests.items():
            if digests[0] in known:
                return Fetched(position, now[key_id], now.get(rule_of(key_id)))  # type: ignore[arg-type]
        return None

    @initialize()
    def begin(self) -> None:
        self.happen(self.account, AccountRegistered(account_id=self.account))
        self.happen(self.account, PlanAssigned(plan="free"))
        self.part.apply(self.log[0])
        self.part.apply(self.log[1])

    @precondition(lambda self: len(self.digests) < 3)
    @rule(quota=st.booleans())
    def issue(self, quota: bool) -> None:
        key_id = ids.compose("key", len(self.log), os.urandom(10))
        digest = os.urandom(32)
        self.digests[key_id] = [digest]
        if quota:
            self.set_rule(key_id, 5)
        self.happen(
            key_id,
            ApiKeyIssued(
                key_id=key_id,
                account_id=self.account,
                name="a key",
                digest=digest,
                pepper_id="p",
                hint="h",
            ),
        )

    @precondition(lambda self: self.digests)
    @rule(
        data=st.data(),
        change=st.sampled_from(["rotate", "rotate", "revoke", "rule", "rule", "lift"]),
    )
    def change(self, data: st.DataObject, change: str) -> None:
        key_id = data.draw(st.sampled_from(sorted(self.digests)))
        key = self.past[-1][key_id]
        assert isinstance(key, ApiKey)
        match change:
            case "rotate":
                digest = os.urandom(32)
                self.digests[key_id].append(digest)
                self.happen(
                    key_id,
                    ApiKeyRotated(
                        digest=digest, pepper_id="p", hint="h", generation=key.generation + 1
                    ),
                )
            case "revoke":
                self.happen(key_id, ApiKeyRevoked())
            case "rule":
                self.set_rule(key_id, len(self.log))
            case _:
                if rule_of(key_id) in self.past[-1]:
                    self.happen(rule_of(key_id), AllowanceLifted())

    def set_rule(self, key_id: str, limit: int) -> None:
        event = AllowanceSet(
            allowance_id=rule_of(key_id),
            owner_id=key_id,
            account_id=self.account,
            scope="own",
            limit=limit,
            period="day",
            counter_id=7,
        )
        self.happen(rule_of(key_id), event)

    @precondition(lambda self: self.part.position < len(self.log))
    @rule(steps=st.integers(1, 4))
    def follow(self, steps: int) -> None:
        for recorded in self.log[self.part.position :][:steps]:
            self.part.apply(recorded)

    @precondition(lambda self: self.digests)
    @rule(data=st.data())
    def evict(self, data: st.DataObject) -> None:
        assert self.part._recent is not None
        self.part._recent._entries.forget(data.draw(st.sampled_from(sorted(self.digests))))

    @rule()
    def restart(self) -> None:
        """A process starts on the packed states of now."""
        self.whole = a_directory()
        for noun in ("account", "api_key", "allowance"):
            packed = [each for state in self.past[-1].values() if (each := pack(state))]
            packed = [each for each in packed if each.noun == noun]
            page = Page(
                b"".join(each.id for each in packed),
                b"".join(len(each.body).to_bytes(2, "big") for each in packed),
                b"".join(each.body for each in packed),
                b"".join(each.digest or b"" for each in packed),
            )
            self.whole.load(noun, page)
            for each in packed:
                if each.previous is not None:
                    self.whole.also_known_by(each.id, each.previous)
        self.whole.start_at(len(self.log))

    @precondition(lambda self: self.digests)
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        key_id = data.draw(st.sampled_from(sorted(self.digests)))
        digest = data.draw(st.sampled_from(self.digests[key_id]))
        here = self.part.find([digest])
        if here is not None:
            assert here in self.could_be(key_id, self.part.position)
            return
        fetching = self.part.fetch([digest])
        fetching.send(None)
        self.fetches.append((fetching, key_id, digest, self.part.position))

    @precondition(lambda self: self.digests)
    @rule(data=st.data())
    def hold(self, data: st.DataObject) -> None:
        key_ids = data.draw(st.lists(st.sampled_from(sorted(self.digests)), min_size=1, max_size=2))
        holding = self.part.hold(key_ids)
        try:
            holding.send(None)
        except StopIteration:
            return
        self.fetches.append((holding, key_ids[0], None, self.part.position))

    @precondition(lambda self: self.fetches)
    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """One of those who wait for the database gets a step further."""
        number = data.draw(st.integers(0, len(self.fetches) - 1))
        fetching, key_id, digest, asked_at = self.fetches[number]
        try:
            fetching.send(None)
        except StopIteration as ended:
            del self.fetches[number]
            found = ended.value
            if digest is None:
                return  # the invariants tell
            if found is None:
                could = self.could_be(key_id, asked_at)
                assert any(each is None or not of(each, digest) for each in could)
            else:
                assert of(found, digest)
                assert self.part.find([digest]) == found
                assert found in self.could_be(key_id, self.part.position)

    @invariant()
    def whole_is_the_model(self) -> None:
        now = self.past[-1]
        for key_id, digests in self.digests.items():
            assert self.whole.key(key_id) == now[key_id]
            rule = now.get(rule_of(key_id))
            held = isinstance(rule, Allowance) and not rule.lifted
            assert self.whole.allowances(key_id) == ((rule,) if held else ())
            for digest in digests:
                key = now[key_id]
                assert self.whole.find([digest]) == (key if of(key, digest) else None)

    @invariant()
    def part_is_never_behind_what_it_applied(self) -> None:
        for key_id in self.digests:
            key = self.part.key(key_id)
            if key is not None:
                assert key in self.could_be(key_id, self.part.position)
                rules = self.part.allowances(key_id)
                could = self.could_be(rule_of(key_id), self.part.position)
                assert (rules[0] if rules else None) in (
                    None if isinstance(each, Allowance) and each.lifted else each for each in could
                )

    def could_be(self, stream: str, position: int) -> list[msgspec.Struct | None]:
        """What the model held at this position and since."""
        return [each.get(stream) for each in self.past[position:]]

    def teardown(self) -> None:
        for fetching, *_ in self.fetches:
            fetching.close()


def rule_of(key_id: str) -> str:
    return f"alw_{key_id[4:]}"


def of(key: msgspec.Struct, digest: bytes) -> bool:
    return isinstance(key, ApiKey) and digest in (key.digest, key.previous_digest)


TestDirectoryMachine = DirectoryMachine.TestCase
TestDirectoryMachine.settings = settings(
    max_examples=examples(25), stateful_step_count=30, deadline=None, database=None
)


class Counted(PostgresMissingKeys):
    """Counts its queries, and can hold them back."""

    def __init__(self, house: House) -> None:
        super().__init__(house.lookups)
        self.queries = 0
        self.go = asyncio.Event()
        self.go.set()

    async def _found(self, batch: Any) -> dict[int, Fetched]:
        await self.go.wait()
        self.queries += 1
        return await super()._found(batch)


async def partial_of(house: House, most: int = 1_000) -> tuple[KeyDirectory, Counted]:
    """A directory in part, on the same database."""
    missing = Counted(house)
    directory = a_directory(missing, most)
    directory.start_at(await load_states(house.url, directory))
    return directory, missing


async def test_key_that_was_not_there_is_found_as_soon_as_it_is_issued(database_url: str) -> None:
    async with opened(database_url) as house:
        account = await house.account()
        directory, _ = await partial_of(house)
        following = asyncio.create_task(directory.run(house.store.follow(directory.position)))
        issued = await house.key(account)
        digests = DIGESTS.candidates(issued.secret)
        assert await directory.catch_up(house.directory.position, 5)
        assert directory.partial
        assert directory.find(digests) is None
        assert await directory.fetch(DIGESTS.candidates("another")) is None
        assert await directory.fetch(digests) == issued.key
        assert directory.find(digests) == issued.key
        assert directory.size() == {"keys": 1, "accounts": 1}
        command = AmendApiKey(name="renamed")
        await api_keys.amend(
            house.ports, context(owner(account)), issued.key.id, command, Quota(3, "day")
        )
        await api_keys.revoke(house.ports, context(owner(account)), issued.key.id)
        assert await directory.catch_up(house.directory.position, 5)
        assert directory.key(issued.key.id) == house.directory.key(issued.key.id)
        rules = directory.allowances(issued.key.id)
        assert rules == house.directory.allowances(issued.key.id)
        assert [each.limit for each in rules] == [3]
        following.cancel()
        await asyncio.wait([following])


async def test_those_who_wait_share_a_query_and_too_many_are_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(database_url) as house:
        account = await house.account()
        issued = [await house.key(account, quota=Quota(3, "day")) for _ in range(3)]
        directory, missing = await partial_of(house)
        missing.go.clear()
        asked = [DIGESTS.candidates(each.secret) for each in issued] * 20
        asked += [[os.urandom(32)] for _ in range(40)]
        first = asyncio.create_task(directory.fetch([os.urandom(32)]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(directory.fetch(each)) for each in asked]
        await asyncio.sleep(0)
        monkeypatch.setattr(missing_keys, "MOST_WAITING", 100)
        with pytest.raises(StoreUnavailable):
            await directory.fetch([os.urandom(32)])
        missing.go.set()
        found = await asyncio.gather(*waiting)
        assert await first is None
        assert found[:60] == [each.key for each in issued] * 20
        assert found[60:] == [None] * 40
        assert missing.queries == 2
        assert [each.limit for each in directory.allowances(issued[0].key.id)] == [3]


async def test_rows_that_commands_write_are_what_a_start_reads(database_url: str) -> None:
    async with opened(database_url) as house:
        account = await house.account()
        one, other = await house.key(account, quota=Quota(3, "day")), await house.key(account)
        rotated, _ = await rotate(house.ports, context(owner(account)), one.key.id, 60)
        with psycopg.connect(database_url) as connection:
            connection.execute("SET search_path = tollhouse")
            packed = connection.execute(
                "SELECT stream_id, id, digest, previous, body, state, s.noun "
                "FROM packed_states JOIN states AS s USING (stream_id) WHERE body IS NOT NULL"
            ).fetchall()
            decoders = {"account": Account, "api_key": ApiKey, "allowance": Allowance}
            for _, *columns, state, noun in packed:
                form = pack(msgspec.json.decode(state, type=decoders[noun]))
                assert form is not None
                assert columns == [form.id, form.digest, form.previous, form.body]
            assert len(packed) == 4
            # An earlier version of this program knows of no packed form.
            paused = msgspec.structs.replace(other.key, enabled=False)
            connection.execute(
                "UPDATE states SET state = %s, version = version + 1 WHERE stream_id = %s",
                (msgspec.json.encode(paused), other.key.id),
            )
        loaded = a_directory()
        await load_states(database_url, loaded)
        assert loaded.key(other.key.id) == paused
        assert loaded.find(DIGESTS.candidates(other.secret)) == paused
        for secret in (one.secret, rotated.secret):
            assert loaded.find(DIGESTS.candidates(secret)) == house.directory.key(one.key.id)
        assert loaded.account(account.id) == account
        partial, _ = await partial_of(house)
        assert partial.account(account.id) == account
        assert partial.size() == {"keys": 0, "accounts": 1}
        assert await partial.fetch(DIGESTS.candidates(one.secret)) == rotated.key
        assert partial.key(other.key.id) is None
        await partial.hold([one.key.id, other.key.id, account.id, "key_of_nobody"])
        assert partial.key(other.key.id) == paused
        assert [each.limit for each in partial.allowances(one.key.id)] == [3]
