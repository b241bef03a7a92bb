"""Followers: one holds on at a time, rows and checkpoint move together, nothing is skipped."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import psycopg
import pytest

from domain.event import Recorded
from infra.followers import Fenced, Hold, Poison, keeping, taken
from infra.followers.hold import Step
from infra.followers.read_models import ReadModelJob
from infra.postgres.lookups import PostgresLookups
from tests.factories import an_id, an_issued, registered
from tests.infra.following import (
    MAPPER,
    MODELS,
    caught_up,
    checkpoint,
    connected,
    end_of,
    kept,
    rows,
    run,
    spoiled,
    taking,
    until,
    usage,
    written,
)
from tests.infra.proxy import COMMITTED, LossyProxy, lossy

pytestmark = pytest.mark.anyio

STOPPED = "SELECT stopped_at, problem FROM followers WHERE name = %s AND problem IS NOT NULL"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped follower looks again soon, and so does one that waits for the lock."""
    monkeypatch.setattr(keeping, "POISON_PAUSE_SECONDS", 0.2)
    monkeypatch.setattr("infra.followers.hold.RETRY_LOCK_SECONDS", 0.05)


@asynccontextmanager
async def held(url: str, name: str = "keys") -> AsyncIterator[Hold]:
    async with taken(url, name, MODELS[name].log, MAPPER) as hold:
        yield hold


def log_of(url: str, count: int) -> int:
    """So many more accounts, each with a key: two events each."""
    position = 0
    for _ in range(count):
        account_id = an_id("acct")
        key = an_issued(account_id)
        position = written(
            url, [(account_id, 1, registered(account_id)), (key.key_id, 1, key)], account_id
        )
    return position


async def first_step(hold: Hold, **options: Any) -> Step:
    async for step in hold.steps(**options):
        return step
    raise AssertionError("steps end never")


def count_of(url: str, table: str) -> int:
    return int(rows(url, f"SELECT count(*) FROM {table}")[0][0])


async def test_steps_are_pages_of_the_nouns_asked_for_up_to_the_end(database_url: str) -> None:
    end = log_of(database_url, 3)
    async with held(database_url) as hold:
        seen = []
        async for step in hold.steps(page=2, nouns=("api_key",)):
            seen.append((len(step.events), step.position, step.at_end))
            if step.at_end:
                break
    assert seen == [(1, 2, False), (1, 4, False), (1, end, False), (0, end, True)]


