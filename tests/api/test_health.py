"""Health tells a balancer the truth: live is not ready, and NATS is no reason to turn away."""

from collections.abc import Iterator
from typing import Literal

import httpx
import pytest
from msgspec.structs import replace

from api.http.health import Check, FollowersCheck
from api.http.probe import closed_streams, following, mailed
from application.mailing import MailStanding
from application.ports import Follower
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


@pytest.mark.parametrize("part", ["projections", "publisher", "lake"])
@pytest.mark.parametrize("status", ["late", "down"])
async def test_without_its_followers_it_serves_and_says_so(
    client: httpx.AsyncClient, probe: FixedProbe, part: str, status: Literal["late", "down"]
) -> None:
    stopped = FollowersCheck(status=status, lag={"x": 7}, detail="x is stopped at 12")
    probe.change(**{part: stopped})
    assert await statuses(client) == [(200, "ok"), (200, "ok"), (200, "degraded")]
    assert (await client.get("/health")).json()["checks"][part]["detail"] == "x is stopped at 12"


@pytest.mark.parametrize(
    ("seen", "caught_up", "problem", "status", "says"),
    [
        (1.0, 1.0, None, "ok", None),
        (1.0, 300.0, None, "late", "keys"),
        (300.0, 300.0, None, "down", "nobody runs keys"),
        (None, None, None, "down", "nobody runs keys"),
        (1.0, 1.0, "bad bytes", "down", "stopped at 5"),
    ],
)
def test_what_a_follower_says_of_itself_becomes_its_part_of_health(
    seen: float | None, caught_up: float | None, problem: str | None, status: str, says: str | None
) -> None:
    follower = Follower(
        name="keys",
        log="decisions",
        position=4,
        behind=3,
        seen_seconds=seen,
        caught_up_seconds=caught_up,
        stopped_at=None if problem is None else 5,
        problem=problem,
    )
    check = following([follower], "projections")
    assert (check.status, check.lag) == (status, {"keys": 3})
    assert (says or "") in (check.detail or "")
    assert following([follower], "lake").status == "down"


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
    parts = {"database", "event_log", "nats", "directory", "projections", "publisher", "lake"}
    assert set(body["checks"]) == parts | {"rate_limits", "mail"}
    assert body["checks"]["publisher"]["lag"] == {"publish_usage": 0}
    assert set(body["checks"]["directory"]) >= {"position", "staleness_ms", "keys", "accounts"}


@pytest.mark.parametrize(
    ("standing", "status", "says"),
    [
        (None, "off", ""),
        (MailStanding(), "ok", ""),
        (MailStanding(3, 299.0), "ok", ""),
        (MailStanding(3, 301.0), "late", "waits"),
        (MailStanding(failed=2), "ok", "2 refused or given up"),
    ],
)
def test_mail_that_waits_for_long_is_told(
    standing: MailStanding | None, status: str, says: str
) -> None:
    check = mailed(standing)
    assert check.status == status
    assert says in (check.detail or "")
    assert (check.oldest_seconds is None) == (standing is None or not standing.waiting)


def test_closed_streams_are_counted_and_say_what_to_do() -> None:
    assert closed_streams(0) is None
    for count, start in ((1, "1 stream closed by"), (2, "2 streams closed by")):
        said = closed_streams(count) or ""
        assert said.startswith(start)
        assert "start serve again" in said
