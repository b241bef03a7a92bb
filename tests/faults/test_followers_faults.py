"""Read models equal a replay of their logs (I6) whatever became of who wrote them.

Faults 9 (what comes twice), 10 (killed in mid-batch, two at once) and 11 (poison).
"""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from infra.followers import keeping
from infra.followers.read_models import ReadModelJob
from tests.factories import an_id, an_issued, registered
from tests.faults.replayed import disagreements
from tests.faults.running import ROOT
from tests.infra.following import (
    MODELS,
    caught_up,
    checkpoint,
    followed,
    kept,
    rows,
    run,
    spoiled,
    until,
    usage,
    written,
)

pytestmark = pytest.mark.anyio

PAGE = 7


def started(url: str, names: Iterable[str], dies_at: int = 0) -> subprocess.Popen[bytes]:
    """A process that follows; `dies_at`: killed within that transaction, after its rows."""
    setting = f"followers.written:{dies_at}" if dies_at else ""
    program = [sys.executable, "-m", "tests.faults.following_process"]
    return subprocess.Popen([*program, url, str(PAGE), setting, *names], cwd=ROOT)


@contextmanager
def process(url: str, name: str, dies_at: int) -> Iterator[subprocess.Popen[bytes]]:
    """The same, ended in any case."""
    child = started(url, [name], dies_at)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def busy(url: str, version: int, accounts: int = 10) -> None:
    """More of everything: accounts, keys, and a flush for each account."""
    events = []
    flushes = []
    for number in range(accounts):
        account_id = an_id("acct")
        key = an_issued(account_id)
        events += [(account_id, 1, registered(account_id)), (key.key_id, 1, key)]
        verdicts = [(key.key_id, "VALID", 2, version), (key.key_id, "EXPIRED", 1, version)]
        flushes.append(usage(f"usage_{version}", number + 1, verdicts))
    written(url, events)
    written(url, flushes)


def once(url: str, keys: int) -> None:
    """Every key was used once, whatever happened."""
    found = rows(url, "SELECT verifications, denied, cost, count(*) FROM key_uses GROUP BY 1, 2, 3")
    assert found == [(1, 1, 2, keys)]
    assert rows(url, "SELECT count(*) FROM history") == [(2 * keys,)]


# One that folds states and one that adds up; the others by the same code, in the long run.
EACH_KIND = ("accounts", "key_uses")


@pytest.mark.parametrize(
    "name",
    [
        *EACH_KIND,
        *(pytest.param(each, marks=pytest.mark.long) for each in MODELS if each not in EACH_KIND),
    ],
)
async def test_killed_in_the_middle_of_a_batch_nothing_is_missing_and_nothing_twice(
    database_url: str, name: str
) -> None:
    busy(database_url, 1, 40)
    positions = [0]
    for dies_at in (1, 2, 1, 3):
        with process(database_url, name, dies_at) as child:
            assert await asyncio.to_thread(child.wait, 30) == -signal.SIGKILL
        positions.append(checkpoint(database_url, name))
    # The batch that it died in was undone, those before it were kept.
    assert positions[1] == positions[0]
    assert positions[2] > positions[1]
    assert positions[3] == positions[2]
    await followed(database_url)
    assert await disagreements(database_url) == []
    once(database_url, 40)


@pytest.mark.long
async def test_two_processes_killed_at_random_moments_while_events_come(
    database_url: str,
) -> None:
    seed = time.time_ns()
    chance = random.Random(seed)
    version = 0
    children: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(12):
            while len(children) < 2:
                children.append(started(database_url, MODELS))
            until_seconds = time.monotonic() + chance.uniform(0.2, 1.5)
            while time.monotonic() < until_seconds:
                version += 1
                busy(database_url, version, 5)
                await asyncio.sleep(0.02)
            victim = children.pop(chance.randrange(2))
            victim.kill()
            victim.wait()
        await caught_up(database_url, seconds=60)
    finally:
        for child in children:
            child.kill()
            child.wait()
    assert await disagreements(database_url) == [], f"seed {seed}"
    once(database_url, 5 * version)


@pytest.mark.parametrize("name", ["accounts", "keys", "history"])
async def test_what_comes_a_second_time_is_refused_and_counts_once(
    database_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "POISON_PAUSE_SECONDS", 0.2)
    busy(database_url, 1)
    await followed(database_url)
    end = checkpoint(database_url, name)
    table = MODELS[name].tables[0]
    before = rows(database_url, f"SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1")
    # As a checkpoint would be after a restore of one table from an older backup.
    run(database_url, "UPDATE followers SET position = 4 WHERE name = %s", name)
    async with kept(database_url, ReadModelJob(MODELS[name])):
        await until(
            lambda: rows(database_url, "SELECT 1 FROM followers WHERE stopped_at IS NOT NULL")
        )
        assert checkpoint(database_url, name) < end
        run(
            database_url,
            "UPDATE followers SET position = %s WHERE name = %s",
            end,
            name,
        )
        await until(
            lambda: rows(
                database_url, "SELECT 1 FROM followers WHERE caught_up_at > now() - interval '1 s'"
            )
        )
    assert rows(database_url, f"SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1") == before
    assert await disagreements(database_url) == []


async def test_poison_stops_who_reads_it_and_the_others_agree_with_a_replay(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "POISON_PAUSE_SECONDS", 0.2)
    busy(database_url, 1)
    original = spoiled(database_url, 6, "api_key.issued.v1", b'{"event":{"type":"api_key')
    async with kept(database_url):
        await caught_up(database_url, ["accounts", "key_uses"])
        await until(
            lambda: (
                rows(
                    database_url,
                    "SELECT count(*) FROM followers WHERE stopped_at = 6 AND problem IS NOT NULL",
                )
                == [(2,)]
            )
        )
        # Followers that are stopped agree up to where they stand.
        assert await disagreements(database_url) == []
        spoiled(database_url, 6, *original)
        await caught_up(database_url)
    assert await disagreements(database_url) == []
    once(database_url, 10)
