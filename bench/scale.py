"""The key directory at scale: memory for each key, the time of a start, and cold keys."""

import asyncio
import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

import msgspec

from bench.client import Verifying
from bench.ground import SERVICE_KEY, environment, settings_of, temporary_folder
from bench.machine import cpu_seconds, pss_mib, tree, words
from bench.many_keys import copy_keys, disagreeing
from bench.seeding import SeededKey, seed
from bench.small import address, running
from domain.quotas import Quota
from house import opened
from infra.digests import PepperedDigests
from infra.embedded import start_postgres

KEYS_EACH = 10
QUOTA = Quota(limit=1_000_000, period="day")
MOST_BYTES = 300.0
MOST_SECONDS = 5.0
CONNECTIONS = 32
_PARTIAL = "TOLLHOUSE_DIRECTORY_MAX_KEYS"


class Asked(msgspec.Struct, frozen=True):
    """Verifications of keys at 32 connections; `first` of keys that nobody had asked about."""

    valid: int
    asked: int
    per_second: float
    p50_ms: float
    p99_ms: float


class Scale(msgspec.Struct, frozen=True):
    """What was found. Sizes are of the serve process: without keys, and with all of them at
    rest; starts are of the whole `up`, until it is ready, and the CPU seconds of serve in them.
    `partial` is the setting, or 0."""

    keys: int
    accounts: int
    partial: int
    seeding_seconds: float
    sampled: int
    disagreeing: int
    empty_mib: float
    full_mib: float
    used_mib: float
    start_seconds: list[float]
    start_cpu_seconds: list[float]
    first: Asked
    again: Asked
    unknown: Asked

    @property
    def bytes_per_key(self) -> float:
        """What a key takes, its rule and a tenth of an account included."""
        return (self.full_mib - self.empty_mib) * 1024 * 1024 / self.keys

    @property
    def holds(self) -> bool:
        """Whether what was aimed at is reached: size and start only if all are in memory."""
        right = not self.disagreeing and all(
            each.valid == each.asked for each in (self.first, self.again)
        )
        whole = self.bytes_per_key <= MOST_BYTES and median(self.start_seconds) <= MOST_SECONDS
        return right and not self.unknown.valid and (whole or self.partial > 0)


def measure(keys: int, partial: int, starts: int, asked: int, say: Callable[[str], None]) -> Scale:
    """Fill a database with so many keys, start on it so often, and ask about so many."""
    with temporary_folder() as folder:
        data = folder / "data"
        with running(data) as (process, _):
            model = asyncio.run(_model(data))
            empty = _serve_mib(process.pid)
        seconds, secrets, sampled, wrong = _filled(data, model, keys, asked)
        say(f"{keys:,} keys in {seconds:.0f} s; of {sampled} rows looked at {wrong} differ")
        times: list[float] = []
        cpu: list[float] = []
        given = {_PARTIAL: str(partial)} if partial else {}
        for number in range(1, starts + 1):
            with running(data, **given) as (process, start):
                times.append(start)
                cpu.append(cpu_seconds(_serve(process.pid)))
                full = _serve_mib(process.pid)
                say(f"start {number} of {starts}: {start:.2f} s, serve {full:.0f} MiB")
                if number == starts:
                    url = address(data, "http_url")
                    first = asyncio.run(_ask(url, secrets))
                    again = asyncio.run(_ask(url, secrets))
                    unknown = asyncio.run(_ask(url, [_made_up(each) for each in secrets]))
                    used = _serve_mib(process.pid)
    return Scale(
        keys=keys,
        accounts=keys // KEYS_EACH,
        partial=partial,
        seeding_seconds=seconds,
        sampled=sampled,
        disagreeing=wrong,
        empty_mib=empty,
        full_mib=full,
        used_mib=used,
        start_seconds=times,
        start_cpu_seconds=cpu,
        first=first,
        again=again,
        unknown=unknown,
    )


async def _model(data: Path) -> list[SeededKey]:
    """One account with its keys, made by commands."""
    settings = settings_of(environment(data))
    async with opened(settings, address(data, "database_url"), verifying=False) as house:
        return (await seed(house.ports, 1, KEYS_EACH, QUOTA)).keys


def _filled(
    data: Path, model: list[SeededKey], keys: int, asked: int
) -> tuple[float, list[str], int, int]:
    """Copy the model on the database alone; the seconds, known secrets, and what a sample says."""
    settings = settings_of(environment(data))
    digests = PepperedDigests(settings.key_pepper)
    postgres = start_postgres(data, print)
    try:
        began = time.monotonic()
        accounts = math.ceil(keys / KEYS_EACH)
        copied = copy_keys(postgres.url, model, QUOTA.period, digests, accounts, asked)
        seconds = time.monotonic() - began
        sampled, wrong = disagreeing(postgres.url, keys)
    finally:
        postgres.stop()
    return seconds, copied.secrets, sampled, wrong


async def _ask(url: str, secrets: list[str]) -> Asked:
    """Each of these once, in any order, over so many connections."""
    left = random.sample(secrets, len(secrets))
    times: list[float] = []
    valid = 0

    async def connection() -> None:
        nonlocal valid
        client = Verifying(url, SERVICE_KEY)
        while left:
            secret = left.pop()
            began = time.perf_counter()
            reply = await client.verify(secret)
            times.append(time.perf_counter() - began)
            valid += reply.valid
        client.close()

    began = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    seconds = time.perf_counter() - began
    cuts = quantiles(times, n=100)
    return Asked(valid, len(secrets), len(secrets) / seconds, cuts[49] * 1e3, cuts[98] * 1e3)


def _made_up(secret: str) -> str:
    """A key in a shape that isn't ours, so that its checksum doesn't give it away."""
    return f"sk-{secret[::-1].replace('_', '-')}"


def _serve(pid: int) -> int:
    """The serve process under this `up`."""
    return next(each for each in tree(pid) if "serve" in words(each))


def _serve_mib(pid: int) -> float:
    """What it holds when it has come to rest."""
    time.sleep(2)
    return pss_mib(_serve(pid))
