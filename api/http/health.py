"""Health: whether the process runs, whether it can serve, and what it knows of itself."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from api.http.answers import shown
from api.http.operation import Operation

Condition = Literal["ok", "late", "down", "off"]


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that this process depends on. `off`: it is not used here."""

    status: Condition
    latency_ms: float | None = None
    detail: str | None = None


class DirectoryCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What is in memory: how far in the log, how long ago its end was seen, how much."""

    status: Condition
    position: int
    staleness_ms: int
    keys: int
    accounts: int


class FollowersCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Those who follow the logs in `work`. `lag`: by name, how many events behind.

    `late`: one has not seen the end of its log for a minute. `down`: one is stopped by an
    event, or no process follows; `detail` names it.
    """

    status: Condition
    lag: dict[str, int]
    detail: str | None = None


class MailCheck(msgspec.Struct, frozen=True, omit_defaults=True):
    """Mail that waits to be sent, and for how long the oldest has. `late`: for more than five
    minutes. `detail` also counts what was refused or given up: addresses that are none."""

    status: Condition
    waiting: int = 0
    oldest_seconds: int | None = None
    detail: str | None = None


class Checks(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is checked."""

    database: Check
    event_log: Check
    nats: Check
    directory: DirectoryCheck
    projections: FollowersCheck
    publisher: FollowersCheck
    lake: FollowersCheck
    rate_limits: Check = Check("off")
    mail: MailCheck = MailCheck("off")

    @property
    def ready(self) -> bool:
        """Whether requests can be served. Without NATS and `work` they can: those catch up."""
        return self.database.status == "ok" and self.directory.status == "ok"


class HealthProbe(Protocol):
    """Looks after the parts of this process. `main` has the one that is real."""

    async def checks(self) -> Checks:
        """How the parts are now. Answers within 2 s, whatever is down, and never raises."""
        ...


class Live(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(msgspec.Struct, frozen=True):
    """Whether it can serve, and what is in the way."""

    status: Literal["ok", "unavailable"]
    checks: Checks


class Memory(msgspec.Struct, frozen=True):
    """What the process takes; null where the system doesn't say."""

    rss_bytes: int | None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Everything. `degraded`: it serves, and something is down."""

    status: Literal["ok", "degraded", "unavailable"]
    timestamp: datetime
    version: str
    environment: str
    checks: Checks
    uptime_seconds: int
    memory: Memory


_PARTS = Checks.__struct_fields__

_CHECKS = {
    "database": {"status": "ok", "latency_ms": 0.4},
    "event_log": {"status": "ok"},
    "nats": {"status": "ok"},
    "directory": {
        "status": "ok",
        "position": 1042,
        "staleness_ms": 35,
        "keys": 12,
        "accounts": 4,
    },
    "projections": {
        "status": "ok",
        "lag": {"accounts": 0, "keys": 0, "history": 0, "key_uses": 1},
        "detail": None,
    },
    "publisher": {
        "status": "ok",
        "lag": {"publish_events": 0, "publish_usage": 1},
        "detail": None,
    },
    "lake": {"status": "ok", "lag": {"lake_events": 0, "lake_usage": 14}, "detail": None},
    "rate_limits": {"status": "ok"},
    "mail": {"status": "ok", "waiting": 1, "oldest_seconds": 0},
}

LIVE = Operation(
    id="live",
    tag="Operations",
    summary="Does it run?",
    description="Always 200 while the process answers at all.",
    who="public",
    answer=Live,
    unlimited=True,
    open_query=True,
    example={"status": "ok"},
)
READY = Operation(
    id="ready",
    tag="Operations",
    summary="Can it serve?",
    description="503 with the same body while the database or the key directory is not there.",
    who="public",
    answer=Ready,
    unlimited=True,
    open_query=True,
    also_503=True,
    example={"status": "ok", "checks": _CHECKS},
)
HEALTH = Operation(
    id="health",
    tag="Operations",
    summary="How is it?",
    description="All checks, with version, uptime and memory. 503 while it can't serve.",
    who="public",
    answer=Health,
    unlimited=True,
    open_query=True,
    also_503=True,
    example={
        "status": "ok",
        "timestamp": "2026-01-31T12:00:00Z",
        "version": "0.1.0",
        "environment": "production",
        "checks": _CHECKS,
        "uptime_seconds": 86400,
        "memory": {"rss_bytes": 94371840},
    },
)


def health_routes(probe: HealthProbe, version: str, environment: str) -> list[HTTPRouteHandler]:
    """The routes. The process counts as started now."""
    started_at = time.monotonic()

    @get("/health/live", opt={"operation": LIVE})
    async def live() -> Response[bytes]:
        return shown(Live())

    @get("/health/ready", opt={"operation": READY})
    async def ready() -> Response[bytes]:
        checks = await probe.checks()
        if checks.ready:
            return shown(Ready("ok", checks))
        return shown(Ready("unavailable", checks), status=503)

    @get("/health", opt={"operation": HEALTH})
    async def health() -> Response[bytes]:
        checks = await probe.checks()
        well = all(getattr(checks, each).status in ("ok", "off") for each in _PARTS)
        content = Health(
            status=("ok" if well else "degraded") if checks.ready else "unavailable",
            timestamp=datetime.now(UTC),
            version=version,
            environment=environment,
            checks=checks,
            uptime_seconds=int(time.monotonic() - started_at),
            memory=Memory(_rss_bytes()),
        )
        return shown(content, status=200 if checks.ready else 503)

    return [live, ready, health]


def _rss_bytes() -> int | None:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    return None
