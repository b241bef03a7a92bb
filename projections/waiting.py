"""Waiting for a position of the log, among many who do, on one event loop."""

import asyncio
from heapq import heapify, heappop, heappush
from itertools import count


class Waiting:
    """Who waits for which position, the lowest first."""

    def __init__(self) -> None:
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._tickets = count()

    def reached(self, position: int) -> None:
        """Everything up to here is applied: let those go on who waited for it."""
        while self._waiters and self._waiters[0][0] <= position:
            _, _, reached = heappop(self._waiters)
            if not reached.done():
                reached.set_result(None)

    async def until(self, position: int, patience_seconds: float, most: int) -> bool:
        """Wait until this position is reached; False if it takes longer, or if so many wait
        already."""
        if len(self._waiters) >= most:
            self._waiters = [each for each in self._waiters if not each[2].done()]
            if len(self._waiters) >= most:
                return False
            heapify(self._waiters)
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._waiters, (position, next(self._tickets), reached))
        try:
            async with asyncio.timeout(patience_seconds):
                await reached
        except TimeoutError:
            return False  # what is cancelled leaves the heap when its turn comes, or room is short
        return True
