"""How soon a revoked key is refused by every process that was not asked to revoke it."""

import asyncio
import contextlib
import os
import time
from statistics import quantiles

import msgspec

from application.api_keys import revoke
from application.deciding import SYSTEM, Context
from bench.client import Verifying
from bench.ground import SERVICE_KEY, Ground, tollhouse
from bench.machine import Cores
from bench.seeding import SeededKey, seed
from domain.quotas import Quota
from house import opened

MOST_MS = 1_000.0


class Revocation(msgspec.Struct, frozen=True):
    """Milliseconds from the commit of a revocation to the first refusal, of each key and process.

    What was asked meanwhile is asked again at once, so a round trip is within each.
    """

    processes: int
    refused_after_ms: list[float]

    @property
    def holds(self) -> bool:
        """Whether none took longer than a second."""
        return max(self.refused_after_ms) < MOST_MS


async def measure(on: Ground, cores: Cores, processes: int, keys: int) -> Revocation:
    """Revoke so many keys, one after the other, while each process is asked about it."""
    everywhere = cores.server | cores.postgres | cores.load
    async with opened(on.settings, on.database_url, verifying=False) as house:
        made = await seed(house.ports, keys, 1, Quota(1_000_000, "lifetime"))
        position = f"{house.ports.store.log_id}:{made.position}"
        found: list[float] = []
        with contextlib.ExitStack() as stack:
            clients = [
                Verifying(stack.enter_context(tollhouse(on, everywhere, f"{n}")).url, SERVICE_KEY)
                for n in range(processes)
            ]
            for key in made.keys:
                for client in clients:
                    assert (await client.verify(key.secret, 1, position)).valid
                context = Context(principal=SYSTEM, command_id=f"bench-{os.urandom(8).hex()}")
                await revoke(house.ports, context, key.key_id)
                committed = time.monotonic()
                refused = await asyncio.gather(*(_refused(each, key) for each in clients))
                found += [1000 * (each - committed) for each in refused]
            for client in clients:
                client.close()
    return Revocation(processes, found)


async def _refused(client: Verifying, key: SeededKey) -> float:
    while (await client.verify(key.secret, 1)).code != "REVOKED":
        pass
    return time.monotonic()


def sentence(found: Revocation) -> str:
    """What was found, in words."""
    p50, p99 = (quantiles(found.refused_after_ms, n=100)[at] for at in (49, 98))
    return (
        f"{len(found.refused_after_ms)} refusals by {found.processes} processes: p50 {p50:.1f}, "
        f"p99 {p99:.1f}, most {max(found.refused_after_ms):.1f} ms after the commit"
    )
