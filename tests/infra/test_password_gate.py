"""The gate in front of argon2 (SECURITY 7): a flood of sign-ins waits or is told so, in processes
that give way to verification."""

import asyncio
import os
from collections.abc import AsyncIterator
from time import monotonic

import pytest

import infra.passwords
from application.errors import Overloaded
from infra.passwords import QUEUE, ArgonPasswords

pytestmark = pytest.mark.anyio

PERMITS = 2
IN_HAND = PERMITS + 1  # one waits in the hand of the workers, so that none of them idles


@pytest.fixture(scope="module")
async def passwords() -> AsyncIterator[ArgonPasswords]:
    passwords = ArgonPasswords(7168, 1, 1, permits=PERMITS)
    await passwords.hash("the workers have started")
    yield passwords
    passwords.close()


async def slow(passwords: ArgonPasswords, seconds: float) -> int:
    """Work of a known length in a worker, as hashing is; answers how nice the worker is."""
    return await passwords._work(nap, seconds)


def nap(seconds: float) -> int:
    import time

    time.sleep(seconds)
    return os.getpriority(os.PRIO_PROCESS, 0)


async def test_workers_give_way_to_everything_else(passwords: ArgonPasswords) -> None:
    assert await slow(passwords, 0) == 19


async def test_beyond_the_queue_there_is_an_answer_at_once(
    passwords: ArgonPasswords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infra.passwords, "PATIENCE_SECONDS", 60)  # for those in the queue
    working = [asyncio.create_task(slow(passwords, 0.3)) for _ in range(IN_HAND)]
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(slow(passwords, 0)) for _ in range(QUEUE)]
    await asyncio.sleep(0)
    began = monotonic()
    for _ in range(100):
        with pytest.raises(Overloaded) as refused:
            await passwords.hash("one too many")
    assert monotonic() - began < 0.25
    assert refused.value.retry_after_seconds > 0
    await asyncio.gather(*working, *waiting)
    assert await passwords.verify(await passwords.hash("x"), "x")


async def test_nobody_waits_longer_than_the_patience(
    passwords: ArgonPasswords, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert infra.passwords.PATIENCE_SECONDS == 2
    monkeypatch.setattr(infra.passwords, "PATIENCE_SECONDS", 0.2)
    working = [asyncio.create_task(slow(passwords, 0.6)) for _ in range(IN_HAND)]
    await asyncio.sleep(0)
    began = monotonic()
    with pytest.raises(Overloaded):
        await passwords.hash("one that waits")
    assert 0.19 < monotonic() - began < 0.6
    await asyncio.gather(*working)


async def test_work_that_nobody_waits_for_still_holds_its_permit(
    passwords: ArgonPasswords,
) -> None:
    """Or a client that hangs up again and again would have any number of hashes computed."""
    working = [asyncio.create_task(slow(passwords, 0.4)) for _ in range(IN_HAND)]
    await asyncio.sleep(0.05)
    for each in working:
        each.cancel()
    await asyncio.gather(*working, return_exceptions=True)
    began = monotonic()
    await slow(passwords, 0)
    assert monotonic() - began > 0.25


async def test_a_worker_that_is_killed_is_one_refusal_and_then_there_are_others(
    passwords: ArgonPasswords,
) -> None:
    with pytest.raises(Overloaded):
        await passwords._work(os._exit, 1)
    assert await passwords.verify(await passwords.hash("x"), "x")
