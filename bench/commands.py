"""Clients that give commands while processes are killed: each is repeated until it is answered.

Every command has an Idempotency-Key of its own, so a repetition of one whose answer was lost does
nothing twice. What was answered must then be what the log has.
"""

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Mapping

import httpx

from bench.crowd import Tally
from bench.ground import SERVICE_KEY
from bench.targets import Target
from domain.credit_amounts import decimal

PAUSE_SECONDS = 0.1
OVERLAP_SECONDS = 3600
PATIENCE_SECONDS = 60


class Accounting:
    """What the clients of one account were told: in hundredths, by kind, and by hold."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.spent = 0
        self.captured: dict[str, int] = {}
        self.released: set[str] = set()
        self.refused = 0
        self.other: Counter[str] = Counter()


class Commands:
    """A connection that repeats a command until somebody answers it."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=url, timeout=10, headers={"Authorization": f"Bearer {SERVICE_KEY}"}
        )
        self.repeated = 0

    async def post(self, path: str, body: Mapping[str, object]) -> httpx.Response:
        """The answer, whichever process gave it. TimeoutError after a minute without one."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    answer = await self._http.post(path, json=body, headers=headers)
                except httpx.TransportError:
                    answer = None
                if answer is not None and answer.status_code not in (500, 502, 503, 504):
                    return answer
                self.repeated += 1
                await asyncio.sleep(PAUSE_SECONDS)

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()


class Spenders:
    """A few clients that hold, capture, release and spend the credits of the accounts."""

    def __init__(
        self, url: str, targets: list[Target], clients: int, chance: random.Random
    ) -> None:
        self.accounts = [Accounting(target) for target in targets]
        self.commands = Commands(url)
        self._chance = chance
        self._stopping = False
        self._tasks = [asyncio.create_task(self._go_on(number)) for number in range(clients)]

    async def stop(self) -> None:
        """Let everybody end what they began; no hold is left open."""
        self._stopping = True
        await asyncio.gather(*self._tasks)
        await self.commands.close()

    async def _go_on(self, number: int) -> None:
        while not self._stopping:
            number += 1
            account = self.accounts[number % len(self.accounts)]
            await (self._spend(account) if self._chance.random() < 0.4 else self._hold(account))
            await asyncio.sleep(PAUSE_SECONDS * self._chance.random())

    async def _spend(self, account: Accounting) -> None:
        amount = self._chance.randint(1, 99)
        body = {"account_id": account.target.key.account_id, "amount": decimal(amount)}
        if self._granted(account, await self.commands.post("/v1/credits/spend", body)):
            account.spent += amount

    async def _hold(self, account: Accounting) -> None:
        amount = self._chance.randint(10, 200)
        body: dict[str, object] = {
            "account_id": account.target.key.account_id,
            "amount": decimal(amount),
        }
        answer = await self.commands.post("/v1/credits/holds", body)
        if not self._granted(account, answer):
            return
        hold_id = answer.json()["id"]
        await asyncio.sleep(PAUSE_SECONDS * self._chance.random())
        if self._chance.random() < 0.4:
            answer = await self.commands.post(f"/v1/credits/holds/{hold_id}/release", {})
            if self._granted(account, answer):
                account.released.add(hold_id)
            return
        part = self._chance.randint(1, amount)
        body = {"amount": decimal(part)}
        answer = await self.commands.post(f"/v1/credits/holds/{hold_id}/capture", body)
        if self._granted(account, answer):
            account.captured[hold_id] = part

    def _granted(self, account: Accounting, answer: httpx.Response) -> bool:
        if answer.status_code < 300:
            return True
        code = answer.json().get("code", "")
        if code == "CREDITS_EXHAUSTED":
            account.refused += 1
        else:
            account.other[f"{answer.status_code} {code}"] += 1
        return False


class Rotator:
    """Rotates a hot key over and over, each time with an overlap that outlasts the run."""

    def __init__(self, url: str, tally: Tally, every_seconds: float) -> None:
        self.rotations = 0
        self.other: Counter[str] = Counter()
        self._commands = Commands(url)
        self._tally = tally
        self._every = every_seconds
        self._stopped = asyncio.Event()
        self._task = asyncio.create_task(self._go_on())

    async def stop(self) -> None:
        """Finish the rotation that is under way."""
        self._stopped.set()
        await self._task
        await self._commands.close()

    async def _go_on(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._every):
                    await self._stopped.wait()
                return
            except TimeoutError:
                await self._rotate()

    async def _rotate(self) -> None:
        tally = self._tally
        # The one before the present one ends with this rotation.
        tally.secrets = tally.secrets[-1:]
        answer = await self._commands.post(
            f"/v1/keys/{tally.target.key.key_id}/rotate", {"overlap_seconds": OVERLAP_SECONDS}
        )
        if answer.status_code != 200:
            self.other[f"{answer.status_code} {answer.text[:100]}"] += 1
            return
        tally.position = answer.headers["Tollhouse-Position"]
        tally.secrets = (*tally.secrets, answer.json()["key"])
        self.rotations += 1
