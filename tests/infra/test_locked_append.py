"""Appending what is decided under locks: one after the other, once, and on what is true then."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from application.errors import StoreUnavailable, VersionConflict
from application.ports import AnswerExists, Appended, CounterLock, Decided, Locked
from application.rows import AnswerRow, CreditCounterRow, Row, StateRow
from domain.accounts import PlanAssigned
from domain.event import NewEvent
from infra.event_mapper import EventMapper
from infra.event_store import PostgresEventStore
from infra.popo_store import PopoEventStore
from tests.factories import AT, a_vault, an_account, metadata
from tests.infra.following import connected, rows
from tests.infra.proxy import COMMITTED, lossy

pytestmark = pytest.mark.anyio

MOST = 2**62


class Clerk:
    """Appends an event and counts an entry; knows how often it was asked, and with what."""

    def __init__(self, store: PostgresEventStore, *names: str) -> None:
        self.store = store
        self.locks = sorted(CounterLock(_id(name), name, "acct_1", name) for name in names)
        self.seen: list[Sequence[Locked]] = []
        self.now: list[datetime] = []
        self.more: list[Row] = []

    def decide(self, locked: Sequence[Locked], now: datetime) -> Decided[int]:
        self.seen.append(locked)
        self.now.append(now)
        events, written = [], list(self.more)
        for lock, one in zip(self.locks, locked, strict=True):
            version, entry_no = one.version + 1, one.counter.entry_no + 1
            events.append(NewEvent(lock.stream, version, PlanAssigned(plan="x"), None))
            written.append(CreditCounterRow(lock.counter_id, entry_no, MOST, 1, entry_no))
            written.append(StateRow(lock.stream, "credit", None, version, an_account()))
        return Decided(events, written, len(self.seen))

    async def append(self, command_id: str | None = None) -> Appended[int]:
        return await self.store.append_locked(self.locks, self.decide, metadata(command_id))


def _id(name: str) -> int:
    return sum(map(ord, name))


def a_store(url: str) -> PostgresEventStore:
    return PostgresEventStore(url, "log1", a_vault(), EventMapper(), "decisions")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresEventStore]:
    store = a_store(database_url)
    yield store
    await store.close()


def counted(url: str) -> list[tuple[int, ...]]:
    return rows(url, "SELECT limit_amount, used, entry_no FROM counters ORDER BY counter_id")


async def test_a_row_that_is_not_there_is_made_and_decided_on(
    store: PostgresEventStore, database_url: str
) -> None:
    clerk = Clerk(store, "a", "b")
    before = datetime.now(UTC) - timedelta(seconds=1)
    made = await clerk.append()
    assert [(each.counter.used, each.version, each.state) for each in clerk.seen[0]] == [
        (0, 0, None)
    ] * 2
    assert made.result == 1
    assert counted(database_url) == [(1, 0, 1)] * 2
    [event] = await store.read("a")
    assert event.metadata.at == clerk.now[0]
    assert before < clerk.now[0] < before + timedelta(minutes=1)
    assert event.metadata.at != AT, "the database's clock, not the caller's"
    await clerk.append()
    assert [(each.version, each.counter.entry_no) for each in clerk.seen[1]] == [(1, 1)] * 2
    assert all(each.state is not None for each in clerk.seen[1])


async def test_many_at_once_decide_one_after_the_other(
    store: PostgresEventStore, database_url: str
) -> None:
    """Also when the row isn't there yet, in two processes, and with locks in common."""
    other = a_store(database_url)
    names = (("a",), ("a", "b"), ("b", "c"), ("c", "a"))
    clerks = [Clerk((store, other)[n % 2], *names[n % 4]) for n in range(24)]
    await asyncio.gather(*(clerk.append() for clerk in clerks))
    assert [len(clerk.seen) for clerk in clerks] == [1] * 24, "nobody had to try again"
    assert [row[2] for row in counted(database_url)] == [18, 12, 12]
    assert len(await store.read("a")) == 18
    await other.close()


async def test_it_waits_for_whoever_counts_and_sees_what_was_counted(
    store: PostgresEventStore, database_url: str
) -> None:
    clerk = Clerk(store, "a")
    await clerk.append()
    with connected(database_url) as connection:
        connection.autocommit = False
        connection.execute("UPDATE counters SET used = 1, entry_no = entry_no + 1")
        waiting = asyncio.create_task(clerk.append())
        while not rows(  # noqa: ASYNC110 - it is the server that waits
            database_url,
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND query LIKE '%%INSERT INTO counters%%' AND datname = current_database()",
        ):
            await asyncio.sleep(0.01)
        counting = datetime.now(UTC)
        connection.commit()
    await waiting
    [seen] = clerk.seen[1]
    assert (seen.counter.used, seen.counter.entry_no) == (1, 2)
    assert clerk.now[1] > counting - timedelta(milliseconds=100), "the clock is read under the lock"
    assert counted(database_url) == [(3, 1, 3)]


