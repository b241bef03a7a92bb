"""Verification while 500 people sign in at once, beside verification alone."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import msgspec

from bench.ground import SERVICE_KEY, Ground, tollhouse
from bench.load import Measured, load
from bench.machine import Cores
from bench.speed import PATH

CLIENTS = 500
CONNECTIONS = 32
PAUSE_SECONDS = 1.0  # of a client that was answered, before it signs in again
ROUNDS = 3
SETTLE_SECONDS = 1.0
NOBODIES = [(f"nobody{n}@bench.example", "a wrong one, long") for n in range(CLIENTS)]


class Flood(msgspec.Struct, frozen=True):
    """The p99 of verifications in each round, idle and flooded; what the logins were answered."""

    idle_p99_ms: list[float]
    flood_p99_ms: list[float]
    idle_per_second: list[float]
    flood_per_second: list[float]
    logins: dict[str, int]

    @property
    def ratio(self) -> float:
        """How many times the idle p99 that of the flood is, in the median."""
        return median(self.flood_p99_ms) / median(self.idle_p99_ms)


def measure(
    on: Ground,
    keys: Path,
    cores: Cores,
    seconds: float,
    say: Callable[[str], None],
    people: Sequence[tuple[str, str]] = NOBODIES,
) -> Flood:
    """Idle and flooded in turns; `people` are the addresses and passwords of the crowd.

    The server may use all cores, as it may outside benchmarks.
    """
    idle, flooded, calm, rough = [], [], [], []
    logins: Counter[str] = Counter()
    everywhere = cores.server | cores.postgres | cores.load
    # As from 500 addresses, each below its own limit.
    unlimited = {**on.environment, "TOLLHOUSE_RATE_LIMIT_PER_MINUTE": "0"}
    with tollhouse(on._replace(environment=unlimited), everywhere, "serve flooded") as server:
        url = server.url + PATH
        load(url, keys, SERVICE_KEY, CONNECTIONS, 2, cores.load)
        for number in range(ROUNDS):
            say(f"flood: round {number + 1} of {ROUNDS}")
            alone = load(url, keys, SERVICE_KEY, CONNECTIONS, seconds, cores.load)
            found, answered = asyncio.run(_flooded(server.url, keys, cores, seconds, people))
            idle.append(alone.p99_us / 1000)
            calm.append(alone.per_second)
            flooded.append(found.p99_us / 1000)
            rough.append(found.per_second)
            logins += answered
    return Flood(idle, flooded, calm, rough, dict(logins))


async def _flooded(
    url: str, keys: Path, cores: Cores, seconds: float, people: Sequence[tuple[str, str]]
) -> tuple[Measured, Counter[str]]:
    answered: Counter[str] = Counter()
    crowd = [asyncio.create_task(_sign_in(url, *each, answered)) for each in people]
    try:
        await asyncio.sleep(SETTLE_SECONDS)
        measured = await asyncio.to_thread(
            load, url + PATH, keys, SERVICE_KEY, CONNECTIONS, seconds, cores.load
        )
    finally:
        for each in crowd:
            each.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)
    return measured, answered


async def _sign_in(url: str, email: str, password: str, answered: Counter[str]) -> None:
    """One person who signs in again and again, on a new connection each time."""
    parts = urlsplit(url)
    body = json.dumps({"email": email, "password": password})
    head = (
        "POST /v1/auth/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    while True:
        try:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write((head + body).encode())
            line = await reader.readline()
            writer.close()
            answered[line.split()[1].decode() if line else "broken"] += 1
        except OSError:
            answered["broken"] += 1
        await asyncio.sleep(PAUSE_SECONDS)
