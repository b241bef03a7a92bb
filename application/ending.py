"""How tasks are ended: cancelled until they have ended."""

import asyncio

AGAIN_SECONDS = 0.5


async def ended(*tasks: "asyncio.Task[None]") -> None:
    """Cancel these tasks, and wait until all of them have ended, whatever they end with.

    A task is cancelled again and again: before Python 3.12 `asyncio.wait_for`, which libraries
    wait with, swallows a cancellation that comes together with its result (python/cpython#86296),
    and what runs for ever would then run on.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
