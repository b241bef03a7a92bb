"""A task that is ended has ended, even where a library loses its cancellation."""

import asyncio

import pytest

from application import ending
from application.ending import ended

pytestmark = pytest.mark.anyio


async def test_a_cancellation_that_is_lost_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "AGAIN_SECONDS", 0.01)
    lost = 0

    async def loses_two() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if lost == 2:
                    raise
                lost += 1  # as `wait_for` does when the result is there, too

    task = asyncio.create_task(loses_two())
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await ended(task)
    assert task.cancelled()
    assert lost == 2


async def test_what_ended_before_or_failed_is_no_trouble() -> None:
    async def fails() -> None:
        raise ValueError("of its own")

    failed = asyncio.create_task(fails())
    over = asyncio.create_task(asyncio.sleep(0))
    await asyncio.sleep(0.01)
    await ended(failed, over)
    await ended()
    assert failed.done()
    assert over.done()
