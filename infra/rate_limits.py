"""Limits per address by the `limits` library, counted in this process, or in Redis or Valkey.

Counters of a sliding window: two numbers an address, whatever the limit, and no burst where one
minute meets the next. When the store that all processes share is away, each counts by itself:
limits are there to keep the server up, and must never be what takes it down.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter as Counting

from application.rate_limits import LimitName, RateStanding

MAX_COUNTERS = 50_000
PATIENCE_SECONDS = 0.25
RETRY_SECONDS = 2.0
# There is one more only after the moment that the library names, and its clock was read a little
# before ours: a moment in 3 seconds would else be told as 3, where it is 4.
ROUNDING_SECONDS = 0.1

T = TypeVar("T")

_log = structlog.get_logger()


class BoundedMemory(MemoryStorage):
    """Counters of the addresses that were seen last, in this process; older ones are forgotten.

    The library's own walks through every counter at every hit, and keeps one for everybody: with
    many addresses that would hold up all that this process does.
    """

    STORAGE_SCHEME = ["async+tollhouse-memory"]

    def __init__(
        self, most: int = MAX_COUNTERS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._most = most
        self._clock = clock
        self._counters: OrderedDict[str, _Counter] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counters)

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """Count so many more, unless that would be over the limit."""
        counter, into = self._counter(key, expiry)
        weighted = counter.previous * (1 - into / expiry) + counter.current
        if math.floor(weighted) + amount > limit:
            return False
        counter.current += amount
        return True

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """The count of the window before and of this one, each with its seconds left."""
        counter, into = self._counter(key, expiry)
        return counter.previous, expiry - into, counter.current, 2 * expiry - into

    def _counter(self, key: str, expiry: int) -> tuple["_Counter", float]:
        """The counter as it is now, and how many seconds its window is old."""
        number, into = divmod(self._clock(), expiry)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = _Counter(number)
        counter.turn_to(number)
        self._counters.move_to_end(key)
        self._forget(number)
        return counter, into

    def _forget(self, number: float) -> None:
        # Those at the front were asked for least lately. Two at a time: faster than they come.
        for _ in range(2):
            oldest = next(iter(self._counters.items()))
            if oldest[1].number >= number - 1 and len(self._counters) <= self._most:
                break
            del self._counters[oldest[0]]


class _Counter:
    __slots__ = ("current", "number", "previous")

    def __init__(self, number: float) -> None:
        self.number = number
        self.previous = 0
        self.current = 0

    def turn_to(self, number: float) -> None:
        if number > self.number:
            self.previous = self.current if number == self.number + 1 else 0
            self.current = 0
            self.number = number


class LimitsPerAddress:
    """Implements RateLimits: the same limit for each name and address, counted in `everybody`,
    the store that all processes share, if there is one, else in `own`. `disconnect` ends its
    connections."""

    def __init__(
        self,
        per_minute: int,
        own: MemoryStorage,
        everybody: Storage | None = None,
        disconnect: Callable[[], Awaitable[None]] | None = None,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._item = RateLimitItemPerMinute(per_minute)
        self._own = Counting(own)
        self._everybody = Counting(everybody) if everybody else None
        self._disconnect = disconnect
        self._away = False
        self._patience_seconds = patience_seconds
        self._retry_seconds = retry_seconds
        self._ask_again_at = 0.0

    async def hit(self, name: LimitName, who: str) -> RateStanding:
        """Count one more of `who`, if the limit permits it."""
        if (everybody := self._everybody) is not None:
            standing = await self._patiently(lambda: self._count(everybody, name, who))
            if standing is not None:
                return standing
        return await self._count(self._own, name, who)

    async def shared(self) -> bool:
        """Whether the count is where the settings want it."""
        if (everybody := self._everybody) is None:
            return True
        # Any key will do: what matters is that there is an answer.
        return await self._patiently(lambda: everybody.storage.get("health")) is not None

    async def close(self) -> None:
        """Close the connections to the shared store."""
        if self._disconnect is not None:
            await self._disconnect()

    async def _count(self, counting: Counting, name: LimitName, who: str) -> RateStanding:
        permitted = await counting.hit(self._item, name, who)
        stats = await counting.get_window_stats(self._item, name, who)
        until_more = stats.reset_time - time.time() + ROUNDING_SECONDS
        return RateStanding(
            limit=self._item.amount,
            window_seconds=self._item.get_expiry(),
            remaining=stats.remaining if permitted else 0,
            more_in_seconds=max(1, math.floor(until_more) + 1),
            exceeded=not permitted,
        )

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """What the shared store answers; None while it is away. Then one request every
        few seconds finds out whether it is back, and nobody else waits for it."""
        if self._away:
            if time.monotonic() < self._ask_again_at:
                return None
            self._ask_again_at = time.monotonic() + self._retry_seconds
        try:
            async with asyncio.timeout(self._patience_seconds):
                answer = await ask()
        except Exception as error:  # whatever it is: a request must not fail for it
            self._lose(error)
            return None
        if self._away:
            self._away = False
            _log.warning("limits per address are counted for all processes together again")
        return answer

    def _lose(self, error: Exception) -> None:
        self._ask_again_at = time.monotonic() + self._retry_seconds
        if not self._away:
            self._away = True
            _log.error(
                "limits per address are counted in each process alone: their store is away",
                error=f"{type(error).__name__}: {error}",
            )


def limits_per_address(per_minute: int, storage: str) -> LimitsPerAddress | None:
    """The limits as the settings want them; `per_minute` 0 is none at all."""
    if not per_minute:
        return None
    if storage == "memory":
        return LimitsPerAddress(per_minute, BoundedMemory())
    # Here, because the client is 6 MB of memory that few need.
    from infra.shared_rate_limits import SharedStorage

    everybody = SharedStorage(storage, patience_seconds=PATIENCE_SECONDS)
    return LimitsPerAddress(per_minute, BoundedMemory(), everybody, everybody.close)
