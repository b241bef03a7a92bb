"""Sign-ins a second beside what the cores can hash, and verification while 500 sign in at once.

Everybody here has an account and knows the password, and the throttles are as they are shipped:
what is measured is the whole way, from the counters of failures to the session in the log.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median
from urllib.parse import urlsplit

import msgspec
from argon2 import PasswordHasher, Type

from application.rows import PasswordRow
from bench import peers_flood
from bench.ground import Ground, tollhouse
from bench.machine import Cores, cpu_seconds, tree_cpu_seconds
from bench.peers_flood import Flood
from bench.seeding import Seeded, seed
from domain.quotas import Quota
from house import opened
from infra.settings import Settings

ACCOUNTS = 1_000
CLIENTS = 24
PASSWORD = "a password that everybody here has"
QUOTA = Quota(limit=1_000_000_000, period="lifetime")
SHIPPED = (
    "failed_logins_per_hour",
    "global_failed_logins_per_hour",
    "lockout_after",
    "second_factors_per_hour",
)
LEAST_SHARE = 0.9
MOST_RATIO = 2.0


class Logins(msgspec.Struct, frozen=True):
    """Hashes and sign-ins a second in each round; what was answered; verification beside them.

    `server_ms` and `postgres_ms`: processor time of the serve process and of Postgres for one
    sign-in; the hash itself is done by workers, and in neither.
    """

    hashes_per_second: list[float]
    logins_per_second: list[float]
    server_ms: float
    postgres_ms: float
    answered: dict[str, int]
    p50_ms: float
    p99_ms: float
    flood: Flood | None

    @property
    def share(self) -> float:
        """Of what the cores can hash, in the median of the rounds."""
        pairs = zip(self.logins_per_second, self.hashes_per_second, strict=True)
        return median(logins / hashes for logins, hashes in pairs)

    @property
    def holds(self) -> bool:
        """Whether both aims are reached."""
        right = set(self.answered) == {"200"}
        calm = self.flood is None or self.flood.ratio <= MOST_RATIO
        return right and self.share >= LEAST_SHARE and calm


def shipped(on: Ground, **more: str) -> Ground:
    """The same ground, its throttles as they are shipped. Only the limit of one address is off:
    everybody here comes from one."""
    defaults = Settings()
    given = {f"TOLLHOUSE_{name.upper()}": str(getattr(defaults, name)) for name in SHIPPED}
    return on._replace(environment={**on.environment, **given, **more})


async def seeded(on: Ground, accounts: int = ACCOUNTS) -> Seeded:
    """Accounts with a key each and all with one password; the address is `<id>@bench.example`."""
    async with opened(on.settings, on.database_url, verifying=False) as house:
        made = await seed(house.ports, accounts, 1, QUOTA)
        hash = await house.ports.passwords.hash(PASSWORD)
        rows = [PasswordRow(key.account_id, hash) for key in made.keys]
        await house.ports.lookups.write(rows)
        return made


def measure(
    on: Ground,
    people: Seeded,
    cores: Cores,
    rounds: int,
    seconds: float,
    say: Callable[[str], None],
    *,
    flood: bool,
) -> Logins:
    """Hashing alone and sign-ins in turns, on all cores; then verification, alone and flooded."""
    everywhere = cores.server | cores.postgres | cores.load
    names = [f"{key.account_id}@bench.example" for key in people.keys]
    answered: Counter[str] = Counter()
    hashes: list[float] = []
    logins: list[float] = []
    took: list[float] = []
    server_s = postgres_s = 0.0
    cost = (
        on.settings.argon2_memory_kib,
        on.settings.argon2_time,
        on.settings.argon2_parallelism,
    )
    with (
        ProcessPoolExecutor(len(everywhere), get_context("spawn"), _be_nice) as pool,
        tollhouse(shipped(on), everywhere, "serve sign-ins") as server,
    ):
        list(pool.map(_hash_for, [cost] * len(everywhere), [0.2] * len(everywhere)))
        asyncio.run(_sign_in_for(server.url, names, 1.0, Counter(), []))
        for number in range(rounds):
            count = len(everywhere)
            hashes.append(sum(pool.map(_hash_for, [cost] * count, [seconds] * count)))
            began, before = time.perf_counter(), answered["200"]
            used = [cpu_seconds(server.process.pid), tree_cpu_seconds(on.postgres_pid)]
            asyncio.run(_sign_in_for(server.url, names, seconds, answered, took))
            logins.append((answered["200"] - before) / (time.perf_counter() - began))
            server_s += cpu_seconds(server.process.pid) - used[0]
            postgres_s += tree_cpu_seconds(on.postgres_pid) - used[1]
            say(f"round {number + 1} of {rounds}: {hashes[-1]:.1f} hashes/s, {logins[-1]:.1f} in/s")
    took.sort()
    flooded = None
    if flood:
        keys = on.folder / "keys.txt"
        keys.write_text("".join(f"{key.secret}\n" for key in people.keys))
        crowd = [(name, PASSWORD) for name in names[: peers_flood.CLIENTS]]
        flooded = peers_flood.measure(shipped(on), keys, cores, seconds, say, crowd)
    return Logins(
        hashes,
        logins,
        server_s / answered["200"] * 1000,
        postgres_s / answered["200"] * 1000,
        dict(answered),
        took[len(took) // 2] * 1000,
        took[len(took) * 99 // 100] * 1000,
        flooded,
    )


def _be_nice() -> None:
    os.nice(19)


def _hash_for(cost: tuple[int, int, int], seconds: float) -> float:
    """Verify one password over and over in this process; how often a second."""
    memory_kib, time_cost, parallelism = cost
    hasher = PasswordHasher(
        time_cost=time_cost, memory_cost=memory_kib, parallelism=parallelism, type=Type.ID
    )
    hash = hasher.hash(PASSWORD)
    done, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        hasher.verify(hash, PASSWORD)
        done += 1
    return done / passed


async def _sign_in_for(
    url: str, names: list[str], seconds: float, answered: Counter[str], took: list[float]
) -> None:
    """So many clients sign in one after the other, each on one connection and with its own
    accounts: nobody is in twice at a time."""
    deadline = time.perf_counter() + seconds
    await asyncio.gather(
        *(
            _sign_in(url, names[number::CLIENTS], deadline, answered, took)
            for number in range(CLIENTS)
        )
    )


async def _sign_in(
    url: str, names: list[str], deadline: float, answered: Counter[str], took: list[float]
) -> None:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    number = 0
    while time.perf_counter() < deadline:
        body = json.dumps({"email": names[number % len(names)], "password": PASSWORD})
        number += 1
        began = time.perf_counter()
        writer.write(
            "POST /v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        took.append(time.perf_counter() - began)
        answered[head.split(b" ", 2)[1].decode()] += 1
    writer.close()
