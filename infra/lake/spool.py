"""The folder where one job's files wait, and the thread work that is done there."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_SECONDS = 1.5
"""How long the end of the process waits for a thread. A store that hangs would keep it for
minutes, and what a thread is killed at is done again."""


class Spool:
    """`folder` is of one job alone; whoever holds that follower may empty it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def work(self, blocking: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it in a thread. When cancelled, wait a moment for its end: a thread that still
        writes here should not meet the next one."""
        task = asyncio.ensure_future(asyncio.to_thread(blocking, *args, **kwargs))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task], timeout=PATIENCE_SECONDS)
            if task.done() and not task.cancelled():
                task.exception()
            raise
