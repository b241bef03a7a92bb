"""Health tells a balancer the truth: live is not ready, and NATS is no reason to turn away."""

from collections.abc import Iterator

import httpx
import pytest
from msgspec.structs import replace

from api.http.health import Check
from tests.api.conftest import FixedProbe

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _restored(probe: FixedProbe) -> Iterator[None]:
    before = probe.answer
    yield
    probe.answer = before


async def statuses(client: httpx.AsyncClient) -> list[tuple[int, str]]:
    replies = [await client.get(f"/health{part}") for part in ("/live", "/ready", "")]
    return [(reply.status_code, reply.json()["status"]) for reply in replies]


async def test_all_is_well(client: httpx.AsyncClient) -> None:
    assert await statuses(client) == [(200, "ok")] * 3


async def test_without_nats_it_serves(client: httpx.AsyncClient, probe: FixedProbe) -> None:
    probe.change(nats=Check("down", detail="no connection"))
    assert await statuses(client) == [(200, "ok"), (200, "ok"), (200, "degraded")]
    probe.change(nats=Check("off"))
    assert await statuses(client) == [(200, "ok")] * 3


async def test_without_the_database_it_lives_and_is_not_ready(
    client: httpx.AsyncClient, probe: FixedProbe
) -> None:
    probe.change(database=Check("down"))
    assert await statuses(client) == [(200, "ok"), (503, "unavailable"), (503, "unavailable")]


async def test_with_a_stale_directory_it_is_not_ready(
    client: httpx.AsyncClient, probe: FixedProbe
) -> None:
    probe.change(directory=replace(probe.answer.directory, status="down", staleness_ms=5000))
    assert await statuses(client) == [(200, "ok"), (503, "unavailable"), (503, "unavailable")]
    body = (await client.get("/health/ready")).json()
    assert body["checks"]["directory"]["staleness_ms"] == 5000


async def test_health_says_what_runs_and_since_when(client: httpx.AsyncClient) -> None:
    body = (await client.get("/health")).json()
    assert (body["version"], body["environment"]) == ("1.2.3", "test")
    assert body["timestamp"].endswith("Z")
    assert body["uptime_seconds"] >= 0
    assert body["memory"]["rss_bytes"] is None or body["memory"]["rss_bytes"] > 1_000_000
    assert set(body["checks"]) == {"database", "event_log", "nats", "directory"}
    assert set(body["checks"]["directory"]) >= {"position", "staleness_ms", "keys", "accounts"}
