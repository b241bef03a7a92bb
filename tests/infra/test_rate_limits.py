"""Limits per address hold, in one process and over several, and never stand in the way."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from infra.rate_limits import (
    PATIENCE_SECONDS,
    BoundedMemory,
    LimitsPerAddress,
    limits_per_address,
)
from infra.shared_rate_limits import SharedStorage
from tests.exploring import examples
from tests.infra.redis_server import Store, redis_server

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.25

    def __call__(self) -> float:
        return self.now


def limits(per_minute: int, clock: Clock, most: int = 1000) -> LimitsPerAddress:
    return LimitsPerAddress(per_minute, BoundedMemory(most, clock))


async def permitted(limits: LimitsPerAddress, times: int, who: str = "192.0.2.1") -> int:
    return sum([not (await limits.hit("public", who)).exceeded for _ in range(times)])


async def test_a_limit_lets_so_many_through_and_no_more() -> None:
    limited = limits(5, Clock())
    seen = [await limited.hit("public", "192.0.2.1") for _ in range(7)]
    assert [each.remaining for each in seen] == [4, 3, 2, 1, 0, 0, 0]
    assert [each.exceeded for each in seen] == [False] * 5 + [True] * 2
    assert {(each.limit, each.window_seconds) for each in seen} == {(5, 60)}


async def test_addresses_and_limits_are_counted_apart() -> None:
    limited = limits(1, Clock())
    assert not (await limited.hit("public", "192.0.2.1")).exceeded
    assert not (await limited.hit("public", "192.0.2.2")).exceeded
    assert not (await limited.hit("failed", "192.0.2.1")).exceeded
    assert (await limited.hit("public", "192.0.2.1")).exceeded


async def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    clock = Clock()
    limited = limits(3, clock)
    assert await permitted(limited, 5) == 3
    clock.now -= 100
    assert await permitted(limited, 5) == 0


@given(
    per_minute=st.integers(1, 20),
    pauses=st.lists(st.floats(0.01, 90), min_size=1, max_size=40),
)
@example(per_minute=16, pauses=[1.0, 8.0])  # there is one more just after a whole second
@settings(max_examples=examples(40))
async def test_nobody_who_waits_as_told_is_refused_twice(
    per_minute: int, pauses: list[float]
) -> None:
    clock = Clock()
    limited = limits(per_minute, clock)
    for pause in pauses:
        clock.now += pause
        # A window of the clock never lets more than the limit through.
        assert await permitted(limited, per_minute + 1) <= per_minute
        standing = await limited.hit("public", "192.0.2.1")
        assert standing.exceeded
        clock.now += standing.more_in_seconds
        assert await permitted(limited, 1) == 1


async def test_memory_is_bounded_whoever_comes() -> None:
    clock = Clock()
    memory = BoundedMemory(100, clock)
    limited = LimitsPerAddress(3, memory)
    for number in range(1000):
        await limited.hit("public", f"2001:db8:0:{number:x}::/64")
        await limited.hit("public", "192.0.2.1")  # who stays is not forgotten
        assert len(memory) <= 100
    assert await permitted(limited, 1) == 0
    clock.now += 180
    for _ in range(60):
        await limited.hit("public", "192.0.2.1")
    assert len(memory) == 1  # what has run out goes, without anybody sweeping


async def test_a_hit_costs_no_more_when_there_are_many_addresses() -> None:
    memory = BoundedMemory()
    limited = LimitsPerAddress(60, memory)

    async def cost(times: int) -> float:
        began = time.process_time()
        for _ in range(times):
            await limited.hit("public", "192.0.2.1")
        return time.process_time() - began

    few = await cost(2000)
    for number in range(20_000):
        await limited.hit("public", f"2001:db8:0:{number:x}::/64")
    assert len(memory) == 20_001
    # The library's own memory takes thousands of times as long here.
    assert await cost(2000) < 20 * few


def test_no_limit_is_no_limit() -> None:
    assert limits_per_address(0, "memory") is None


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with redis_server() as store:
        yield store


@asynccontextmanager
async def shared(
    url: str, per_minute: int = 5, *, patience_seconds: float = 20, retry_seconds: float = 0
) -> AsyncIterator[LimitsPerAddress]:
    """As a serve process has them, but that it always looks whether the store is back, and has
    the patience that a busy machine may need."""
    everybody = SharedStorage(url, patience_seconds=patience_seconds)
    limited = LimitsPerAddress(
        per_minute,
        BoundedMemory(),
        everybody,
        everybody.close,
        patience_seconds=patience_seconds,
        retry_seconds=retry_seconds,
    )
    try:
        yield limited
    finally:
        await limited.close()


async def test_only_the_scheme_of_the_store_is_translated() -> None:
    """A service of compose files is often called valkey, and a password may have any word."""
    for url, host in (
        ("redis://valkey:6379", "valkey"),
        ("valkey://:valkey@valkey.example", "valkey.example"),
        ("valkeys://valkey", "valkey"),
    ):
        store = SharedStorage(url, patience_seconds=1)
        known = store._pool.connection_kwargs
        assert (known["host"], known.get("password")) == (host, "valkey" if "@" in url else None)
        await store.close()


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
async def test_processes_count_together_in_a_shared_store(store: Store, scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{store.port}"
    async with shared(url, 20) as one, shared(url, 20) as other:
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(each.hit("public", f"{scheme}-together"))
                for each in (one, other)
                for _ in range(30)
            ]
        assert sum(not each.result().exceeded for each in asked) == 20
        standing = await other.hit("public", f"{scheme}-together")
        assert (standing.remaining, standing.exceeded) == (0, True)
        assert 1 <= standing.more_in_seconds <= 61
        assert await one.shared()


async def test_without_the_shared_store_each_process_counts_alone_and_says_so() -> None:
    async with shared("redis://127.0.0.1:1") as limited:
        with capture_logs() as logs:
            assert await permitted(limited, 7) == 5
            assert not await limited.shared()
        alarms = [each for each in logs if each["log_level"] == "error"]
        assert len(alarms) == 1  # once, not once a request
        assert "counted in each process alone" in alarms[0]["event"]


async def test_a_store_that_hangs_holds_one_request_up_and_then_nobody(store: Store) -> None:
    url = f"redis://127.0.0.1:{store.port}"
    async with shared(url, patience_seconds=PATIENCE_SECONDS, retry_seconds=3600) as limited:
        assert await limited.shared()  # so that there is a connection
        os.kill(store.process.pid, signal.SIGSTOP)
        try:
            # Each a patience late, they would come back together after half a minute.
            async with asyncio.timeout(100 * PATIENCE_SECONDS):
                assert await permitted(limited, 100, "hangs") == 5
        finally:
            os.kill(store.process.pid, signal.SIGCONT)


async def test_the_shared_store_is_used_again_when_it_is_back(store: Store) -> None:
    async with shared(f"redis://127.0.0.1:{store.port}") as limited:
        assert await permitted(limited, 7, "back") == 5
        store.process.stop()
        try:
            assert not await limited.shared()
            assert await permitted(limited, 7, "back") == 5
        finally:
            store.start()
        with capture_logs() as logs:
            assert await limited.shared()
            assert await permitted(limited, 7, "back") == 5  # it came back empty
        assert [each["log_level"] for each in logs] == ["warning"]


async def test_connections_that_the_store_has_closed_are_no_outage(store: Store) -> None:
    async with shared(f"redis://127.0.0.1:{store.port}") as limited:
        assert await permitted(limited, 1, "restarted") == 1
        store.process.stop()
        store.start()
        with capture_logs() as logs:
            assert await permitted(limited, 7, "restarted") == 5
        assert logs == []
