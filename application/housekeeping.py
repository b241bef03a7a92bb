"""Housekeeping: what time alone brings about. Accounts that are due are erased, the ledger gets
what it lacks, and what has expired is deleted.

Every serve process does it. Whoever comes second finds it done: erasing is decided on the
account's stream, and deleting what is gone deletes nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from application.ending import ended
from application.erasing import erase_due, fill_ledger
from application.ports import Ports
from application.throttling import tell_locks

log = structlog.get_logger()

PAUSE_SECONDS = 5.0
PRUNE_EVERY_SECONDS = 300.0


@asynccontextmanager
async def housekeeping(ports: Ports, pause_seconds: float = PAUSE_SECONDS) -> AsyncIterator[None]:
    """Keep house beside what is done inside."""
    task = asyncio.create_task(keep_house(ports, pause_seconds))
    try:
        yield
    finally:
        await ended(task)


async def keep_house(ports: Ports, pause_seconds: float = PAUSE_SECONDS) -> None:
    """For ever."""
    steps = _steps(ports)
    while True:
        for step in steps:
            await step.when_due()
        await asyncio.sleep(pause_seconds)


class _Step:
    """One thing to do again and again. What fails is said once and tried again at the next
    round; the steps behind it are done all the same, for it may fail for good."""

    def __init__(
        self, name: str, does: Callable[[], Awaitable[object]], every_seconds: float = 0.0
    ) -> None:
        self._name = name
        self._does = does
        self._every_seconds = every_seconds
        self._done_at = float("-inf")
        self._trouble: str | None = None

    async def when_due(self) -> None:
        """Do it, if it is time to. Raises nothing."""
        now = asyncio.get_running_loop().time()
        if now - self._done_at < self._every_seconds:
            return
        try:
            await self._does()
        except Exception as error:
            trouble = str(error).strip()
            if trouble != self._trouble:
                log.warning("housekeeping stopped", step=self._name, problem=trouble)
            self._trouble = trouble
        else:
            self._done_at, self._trouble = now, None


def _steps(ports: Ports) -> list[_Step]:
    ledger_has = 0

    async def ledger() -> None:
        nonlocal ledger_has
        ledger_has = await fill_ledger(ports, ledger_has)

    def prune_throttles() -> Awaitable[int]:
        return ports.throttles.prune(ports.policy.throttles, ports.clock())

    return [
        _Step("erase what is due", lambda: erase_due(ports)),
        _Step("fill the ledger", ledger),
        _Step("sweep", lambda: ports.closings.sweep(ports.clock())),
        _Step("tell of locks", lambda: tell_locks(ports)),
        _Step("prune", lambda: ports.closings.prune(ports.clock()), PRUNE_EVERY_SECONDS),
        _Step("prune throttles", prune_throttles, PRUNE_EVERY_SECONDS),
    ]
