"""The gate in front of argon2 (SECURITY 7): a flood of sign-ins waits or is told so, in processes
that give way to verification."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import infra.passwords
from application.errors import Overloaded
from infra.passwords import QUEUE, ArgonPasswords
from tests.infra.following import until

pytestmark = pytest.mark.anyio

PERMITS = 2
IN_HAND = PERMITS + 1  # one waits in the hand of the workers, so that none of them idles


@pytest.fixture(scope="module")
async def passwords() -> AsyncIterator[ArgonPasswords]:
    passwords = ArgonPasswords(7168, 1, 1, permits=PERMITS)
    await passwords.hash("the workers have started")
    yield passwords
    passwords.close()


class Busy:
    """All permits in use, by work that goes on until it is released."""

    def __init__(self, passwords: ArgonPasswords, folder: Path) -> None:
        self._folder = folder
        self.work = [
            asyncio.create_task(passwords._work(work_until_released, str(folder)))
            for _ in range(IN_HAND)
        ]

    @property
    def working(self) -> bool:
        return not any(each.done() for each in self.work)

    async def release(self) -> None:
        (self._folder / "released").touch()
        await asyncio.gather(*self.work, return_exceptions=True)


@pytest.fixture
async def busy(passwords: ArgonPasswords, tmp_path: Path) -> AsyncIterator[Busy]:
    busy = Busy(passwords, tmp_path)
    await until(lambda: len(list(tmp_path.glob("*.begun"))) == PERMITS)
    yield busy
    await busy.release()


def work_until_released(folder: str) -> None:
    import time

    with open(f"{folder}/{os.getpid()}.begun", "w"):
        pass
    while not os.path.exists(f"{folder}/released"):
        time.sleep(0.01)


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


async def test_workers_give_way_to_everything_else(passwords: ArgonPasswords) -> None:
    assert await passwords._work(niceness) == 19


async def test_beyond_the_queue_there_is_an_answer_at_once(
    passwords: ArgonPasswords, busy: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infra.passwords, "PATIENCE_SECONDS", 60)  # for those in the queue
    waiting = [asyncio.create_task(passwords._work(niceness)) for _ in range(QUEUE)]
    await asyncio.sleep(0)
    for _ in range(100):
        with pytest.raises(Overloaded) as refused:
            await passwords.hash("one too many")
        assert refused.value.retry_after_seconds > 0
    assert busy.working
    assert not any(each.done() for each in waiting)
    await busy.release()
    await asyncio.gather(*waiting)
    assert await passwords.verify(await passwords.hash("x"), "x")


async def test_nobody_waits_longer_than_the_patience(
    passwords: ArgonPasswords, busy: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert infra.passwords.PATIENCE_SECONDS == 2
    monkeypatch.setattr(infra.passwords, "PATIENCE_SECONDS", 0.2)
    with pytest.raises(Overloaded):
        await passwords.hash("one that waits")
    assert busy.working


async def test_work_that_nobody_waits_for_still_holds_its_permit(
    passwords: ArgonPasswords, busy: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a client that hangs up again and again would have any number of hashes computed."""
    for each in busy.work:
        each.cancel()
    await asyncio.gather(*busy.work, return_exceptions=True)
    monkeypatch.setattr(infra.passwords, "PATIENCE_SECONDS", 0.2)
    with pytest.raises(Overloaded):
        await passwords._work(niceness)
    monkeypatch.setattr(infra.passwords, "PATIENCE_SECONDS", 60)
    waiting = asyncio.create_task(passwords._work(niceness))
    await busy.release()
    assert await waiting == 19


async def test_a_worker_that_is_killed_is_one_refusal_and_then_there_are_others(
    passwords: ArgonPasswords,
) -> None:
    with pytest.raises(Overloaded):
        await passwords._work(os._exit, 1)
    assert await passwords.verify(await passwords.hash("x"), "x")