async def test_what_the_decision_raises_is_raised_and_nothing_is_written(
    store: PostgresEventStore, database_url: str
) -> None:
    class Refused(Exception):
        pass

    def refuse(locked: Sequence[Locked], now: datetime) -> Decided[None]:
        raise Refused

    clerk = Clerk(store, "a")
    with pytest.raises(Refused):
        await store.append_locked(clerk.locks, refuse, metadata())
    assert counted(database_url) == []
    await clerk.append()
    assert counted(database_url) == [(1, 0, 1)], "the connection is as good as new"


async def test_a_decision_without_events_writes_its_rows(
    store: PostgresEventStore, database_url: str
) -> None:
    clerk = Clerk(store, "a")

    def only_rows(locked: Sequence[Locked], now: datetime) -> Decided[str]:
        return Decided([], [CreditCounterRow(clerk.locks[0].counter_id, 7, MOST, 1, 7)], "done")

    appended = await store.append_locked(clerk.locks, only_rows, metadata())
    assert (appended.position, appended.result) == (None, "done")
    assert counted(database_url) == [(7, 0, 7)]
    assert rows(database_url, "SELECT 1 FROM decisions") == []


@pytest.mark.parametrize("loss", ["cut", "silence"])
async def test_a_lost_commit_reply_is_found_under_the_lock_and_not_decided_again(
    database_url: str, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when somebody else has decided in the meantime, on what the lost one had written."""
    monkeypatch.setattr("infra.event_store.GIVE_UP_SECONDS", 1.0)
    direct = a_store(database_url)
    with lossy(database_url) as proxy:
        store = a_store(proxy.url)
        try:
            clerk = Clerk(store, "a")
            await clerk.append()
            proxy.lose(loss, COMMITTED)  # type: ignore[arg-type]
            [mine, _] = await asyncio.gather(clerk.append("cmd_lost"), _after(direct, proxy))
            assert proxy.lost == 1
        finally:
            await store.close()
    assert len(clerk.seen) == 2, "decided once before the loss, and never again"
    assert mine.result == 2
    events = await direct.read("a")
    assert [each.metadata.command_id == "cmd_lost" for each in events] == [False, True, False]
    position = rows(
        database_url, "SELECT notification_id FROM decisions WHERE originator_version = 2"
    )
    assert mine.position == position[0][0]
    assert counted(database_url) == [(3, 0, 3)]
    await direct.close()


async def _after(store: PostgresEventStore, proxy: object) -> None:
    """Decide on the same counter as soon as the reply was lost."""
    while not proxy.lost:  # type: ignore[attr-defined]  # noqa: ASYNC110 - the proxy has threads
        await asyncio.sleep(0.001)
    await Clerk(store, "a").append()


async def test_a_request_that_never_arrived_is_decided_again(database_url: str) -> None:
    with lossy(database_url) as proxy:
        store = a_store(proxy.url)
        try:
            clerk = Clerk(store, "a")
            await clerk.append()
            proxy.lose("cut_request", b"COMMIT")
            again = await clerk.append()
            assert proxy.lost == 1
        finally:
            await store.close()
    assert again.result == 3
    assert counted(database_url) == [(2, 0, 2)]


async def test_conflicts_of_what_is_written_beside_are_told_apart(
    store: PostgresEventStore, database_url: str
) -> None:
    clerk = Clerk(store, "a")
    clerk.more = [AnswerRow(b"i", b"b", b"a", "a", 1)]
    await clerk.append()
    with pytest.raises(AnswerExists):
        await clerk.append()

    def too_late(locked: Sequence[Locked], now: datetime) -> Decided[None]:
        return Decided([NewEvent("a", 1, PlanAssigned(plan="x"), None)], [], None)

    with pytest.raises(VersionConflict):
        await store.append_locked(clerk.locks, too_late, metadata())
    assert counted(database_url) == [(1, 0, 1)]


async def test_a_row_that_stays_locked_is_not_waited_for_for_ever(
    store: PostgresEventStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.locked_append.LOCK_SECONDS", 0.2)
    monkeypatch.setattr("infra.event_store.GIVE_UP_SECONDS", 0.5)
    clerk = Clerk(store, "a")
    await clerk.append()
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT * FROM tollhouse.counters FOR UPDATE")
        with pytest.raises(StoreUnavailable):
            await clerk.append()
    await clerk.append()
    assert counted(database_url) == [(2, 0, 2)]


async def test_locks_come_in_one_order(store: PostgresEventStore) -> None:
    clerk = Clerk(store, "a", "b")
    clerk.locks.reverse()
    with pytest.raises(ValueError, match="order"):
        await clerk.append()


async def test_the_store_in_memory_says_that_it_has_no_counters() -> None:
    store = PopoEventStore("log1", a_vault(), EventMapper())
    assert not store.locks_counters
    with pytest.raises(NotImplementedError):
        await store.append_locked([], lambda locked, now: Decided([], [], None), metadata())
