"""How the parts of this process are: what health answers from."""

import asyncio
import time
from typing import Protocol

from api.http.health import Check, Checks, DirectoryCheck
from projections.key_directory import KeyDirectory

PATIENCE_SECONDS = 1.5


class Pinged(Protocol):
    """A database that can be asked whether it is there."""

    async def ping(self) -> None: ...


class Linked(Protocol):
    """A connection that looks after itself."""

    @property
    def connected(self) -> bool: ...


class ProcessProbe:
    """Implements HealthProbe for one serve process."""

    def __init__(
        self, directory: KeyDirectory, database: Pinged, nats: Linked, max_staleness_seconds: float
    ) -> None:
        self._directory = directory
        self._database = database
        self._nats = nats
        self._max_staleness = max_staleness_seconds

    async def checks(self) -> Checks:
        """How the parts are now; never raises, never takes longer than two seconds."""
        directory = self._directory
        fresh = directory.fresh(self._max_staleness)
        closed = directory.closed()
        detail = f"{len(closed)} streams closed by unreadable events" if closed else None
        return Checks(
            database=await self._ping(),
            event_log=Check("ok" if fresh else "down", detail=detail),
            nats=Check("ok" if self._nats.connected else "down"),
            directory=DirectoryCheck(
                status="ok" if fresh else "down",
                position=directory.position,
                staleness_ms=int((time.monotonic() - directory.confirmed_at) * 1000),
                **directory.size(),
            ),
        )

    async def _ping(self) -> Check:
        started_at = time.monotonic()
        asking = asyncio.ensure_future(self._database.ping())
        # Not cancelled when it is late: a driver that is cancelled first asks the silent server
        # to cancel, too.
        done, _ = await asyncio.wait({asking}, timeout=PATIENCE_SECONDS)
        asking.add_done_callback(_forget)
        if not done or asking.exception() is not None:
            return Check("down")
        return Check("ok", latency_ms=round((time.monotonic() - started_at) * 1000, 2))


def _forget(asked: asyncio.Future[None]) -> None:
    asked.exception()  # looked at, so that nobody is warned of it
