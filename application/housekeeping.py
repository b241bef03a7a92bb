"""Housekeeping: what time alone brings about. Accounts that are due are erased, the ledger gets
what it lacks, and what has expired is deleted.

Every serve process does it. Whoever comes second finds it done: erasing is decided on the
account's stream, and deleting what is gone deletes nothing.
"""

import asyncio
from collections.abc import AsyncIterator
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
    """For ever. What fails (the database may be away) is said once and tried again."""
    ledger_has, pruned_at, trouble = 0, float("-inf"), ""
    while True:
        try:
            await erase_due(ports)
            ledger_has = await fill_ledger(ports, ledger_has)
            await ports.closings.sweep(ports.clock())
            await tell_locks(ports)
            if asyncio.get_running_loop().time() - pruned_at > PRUNE_EVERY_SECONDS:
                await ports.closings.prune(ports.clock())
                await ports.throttles.prune(ports.policy.throttles, ports.clock())
                pruned_at = asyncio.get_running_loop().time()
            trouble = ""
        except Exception as error:
            if trouble != (trouble := str(error).strip()):
                log.warning("housekeeping stopped", problem=trouble)
        await asyncio.sleep(pause_seconds)
