"""Commands over NATS when processes come and go: whoever asks gets an answer, or can tell."""

import asyncio
import os
import signal
from pathlib import Path

import nats
import pytest
from nats.errors import Error

from tests.api.nats_calling import Caller
from tests.faults.running import SERVICE_KEY, Up, issue_key
from tests.infra.publishing import until

LIMIT = 5_000


@pytest.mark.anyio
@pytest.mark.long
async def test_commands_outlive_their_processes(folder: Path) -> None:
    """Under load one serve process is asked to stop, one is killed, and NATS is killed. Who was
    answered by a process that stops in order was answered; what was answered valid was counted."""
    valid = lost = 0
    with Up(folder, SERVE_PROCESSES="2") as up:
        with up.client() as http:
            key = issue_key(http, quota={"limit": LIMIT, "period": "lifetime"})
        client = await nats.connect(
            up.facts["nats_caller_url"],
            inbox_prefix="_CALLER.caller",
            reconnect_time_wait=0.05,
            max_reconnect_attempts=-1,
            error_cb=_ignored,
        )
        caller = Caller(client, SERVICE_KEY, patience_seconds=3)
        ending = asyncio.Event()

        async def verify() -> None:
            nonlocal valid, lost
            while not ending.is_set():
                try:
                    reply = await caller.ask("keys.verify", key=key)
                except (Error, TimeoutError):
                    lost += 1
                    await asyncio.sleep(0.05)
                else:
                    valid += reply.json().get("valid") is True

        async def more(wanted: int) -> None:
            target = valid + wanted

            async def reached() -> bool:
                return valid >= target

            await until(reached)

        asking = [asyncio.create_task(verify()) for _ in range(16)]
        await more(100)
        first, second = up.facts["serve_pids"]
        os.kill(first, signal.SIGTERM)
        await until(lambda: _serving(up, 2, {first}))
        await more(200)
        assert lost == 0, "a process that is asked to stop answers what it took"

        os.kill(second, signal.SIGKILL)
        await more(200)

        [server] = [each for each in up.tree() if each.name() == "nats-server"]
        server.kill()
        await more(200)
        ending.set()
        await asyncio.gather(*asking)
        verdict = (await caller.ask("keys.verify", key=key, cost=0)).json()
        assert valid <= verdict["quotas"][0]["used"] <= valid + lost
        await client.close()


async def _serving(up: Up, count: int, gone: set[int]) -> bool:
    pids = set(up.facts["serve_pids"])
    return len(pids) == count and not pids & gone


async def _ignored(error: Exception) -> None:
    """What came of it is counted."""
