"""A crowd of clients that verify hot keys in turns, and remember what they were answered."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence

from bench.client import Reply, Verifying
from bench.ground import SERVICE_KEY
from bench.targets import OPERATION, Target

UNAVAILABLE_PAUSE_SECONDS = 0.05
SUPERSEDED = frozenset(("EXPIRED", "NOT_FOUND"))


class Tally:
    """What was answered about one hot key.

    `secrets` are those that work: two while a rotation's overlap lasts. `position` is the last
    change of the key that is known.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.secrets: tuple[str, ...] = (target.key.secret,)
        self.position = target.position
        self.valid_by_secret: Counter[str] = Counter()
        self.denied = self.unavailable = self.broken = self.superseded = self.revived = 0
        self.other: Counter[str] = Counter()
        self.denied_at: float | None = None

    @property
    def valid(self) -> int:
        """How often the key was answered to be valid, with whichever secret."""
        return self.valid_by_secret.total()

    @property
    def unanswered(self) -> int:
        """Questions that may have been counted without an answer that says so."""
        return self.broken + self.unavailable

    def note(self, secret: str, reply: Reply, asked_at: float) -> bool:
        """Remember an answer; whether it was decided on the locked counters."""
        if reply.status == 503:
            self.unavailable += 1
            return False
        if reply.valid:
            self.valid_by_secret[secret] += 1
            if self.denied_at is not None and asked_at > self.denied_at:
                self.revived += 1
        elif reply.code == self.target.denial:
            self.denied += 1
            self.denied_at = self.denied_at or time.monotonic()
        elif reply.code in SUPERSEDED and secret not in self.secrets:
            self.superseded += 1  # asked before the next rotation, answered after it
            return False
        else:
            self.other[f"{reply.status} {reply.code}"] += 1
            return False
        return True


class Crowd:
    """So many clients, each on a connection of its own, each asking again when answered."""

    def __init__(self, url: str, targets: Sequence[Target], clients: int) -> None:
        self.tallies = [Tally(target) for target in targets]
        self._clients = [Verifying(url, SERVICE_KEY) for _ in range(clients)]
        self._tasks: list[asyncio.Task[None]] = []
        self._pause = 0.0
        self._stopping = False
        self._counted_asked_at = 0.0
        self._counted = asyncio.Event()

    def total(self, name: str) -> int:
        """A count over all keys."""
        return sum(getattr(tally, name) for tally in self.tallies)

    def start(self, pace: float) -> None:
        """Begin; each client asks at most `pace` times a second until `until_denied`."""
        self._pause = 1 / pace
        self._tasks = [
            asyncio.create_task(self._ask_on(client, number))
            for number, client in enumerate(self._clients)
        ]

    async def stop(self) -> None:
        """Let everybody finish the question that is out."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def until_denied(self, seconds: float) -> None:
        """Wait until every key was denied, at full speed."""
        self._pause = 0.0
        deadline = time.monotonic() + seconds
        while any(tally.denied_at is None for tally in self.tallies):
            if time.monotonic() > deadline:
                raise TimeoutError("a limit was not reached")
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
        """Ask so many times more about each key, one after the other; how many were denied."""
        denied = 0
        for tally in self.tallies:
            for number in range(times):
                client = self._clients[number % len(self._clients)]
                secret = tally.secrets[number % len(tally.secrets)]
                reply = await client.verify(secret, 1, operation=OPERATION)
                denied += reply.code == tally.target.denial
        for client in self._clients:
            client.close()
        return denied

    async def _ask_on(self, client: Verifying, number: int) -> None:
        while not self._stopping:
            number += 1
            tally = self.tallies[number % len(self.tallies)]
            secret = random.choice(tally.secrets)
            asked_at = time.monotonic()
            try:
                reply = await client.verify(secret, 1, tally.position, OPERATION)
            except (OSError, EOFError, TimeoutError):
                tally.broken += 1
                continue
            if tally.note(secret, reply, asked_at):
                self._counted_asked_at = asked_at
                self._counted.set()
            if reply.status == 503:
                await asyncio.sleep(UNAVAILABLE_PAUSE_SECONDS)
            elif self._pause:
                await asyncio.sleep(self._pause * random.uniform(0.5, 1.5))