async def test_a_page_ends_before_it_weighs_too_much_but_holds_one_event_at_least(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = [("key_1", "VALID", 1, 1)] * 200
    written(database_url, [usage("usage_a", version, verdicts) for version in range(1, 6)])
    weight = rows(database_url, "SELECT octet_length(state) FROM usage LIMIT 1")[0][0]
    async with held(database_url, "key_uses") as hold:
        for limit, pages in ((1, [1] * 5), (weight + 1, [2, 2, 1]), (10 * weight, [5])):
            monkeypatch.setattr("infra.followers.hold.MAX_PAGE_BYTES", limit)
            seen = []
            async for step in hold.steps(after=0):
                seen.append(len(step.events))
                if step.at_end:
                    break
            assert [each for each in seen if each] == pages


async def test_what_is_written_and_the_checkpoint_are_one_transaction(database_url: str) -> None:
    log_of(database_url, 1)
    async with held(database_url) as hold:
        with pytest.raises(RuntimeError, match="halfway"):
            async with hold.advancing(2) as connection:
                await connection.execute("INSERT INTO claims VALUES ('k', 'd', 'a')")
                raise RuntimeError("halfway")
        assert (hold.position, checkpoint(database_url, "keys")) == (0, 0)
        assert count_of(database_url, "claims") == 0
        async with hold.advancing(2) as connection:
            await connection.execute("INSERT INTO claims VALUES ('k', 'd', 'a')")
        assert (hold.position, checkpoint(database_url, "keys")) == (2, 2)
        assert count_of(database_url, "claims") == 1


async def test_a_second_holder_waits_until_the_first_has_gone(database_url: str) -> None:
    order = []

    async def second() -> None:
        async with held(database_url) as hold:
            order.append(("second", hold.position))

    async with held(database_url) as hold:
        waiting = asyncio.create_task(second())
        done, _ = await asyncio.wait([waiting], timeout=0.5)
        assert not done
        await hold.advance(7)
        order.append(("first", hold.position))
    await asyncio.wait_for(waiting, 30)
    assert order == [("first", 7), ("second", 7)]


async def test_of_two_processes_one_advances_and_the_other_takes_over(database_url: str) -> None:
    holders = "SELECT DISTINCT holder FROM followers WHERE name = 'keys'"
    job = ReadModelJob(MODELS["keys"])
    async with kept(database_url, job):
        log_of(database_url, 1)
        await caught_up(database_url, ["keys"])
        first = rows(database_url, holders)
        async with kept(database_url, ReadModelJob(MODELS["keys"])):
            for _ in range(5):
                log_of(database_url, 4)
                await caught_up(database_url, ["keys"])
                assert rows(database_url, holders) == first
            run(
                database_url,
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
                "AND granted AND database = (SELECT oid FROM pg_database "
                "WHERE datname = current_database())",
            )
            log_of(database_url, 4)
            await caught_up(database_url, ["keys"])
    assert count_of(database_url, "key_list") == 25


async def test_a_holder_whose_session_was_ended_writes_nothing_more(database_url: str) -> None:
    async with held(database_url) as hold:
        run(
            database_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        with pytest.raises(psycopg.OperationalError):
            await hold.advance(3)
    assert checkpoint(database_url, "keys") == 0


async def test_a_zombie_writes_nothing_after_another_took_over(database_url: str) -> None:
    async with held(database_url) as zombie:
        # As if the server had ended its session, and it had not heard of it.
        await zombie._connection.execute("SELECT pg_advisory_unlock_all()")
        async with held(database_url) as successor:
            with pytest.raises(Fenced):
                async with zombie.advancing(9) as connection:
                    await connection.execute("INSERT INTO claims VALUES ('k', 'd', 'a')")
            await successor.advance(5)
            with pytest.raises(Fenced):
                await zombie.advance(5)
            await zombie.stop(Poison(1, "it says"))
    assert checkpoint(database_url, "keys") == 5
    assert count_of(database_url, "claims") == 0
    assert rows(database_url, STOPPED, "keys") == []


async def test_who_takes_over_waits_for_the_last_batch_of_the_one_before(
    database_url: str,
) -> None:
    async def successor() -> int:
        async with held(database_url) as hold:
            return hold.position

    async with held(database_url) as zombie, zombie.advancing(4):
        await zombie._connection.execute("SELECT pg_advisory_unlock_all()")
        taking = asyncio.create_task(successor())
        done, _ = await asyncio.wait([taking], timeout=0.5)
        assert not done
    assert await asyncio.wait_for(taking, 30) == 4


async def test_a_lost_notify_costs_a_poll_and_nothing_else(database_url: str) -> None:
    async with kept(database_url, ReadModelJob(MODELS["keys"])):
        log_of(database_url, 1)  # written by SQL: nobody is notified
        await caught_up(database_url, ["keys"], 5)
    assert count_of(database_url, "key_list") == 1


async def test_followers_go_on_after_postgres_was_restarted(
    postgres_server: Any, database_url: str
) -> None:
    async with kept(database_url):
        log_of(database_url, 5)
        await caught_up(database_url)
        postgres_server.process.kill()
        await asyncio.sleep(0.5)  # long enough for every follower to have noticed
        postgres_server.restart()  # in this thread: the server dies with the one that starts it
        log_of(database_url, 5)
        await caught_up(database_url)
        assert count_of(database_url, "key_list") == 10
        assert count_of(database_url, "history") == 20


async def test_a_commit_whose_reply_was_lost_is_not_written_twice(database_url: str) -> None:
    with lossy(database_url) as proxy:
        await _count_through(proxy, database_url)
    assert rows(database_url, "SELECT verifications FROM key_uses") == [(3,)]


async def _count_through(proxy: LossyProxy, url: str) -> None:
    model = MODELS["key_uses"]
    written(url, [usage("usage_a", 1, [("key_1", "VALID", 1, 1)])])
    async with kept(proxy.url, ReadModelJob(model)):
        await caught_up(url, ["key_uses"])
        proxy.lose("cut", COMMITTED)
        written(url, [usage("usage_a", 2, [("key_1", "VALID", 1, 2)])])
        await until(lambda: proxy.lost == 1)
        written(url, [usage("usage_a", 3, [("key_1", "VALID", 1, 3)])])
        await caught_up(url, ["key_uses"])


@pytest.mark.parametrize(
    ("topic", "state", "problem"),
    [
        ("api_key.teleported.v1", b"{}", "unknown event type api_key.teleported.v1"),
        ("api_key.issued.v1", b"\x00\xff not JSON", "api_key.issued.v1 at "),
    ],
    ids=["unknown type", "damaged bytes"],
)
async def test_poison_stops_who_reads_it_says_where_and_goes_on_once_it_is_mended(
    database_url: str, topic: str, state: bytes, problem: str
) -> None:
    log_of(database_url, 3)
    poisoned = 4
    original = spoiled(database_url, poisoned, topic, state)
    async with kept(database_url):
        await until(
            lambda: rows(database_url, STOPPED, "keys") and rows(database_url, STOPPED, "history")
        )
        await caught_up(database_url, ["accounts", "key_uses"])
        for name in ("keys", "history"):
            ((stopped_at, said),) = rows(database_url, STOPPED, name)
            assert stopped_at == poisoned
            assert problem in said
            assert checkpoint(database_url, name) == poisoned - 1
        assert count_of(database_url, "key_list") == 1
        assert count_of(database_url, "account_list") == 3
        # It is tried again and again, and never skipped.
        log_of(database_url, 1)
        await asyncio.sleep(0.6)
        assert checkpoint(database_url, "keys") == poisoned - 1
        spoiled(database_url, poisoned, *original)
        await caught_up(database_url)
        assert rows(database_url, STOPPED, "keys") == []
        assert rows(database_url, STOPPED, "history") == []
    assert count_of(database_url, "key_list") == 4
    assert count_of(database_url, "history") == end_of(database_url, "decisions")


class Allergic:
    """A model that can't bear one position."""

    name = "keys"
    log: Literal["decisions"] = "decisions"
    nouns = ("api_key",)
    tables = ("key_list",)
    gather_seconds = 0.0

    def __init__(self, position: int) -> None:
        self.position: int | None = position

    async def apply(self, connection: psycopg.AsyncConnection, events: Sequence[Recorded]) -> None:
        if any(event.position == self.position for event in events):
            raise KeyError("a bug")
        await MODELS["keys"].apply(connection, events)


async def test_a_fault_in_a_batch_names_the_event_and_keeps_all_before_it(
    database_url: str,
) -> None:
    log_of(database_url, 5)
    model = Allergic(6)
    async with kept(database_url, ReadModelJob(model)):
        await until(lambda: rows(database_url, STOPPED, "keys"))
        ((stopped_at, said),) = rows(database_url, STOPPED, "keys")
        assert stopped_at == 6
        assert "KeyError: 'a bug'" in said
        assert checkpoint(database_url, "keys") == 4  # the one before that it wants
        assert count_of(database_url, "key_list") == 2
        model.position = None
        await caught_up(database_url, ["keys"])
    assert count_of(database_url, "key_list") == 5
    assert rows(database_url, STOPPED, "keys") == []


class Interrupted:
    """A job that fails in every way that says nothing about an event."""

    name = "keys"
    log: Literal["decisions"] = "decisions"

    def __init__(self) -> None:
        self.failures: Iterator[Exception] = iter(
            [RuntimeError("a bug"), psycopg.OperationalError("gone"), Fenced("keys")]
        )
        self.runs = 0

    async def run(self, hold: Hold) -> None:
        self.runs += 1
        for failure in self.failures:
            raise failure
        await hold.advance(hold.position + 1)
        await asyncio.Event().wait()


async def test_whatever_a_job_raises_it_is_run_again(database_url: str) -> None:
    job = Interrupted()
    async with kept(database_url, job):
        await until(lambda: checkpoint(database_url, "keys") == 1)
    assert job.runs == 4
    assert rows(database_url, STOPPED, "keys") == []


async def test_a_follower_says_that_it_is_there_and_saw_the_end(database_url: str) -> None:
    query = (
        "SELECT 1 FROM followers WHERE name = 'keys' AND seen_at > now() - interval '5 s' "
        "AND caught_up_at > now() - interval '5 s'"
    )
    assert rows(database_url, query) == []
    async with kept(database_url, ReadModelJob(MODELS["keys"])):
        await until(lambda: rows(database_url, query))


async def test_leaving_gives_the_lock_back_at_once(database_url: str) -> None:
    for _ in range(3):
        async with asyncio.timeout(30):
            async with held(database_url) as hold:
                await first_step(hold)
    with connected(database_url) as connection:
        free = connection.execute(
            "SELECT pg_try_advisory_lock(hashtextextended('follower ' || 'keys', 0))"
        ).fetchone()
    assert free == (True,)


async def test_an_alarm_ends_when_the_follower_gets_on_and_not_before(database_url: str) -> None:
    async with taking(database_url)("history", "decisions") as hold:
        await hold.stop(Poison(5, "bad bytes"))
        async with hold.advancing(hold.position):
            pass
        query = "SELECT stopped_at, problem FROM followers WHERE name = 'history'"
        assert rows(database_url, query) == [(5, "bad bytes")]
        async with hold.advancing(hold.position + 1):
            pass
        assert rows(database_url, query) == [(None, None)]


async def test_a_lake_whose_files_wait_for_their_place_is_behind(database_url: str) -> None:
    end = written(
        database_url, [usage("usage_1", n, [("key_1", "VALID", 1, 1)]) for n in (1, 2, 3)]
    )
    run(
        database_url,
        "INSERT INTO lake_files (path, kind, date, first_position, last_position, rows, bytes, "
        "sha256, written_at) VALUES ('x', 'usage', now(), 2, %s, 2, 1, '', "
        "now() - interval '2 minutes')",
        end,
    )
    run(
        database_url,
        "UPDATE followers SET position = %s, seen_at = now(), caught_up_at = now()",
        end,
    )
    lookups = PostgresLookups(database_url)
    await lookups.open()
    try:
        found = {each.name: each for each in await lookups.followers()}
    finally:
        await lookups.close()
    assert (found["lake_usage"].position, found["lake_usage"].behind) == (1, end - 1)
    assert found["lake_usage"].status == "behind"
    assert found["key_uses"].status == "ok"
