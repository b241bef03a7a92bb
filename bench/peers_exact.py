"""64 at once on a key with 50 left: how many does each server let through?"""

import asyncio

import msgspec

from bench.client import Reply, Verifying
from bench.ground import SERVICE_KEY, Server

AT_ONCE = 64
LEFT = 50


class AtOnce(msgspec.Struct, frozen=True):
    """How many of 64 were valid, for each key in turn."""

    case: str
    valid: list[int]
    broken: int

    @property
    def holds(self) -> bool:
        """Whether it was 50 every time."""
        return set(self.valid) == {LEFT}


async def at_once(case: str, server: Server, secrets: list[str]) -> AtOnce:
    """64 connections ask about one key in the same moment, then about the next."""
    clients = [Verifying(server.url, SERVICE_KEY) for _ in range(AT_ONCE)]
    valid, broken = [], 0
    for secret in secrets:
        # Every connection is open before, so that all of them ask in the same moment.
        await asyncio.gather(*(client.verify("nobody's") for client in clients))
        replies = await asyncio.gather(
            *(client.verify(secret) for client in clients), return_exceptions=True
        )
        valid.append(sum(isinstance(reply, Reply) and reply.valid for reply in replies))
        broken += sum(not isinstance(reply, Reply) for reply in replies)
    for client in clients:
        client.close()
    return AtOnce(case, valid, broken)
