"""What every event store promises, on both: real Postgres, and the library's memory."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Protocol

import psycopg
import pytest

from application.errors import StoreUnavailable, VersionConflict
from application.ports import AnswerExists, EventStore, Followed, Unreadable
from application.rows import (
    AnswerRow,
    ClaimRow,
    EntitlementRow,
    KeyDigestRow,
    Row,
    StateRow,
)
from domain.accounts import AccountSuspended, EmailVerified, PlanAssigned
from domain.api_keys import ApiKeyRevoked
from domain.errors import EntitlementExceeded, Taken
from domain.event import Event, NewEvent, Recorded
from infra.embedded import RunningPostgres
from infra.event_mapper import EventMapper
from infra.event_store import PostgresEventStore
from infra.popo_store import PopoEventStore
from infra.vault import MasterKeyVault
from tests.factories import a_key, a_vault, metadata, registered
from tests.infra.proxy import COMMITTED, lossy

pytestmark = pytest.mark.anyio

Store = PostgresEventStore | PopoEventStore


def postgres_store(url: str, vault: MasterKeyVault | None = None) -> PostgresEventStore:
    return PostgresEventStore(url, "log1", vault or a_vault(), EventMapper(), "decisions")


class Opens(Protocol):
    def __call__(self, vault: MasterKeyVault) -> Store: ...


@pytest.fixture(params=["postgres", "popo"])
async def open_store(request: pytest.FixtureRequest) -> AsyncIterator[Opens]:
    async with AsyncExitStack() as stack:

        def opens(vault: MasterKeyVault) -> Store:
            store: Store
            if request.param == "popo":
                store = PopoEventStore("log1", vault, EventMapper())
            else:
                url = request.getfixturevalue("database_url")
                store = postgres_store(url, vault)
            stack.push_async_callback(store.close)
            return store

        yield opens


@pytest.fixture
async def store(open_store: Opens) -> Store:
    return open_store(a_vault())


@pytest.fixture
async def postgres(database_url: str) -> AsyncIterator[PostgresEventStore]:
    store = postgres_store(database_url)
    yield store
    await store.close()


def new(stream: str, version: int, event: Event | None = None) -> NewEvent:
    return NewEvent(stream, version, event or PlanAssigned(plan=f"plan {version}"), None)


async def followed(
    store: EventStore, after: int, until: int | None = None
) -> list[Recorded | Unreadable]:
    """What a follower sees up to this position, or up to the end of the log."""
    found: list[Recorded | Unreadable] = []
    async with asyncio.timeout(20), aclosing(_steps(store, after)) as steps:
        async for step in steps:
            found += step.events
            if (until is None and step.at_end) or (until and found and found[-1].position >= until):
                return found
    raise AssertionError("following never ends")


def _steps(store: EventStore, after: int) -> AsyncGenerator[Followed, None]:
    steps = store.follow(after)
    assert isinstance(steps, AsyncGenerator)
    return steps


async def test_store_says_whether_it_writes_rows(store: Store) -> None:
    assert store.writes_rows == isinstance(store, PostgresEventStore)
    assert store.log_id == "log1"


async def test_what_was_appended_is_read_in_order(store: Store) -> None:
    events = [PlanAssigned(plan="pro"), AccountSuspended(), EmailVerified()]
    about = metadata()
    await store.append([new("a", n, event) for n, event in enumerate(events, 1)], about)
    found = await store.read("a")
    assert [each.event for each in found] == events
    assert [each.version for each in found] == [1, 2, 3]
    assert {each.metadata for each in found} == {about}
    assert {each.stream for each in found} == {"a"}


async def test_unknown_stream_is_empty(store: Store) -> None:
    assert await store.read("nobody") == []


async def test_positions_rise_with_every_append(store: Store) -> None:
    positions = [await store.append([new("a", n)], metadata()) for n in range(1, 4)]
    assert positions == sorted(set(positions))
    assert positions[0] > 0


@pytest.mark.parametrize("version", [1, 2], ids=["the first", "the last"])
async def test_stream_that_has_moved_on_is_a_conflict(store: Store, version: int) -> None:
    await store.append([new("a", 1), new("a", 2)], metadata())
    with pytest.raises(VersionConflict):
        await store.append([new("a", version)], metadata())
    assert len(await store.read("a")) == 2


async def test_several_streams_are_appended_at_once(store: Store) -> None:
    position = await store.append([new("a", 1), new("b", 1), new("b", 2)], metadata())
    log = await followed(store, 0)
    assert [(each.stream, each.version) for each in log] == [("a", 1), ("b", 1), ("b", 2)]
    assert log[-1].position == position


async def test_several_streams_are_appended_or_none(store: Store) -> None:
    await store.append([new("b", 1)], metadata())
    with pytest.raises(VersionConflict):
        await store.append([new("a", 1), new("b", 1), new("c", 1)], metadata())
    assert await store.read("a") == []
    assert await store.read("c") == []


async def test_one_of_many_at_once_wins_each_version(store: Store) -> None:
    async def append() -> str:
        try:
            await store.append([new("a", 1)], metadata())
        except VersionConflict:
            return "conflict"
        return "won"

    outcomes = await asyncio.gather(*(append() for _ in range(12)))
    assert sorted(outcomes) == ["conflict"] * 11 + ["won"]
    assert len(await store.read("a")) == 1


async def test_same_command_sent_again_is_answered_and_not_done_twice(store: Store) -> None:
    about = metadata("cmd_once")
    first = await store.append([new("a", 1), new("b", 1)], about)
    await store.append([new("c", 1)], metadata())
    assert await store.append([new("a", 1), new("b", 1)], about) == first
    assert len(await followed(store, 0)) == 3


async def test_personal_fields_are_none_unless_asked_for(store: Store, open_store: Opens) -> None:
    vault = a_vault()
    store = open_store(vault)
    row = vault.new_data_key("acct_1")
    await store.append([NewEvent("acct_1", 1, registered("acct_1"), "acct_1")], metadata(), [row])
    assert (await store.read("acct_1"))[0].event == registered("acct_1", email=None)
    (found,) = await store.read("acct_1", personal=True)
    assert found.event == registered("acct_1")
    assert found.account_id == "acct_1"
    (seen,) = await followed(store, 0)
    assert isinstance(seen, Recorded)
    assert seen.event == registered("acct_1", email=None)


async def test_first_event_is_sealed_whatever_the_vault_has_forgotten(open_store: Opens) -> None:
    writer = a_vault()
    row = a_vault().new_data_key("acct_1")  # as if it had been made long ago, and evicted
    store = open_store(writer)
    await store.append([NewEvent("acct_1", 1, registered("acct_1"), "acct_1")], metadata(), [row])
    (found,) = await store.read("acct_1", personal=True)
    assert found.event == registered("acct_1")


async def test_following_begins_after_the_position(store: Store) -> None:
    positions = [await store.append([new("a", n)], metadata()) for n in range(1, 6)]
    assert [each.position for each in await followed(store, 0)] == positions
    assert [each.position for each in await followed(store, positions[2])] == positions[3:]
    assert await followed(store, positions[-1]) == []


async def test_follower_at_the_end_hears_of_what_comes(store: Store) -> None:
    await store.append([new("a", 1)], metadata())

    async def later() -> int:
        await asyncio.sleep(0.05)
        return await store.append([new("a", 2)], metadata())

    task = asyncio.create_task(later())
    found = await followed(store, 0, until=2)
    assert [each.version for each in found] == [1, 2]
    assert found[-1].position == await task


async def test_follower_with_nothing_to_do_still_confirms_the_end(store: Store) -> None:
    asked = []
    async with asyncio.timeout(30), aclosing(_steps(store, 0)) as steps:
        async for step in steps:
            assert step.at_end
            asked.append(step.asked_at)
            if len(asked) == 3:
                break
    assert asked == sorted(set(asked))


async def test_many_pages_are_followed_without_a_gap(store: Store) -> None:
    count = 1_203  # more than two pages
    position = await store.append([new("a", n) for n in range(1, count + 1)], metadata())
    found = await followed(store, 0)
    assert [each.version for each in found] == list(range(1, count + 1))
    assert found[-1].position == position


async def test_follower_misses_nothing_of_concurrent_writers(
    store: Store, open_store: Opens, request: pytest.FixtureRequest
) -> None:
    stores = [store]
    if isinstance(store, PostgresEventStore):
        stores.append(open_store(a_vault()))  # another process, as far as the log can tell
    writers, each_writes = 8, 15

    async def write(number: int) -> list[int]:
        chosen = stores[number % len(stores)]
        return [
            await chosen.append([new(f"s{number}", n)], metadata())
            for n in range(1, each_writes + 1)
        ]

    async def watch() -> list[Recorded | Unreadable]:
        found: list[Recorded | Unreadable] = []
        async with asyncio.timeout(30), aclosing(_steps(store, 0)) as steps:
            async for step in steps:
                found += step.events
                if len(found) == writers * each_writes:
                    break
        return found

    watching = asyncio.create_task(watch())
    positions = await asyncio.gather(*(write(number) for number in range(writers)))
    seen = await watching
    assert [each.position for each in seen] == sorted(p for many in positions for p in many)
    for number in range(writers):
        versions = [each.version for each in seen if each.stream == f"s{number}"]
        assert versions == list(range(1, each_writes + 1))


# What only a store that writes rows promises.


async def test_taken_claim_is_told_apart_from_a_conflict(postgres: PostgresEventStore) -> None:
    mine = ClaimRow("email", b"d1", "acct_1")
    await postgres.append([new("acct_1", 1)], metadata(), [mine])
    with pytest.raises(Taken) as taken:
        await postgres.append([new("acct_2", 1)], metadata(), [ClaimRow("email", b"d1", "acct_2")])
    assert taken.value.kind == "email"
    with pytest.raises(VersionConflict):
        await postgres.append([new("acct_1", 1)], metadata(), [ClaimRow("email", b"d2", "acct_1")])
    assert await postgres.read("acct_2") == []


async def test_taken_claim_says_which_one(postgres: PostgresEventStore) -> None:
    await postgres.append([new("a", 1)], metadata(), [ClaimRow("username", b"u", "acct_1")])
    both: list[Row] = [ClaimRow("email", b"e", "acct_2"), ClaimRow("username", b"u", "acct_2")]
    with pytest.raises(Taken) as taken:
        await postgres.append([new("b", 1)], metadata(), both)
    assert taken.value.kind == "username"
    await postgres.append([new("c", 1)], metadata(), [ClaimRow("email", b"e", "acct_3")])


async def test_taken_key_digest_and_taken_answer_are_told_apart(
    postgres: PostgresEventStore,
) -> None:
    rows: list[Row] = [KeyDigestRow(b"k", "key_1"), AnswerRow(b"i", b"b", b"a", "a", 1)]
    await postgres.append([new("a", 1)], metadata(), rows)
    with pytest.raises(Taken) as taken:
        await postgres.append([new("b", 1)], metadata(), [KeyDigestRow(b"k", "key_2")])
    assert taken.value.kind == "key"
    with pytest.raises(AnswerExists):
        await postgres.append([new("b", 1)], metadata(), [AnswerRow(b"i", b"b", b"a", "b", 1)])


async def test_entitlement_is_exact_under_concurrency(postgres: PostgresEventStore) -> None:
    async def issue() -> str:
        key = a_key("acct_1")
        rows = [
            EntitlementRow("acct_1", "api_key", "keys", 3, "free"),
            StateRow(key.id, "api_key", "acct_1", 1, key),
        ]
        try:
            await postgres.append([new(key.id, 1)], metadata(), rows)
        except EntitlementExceeded as error:
            return f"{error.limit} {error.entitlement} on {error.plan}"
        return "issued"

    outcomes = await asyncio.gather(*(issue() for _ in range(10)))
    assert sorted(outcomes) == ["3 keys on free"] * 7 + ["issued"] * 3


async def test_connections_work_on_after_taken_claims(postgres: PostgresEventStore) -> None:
    """The library pipelines; a statement prepared in a failed pipeline poisoned connections."""
    await postgres.append([new("a", 1)], metadata(), [ClaimRow("email", b"d", "acct_1")])
    for number in range(20):
        with pytest.raises(Taken):
            await postgres.append(
                [new(f"b{number}", 1)], metadata(), [ClaimRow("email", b"d", "acct_2")]
            )
    rows: list[Row] = [ClaimRow("email", b"d2", "acct_2"), KeyDigestRow(b"k", "key_1")]
    position = await postgres.append([new("c", 1), new("d", 1)], metadata(), rows)
    assert [each.position for each in await followed(postgres, 0)][-1] == position
    with pytest.raises(VersionConflict):
        await postgres.append([new("c", 1)], metadata())
    assert await postgres.append([new("c", 2)], metadata()) > position


async def test_rows_are_written_with_the_events_or_not_at_all(
    postgres: PostgresEventStore, database_url: str
) -> None:
    await postgres.append([new("a", 1)], metadata())
    with pytest.raises(VersionConflict):
        await postgres.append([new("a", 1)], metadata(), [ClaimRow("email", b"d", "acct_1")])
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM tollhouse.claims").fetchone() == (0,)


async def test_commit_whose_reply_was_lost_is_looked_up(database_url: str) -> None:
    with lossy(database_url) as proxy:
        store = postgres_store(proxy.url)
        try:
            before = await store.append([new("a", 1)], metadata())
            proxy.lose("cut", COMMITTED)
            row = ClaimRow("email", b"d", "acct_1")
            position = await store.append([new("a", 2)], metadata("cmd_lost"), [row])
            assert proxy.lost == 1
            assert position > before
            (found,) = await followed(store, before)
            assert (found.position, found.version) == (position, 2)
        finally:
            await store.close()


async def test_append_that_never_arrived_is_sent_again(database_url: str) -> None:
    with lossy(database_url) as proxy:
        store = postgres_store(proxy.url)
        try:
            await store.append([new("a", 1)], metadata())
            proxy.lose("cut_request", b"COMMIT")
            await store.append([new("a", 2)], metadata())
            assert proxy.lost == 1
            assert [each.version for each in await followed(store, 0)] == [1, 2]
        finally:
            await store.close()


async def test_lost_reply_of_somebody_else_s_version_stays_a_conflict(database_url: str) -> None:
    with lossy(database_url) as proxy:
        store = postgres_store(proxy.url)
        try:
            await store.append([new("a", 1)], metadata())
            proxy.cut_all()
            with pytest.raises(VersionConflict):
                await store.append([new("a", 1)], metadata())
        finally:
            await store.close()


async def test_store_out_of_reach_is_unavailable_and_comes_back(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.event_store.GIVE_UP_SECONDS", 0.3)
    with lossy(database_url) as proxy:
        store = postgres_store(proxy.url)
        try:
            await store.append([new("a", 1)], metadata())
            proxy.refusing = True
            proxy.cut_all()
            async with asyncio.timeout(10):
                with pytest.raises(StoreUnavailable):
                    await store.append([new("a", 2)], metadata())
                with pytest.raises(StoreUnavailable):
                    await store.read("a")
            # Longer than the library's pool likes to sleep between its attempts by then.
            monkeypatch.setattr("infra.event_store.GIVE_UP_SECONDS", 3.0)
            await asyncio.sleep(1.5)
            proxy.refusing = False
            async with asyncio.timeout(30):
                await store.append([new("a", 2)], metadata())
        finally:
            await store.close()


async def test_follower_goes_on_when_the_server_falls_silent(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.postgres.following.STUCK_SECONDS", 0.3)
    direct = postgres_store(database_url)
    with lossy(database_url) as proxy:
        store = postgres_store(proxy.url)
        try:
            async with asyncio.timeout(30), aclosing(_steps(store, 0)) as steps:
                async for step in steps:
                    if not step.events and not proxy.lost:
                        proxy.lose("silence", b"SELECT 1\x00")
                        await direct.append([new("a", 1)], metadata())
                    if step.events:
                        break
            assert proxy.lost == 1
        finally:
            await store.close()
            await direct.close()


async def test_follower_survives_a_restart_of_postgres(
    postgres: PostgresEventStore, postgres_server: RunningPostgres
) -> None:
    await postgres.append([new("a", 1)], metadata())
    seen: list[int] = []

    async def watch() -> None:
        async with asyncio.timeout(30), aclosing(_steps(postgres, 0)) as steps:
            async for step in steps:
                seen.extend(each.version for each in step.events)
                if len(seen) == 3:
                    break

    watching = asyncio.create_task(watch())
    await postgres.append([new("a", 2)], metadata())
    postgres_server.restart()
    await postgres.append([new("a", 3)], metadata())
    await watching
    assert seen == [1, 2, 3]


async def test_event_that_can_t_be_read_is_followed_as_unreadable(
    postgres: PostgresEventStore, database_url: str
) -> None:
    await postgres.append([new("a", 1)], metadata())
    with psycopg.connect(database_url) as connection:
        insert = (
            "INSERT INTO tollhouse.decisions (originator_id, originator_version, topic, state) "
            "VALUES (%s, 1, %s, %s)"
        )
        connection.execute(insert, ("b", "account.enchanted.v1", b"{}"))
        connection.execute(insert, ("c", "account.suspended.v1", b"\xff\x00 garbage"))
    await postgres.append([new("a", 2, ApiKeyRevoked())], metadata())
    found = await followed(postgres, 0)
    assert [type(each) for each in found] == [Recorded, Unreadable, Unreadable, Recorded]
    assert [(each.stream, each.version) for each in found[1:3]] == [("b", 1), ("c", 1)]
