"""Keeps followers running: whatever ends one, it is taken up again from its checkpoint."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import psycopg
import structlog

from application.errors import StoreUnavailable
from infra.followers.hold import Fenced, Hold, Log, Poison

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
POISON_PAUSE_SECONDS = 15.0
WELL_AFTER_SECONDS = 10.0


class Job(Protocol):
    """What follows a log. Its name is that of its row in `followers`."""

    @property
    def name(self) -> str: ...

    @property
    def log(self) -> Log: ...

    async def run(self, hold: Hold) -> None:
        """Follow for ever, from `hold.position`. Raises when it can't; Poison when an event
        is to blame. It is then run again with a new hold, and begins from the checkpoint."""
        ...


Take = Callable[[str, Log], AbstractAsyncContextManager[Hold]]


async def keep(job: Job, take: Take) -> None:
    """Run this job until cancelled. Nothing that it raises gets out, and nothing is skipped.

    On a poison event it pauses and tries again: another process may know the event, or
    somebody may have mended it. `followers` and the log say where it stands meanwhile.
    """
    pause = FIRST_PAUSE_SECONDS
    while True:
        began = time.monotonic()
        try:
            async with take(job.name, job.log) as hold:
                began = time.monotonic()  # waiting for the lock is not running well
                await _run(job, hold)
        except Poison:
            pause = POISON_PAUSE_SECONDS
        except (Fenced, StoreUnavailable, psycopg.OperationalError, psycopg.InterfaceError) as e:
            log.warning("follower interrupted", follower=job.name, problem=str(e).strip())
            pause = _next(pause, began)
        except Exception:
            log.exception("follower failed", follower=job.name)
            pause = _next(pause, began)
        await asyncio.sleep(pause)


async def _run(job: Job, hold: Hold) -> None:
    try:
        await job.run(hold)
    except Poison as poison:
        # At the checkpoint it is no event that is to blame, but the place that it writes to.
        event = poison.position > hold.position
        log.error(
            "follower stopped",
            follower=job.name,
            log=job.log,
            position=poison.position,
            problem=poison.problem,
            hint=f"tollhouse events show {poison.position} --log {job.log}" if event else None,
        )
        await hold.stop(poison)
        raise


def _next(pause: float, began: float) -> float:
    if time.monotonic() - began > WELL_AFTER_SECONDS:
        return FIRST_PAUSE_SECONDS
    return min(max(pause, FIRST_PAUSE_SECONDS) * 2, LONGEST_PAUSE_SECONDS)
