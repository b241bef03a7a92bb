"""What verification starts in the background, gathered: credits to be decided anew, and keys
from elsewhere that get our own digest."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from application.errors import StoreUnavailable

log = structlog.get_logger()

MOST_AT_ONCE = 200
MOST_REHASHING = 100


class Settling:
    """Settles accounts in groups: the next group forms while one is being decided."""

    def __init__(self, settle: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        self._settle = settle
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def settled(self, account_id: str) -> None:
        """Return once this account's credits were decided anew. Raises what that raised."""
        future = self._waiting.get(account_id)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._waiting[account_id] = future
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        # Who is cancelled leaves the others waiting for it, not cancelled with it.
        await asyncio.shield(future)

    async def _run(self) -> None:
        try:
            while self._waiting:
                group = dict(list(self._waiting.items())[:MOST_AT_ONCE])
                for account_id in group:
                    del self._waiting[account_id]
                await self._run_group(group)
        finally:
            self._task = None

    async def _run_group(self, group: dict[str, asyncio.Future[None]]) -> None:
        try:
            await self._settle(list(group))
        except Exception as error:
            if len(group) > 1 and not isinstance(error, StoreUnavailable):
                # It is one of them: the others don't pay for it.
                for account_id, future in group.items():
                    await self._run_group({account_id: future})
                return
            if not isinstance(error, StoreUnavailable):
                log.exception("credits can't be settled", accounts=list(group))
            for future in group.values():
                future.set_exception(StoreUnavailable(str(error)))
                future.exception()  # whoever waited may be gone: that is no unhandled error
        else:
            for future in group.values():
                future.set_result(None)


class Rehashing:
    """Rehashes each key once at a time, bounded; what is left out is done at its next use."""

    def __init__(self, rehash: Callable[[str, str], Awaitable[None]]) -> None:
        self._rehash = rehash
        self._running: dict[str, asyncio.Task[None]] = {}

    def begin(self, key_id: str, secret: str) -> None:
        """Start, unless it runs already or too many do."""
        if key_id in self._running or len(self._running) >= MOST_REHASHING:
            return
        self._running[key_id] = asyncio.create_task(self._run(key_id, secret))

    async def _run(self, key_id: str, secret: str) -> None:
        try:
            await self._rehash(key_id, secret)
        except Exception as error:
            log.warning("a key could not be rehashed", key_id=key_id, error=type(error).__name__)
        finally:
            del self._running[key_id]
