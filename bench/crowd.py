"""A crowd of clients that verify one key, and remember what they were answered."""

import asyncio
import random
import time

from bench.client import Reply, Verifying
from bench.ground import SERVICE_KEY

UNAVAILABLE_PAUSE_SECONDS = 0.05


class Crowd:
    """So many clients, each on a connection of its own, each asking again when answered."""

    def __init__(self, url: str, key: str, clients: int, position: str) -> None:
        self._key = key
        self._position = position
        self._clients = [Verifying(url, SERVICE_KEY) for _ in range(clients)]
        self._tasks: list[asyncio.Task[None]] = []
        self._pause = 0.0
        self._stopping = False
        self._counted_asked_at = 0.0
        self._counted = asyncio.Event()
        self.valid = self.denied = self.unavailable = self.broken = self.other = 0
        self.revived = 0
        self.denied_at: float | None = None

    @property
    def unanswered(self) -> int:
        """Questions that may have been counted without an answer that says so."""
        return self.broken + self.unavailable

    def start(self, pace: float) -> None:
        """Begin; each client asks at most `pace` times a second until the first denial."""
        self._pause = 1 / pace
        self._tasks = [asyncio.create_task(self._ask_on(client)) for client in self._clients]

    async def stop(self) -> None:
        """Let everybody finish the question that is out."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def until_denied(self, seconds: float) -> None:
        """Wait for the first denial, at full speed."""
        self._pause = 0.0
        deadline = time.monotonic() + seconds
        while self.denied_at is None:
            if time.monotonic() > deadline:
                raise TimeoutError("the limit was not reached")
            await asyncio.sleep(0.05)

    async def counting_again(self, since: float, seconds: float) -> float:
        """Seconds from then to the first counted answer to a question asked later.

        A denial counts, too: it is decided on the locked counter. Infinite if there is none.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._counted.clear()
            if self._counted_asked_at > since:
                return time.monotonic() - since
            try:
                async with asyncio.timeout(1):
                    await self._counted.wait()
            except TimeoutError:
                continue
        return float("inf")

    async def ask(self, times: int) -> int:
        """Ask so many times more, one after the other; how many were denied."""
        denied = 0
        for number in range(times):
            reply = await self._clients[number % len(self._clients)].verify(self._key)
            denied += reply.code == "USAGE_EXCEEDED"
        for client in self._clients:
            client.close()
        return denied

    async def _ask_on(self, client: Verifying) -> None:
        position = self._position
        while not self._stopping:
            asked_at = time.monotonic()
            try:
                reply = await client.verify(self._key, 1, position)
            except (OSError, EOFError, TimeoutError):
                self.broken += 1
                continue
            position = ""
            self._note(reply, asked_at)
            if reply.status == 503:
                await asyncio.sleep(UNAVAILABLE_PAUSE_SECONDS)
            elif self._pause:
                await asyncio.sleep(self._pause * random.uniform(0.5, 1.5))

    def _note(self, reply: Reply, asked_at: float) -> None:
        if reply.status == 503:
            self.unavailable += 1
            return
        if reply.valid:
            self.valid += 1
            if self.denied_at is not None and asked_at > self.denied_at:
                self.revived += 1
        elif reply.code == "USAGE_EXCEEDED":
            self.denied += 1
            self.denied_at = self.denied_at or time.monotonic()
        else:
            self.other += 1
            return
        self._counted_asked_at = asked_at
        self._counted.set()
