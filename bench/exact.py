"""64 simultaneous verifications on a key with 50 left: exactly 50 are valid."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence

import msgspec

from bench.client import Reply, Verifying
from bench.counts import counts
from bench.ground import SERVICE_KEY, Ground, tollhouse
from bench.machine import Cores
from bench.seeding import seed
from domain.quotas import Quota
from house import opened

AT_ONCE = 64
LEFT = 50
TIMES = 20


class Exact(msgspec.Struct, frozen=True):
    """How many were valid each time, and whether the counters say the same."""

    processes: int
    valid: list[int]
    denied: list[int]
    counted: list[int]

    @property
    def holds(self) -> bool:
        """Whether it was 50 every time, the rest denied, and 50 counted."""
        return (
            set(self.valid) == {LEFT}
            and set(self.denied) == {AT_ONCE - LEFT}
            and set(self.counted) == {2 * LEFT}
        )


async def simultaneous(on: Ground, cores: Cores, processes: int) -> Exact:
    """Do it so many times, each with a new key of which 50 of 100 are used already."""
    async with opened(on.settings, on.database_url, verifying=False) as house:
        made = await seed(house.ports, TIMES, 1, Quota(2 * LEFT, "lifetime"))
        position = f"{house.ports.store.log_id}:{made.position}"
    everywhere = cores.server | cores.postgres | cores.load
    with contextlib.ExitStack() as stack:
        urls = [
            stack.enter_context(tollhouse(on, everywhere, f"exact {processes} {number}")).url
            for number in range(processes)
        ]
        clients = [Verifying(urls[n % processes], SERVICE_KEY) for n in range(AT_ONCE)]
        codes = []
        for key in made.keys:
            first = await clients[0].verify(key.secret, LEFT, position)
            assert first.valid, first
            codes.append(await _at_once(clients, key.secret, position))
        for client in clients:
            client.close()
    after = counts(on.database_url)
    return Exact(
        processes=processes,
        valid=[each["VALID"] for each in codes],
        denied=[each["USAGE_EXCEEDED"] for each in codes],
        counted=[after.used[key.counter_id] for key in made.keys],
    )


async def _at_once(clients: Sequence[Verifying], secret: str, position: str) -> Counter[str]:
    # Every connection is open before, so that all of them ask in the same moment.
    await asyncio.gather(*(client.verify("nobody's", 0) for client in clients))
    replies: list[Reply] = await asyncio.gather(
        *(client.verify(secret, 1, position) for client in clients)
    )
    return Counter(reply.code for reply in replies)
