"""How the parts of this process are: what health answers from."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from api.http.health import Check, Checks, DirectoryCheck, FollowersCheck, MailCheck
from application.mailing import MailStanding
from application.ports import Follower
from application.rate_limits import RateLimits
from projections.key_directory import KeyDirectory

PATIENCE_SECONDS = 1.5
MAIL_LATE_SECONDS = 300.0


class Asked(Protocol):
    """A database that can be asked whether it is there, and who follows its logs."""

    async def ping(self) -> None: ...

    async def followers(self) -> list[Follower]: ...


class Linked(Protocol):
    """A connection that looks after itself."""

    @property
    def connected(self) -> bool: ...


class ProcessProbe:
    """Implements HealthProbe for one serve process."""

    def __init__(
        self,
        directory: KeyDirectory,
        database: Asked,
        nats: Linked,
        max_staleness_seconds: float,
        limits: RateLimits | None = None,
        mail: Callable[[], Awaitable[MailStanding]] | None = None,
    ) -> None:
        self._directory = directory
        self._database = database
        self._nats = nats
        self._max_staleness = max_staleness_seconds
        self._limits = limits
        self._mail = mail

    async def checks(self) -> Checks:
        """How the parts are now; never raises, never takes longer than two seconds."""
        directory = self._directory
        fresh = directory.fresh(self._max_staleness)
        closed = directory.closed()
        database, followers, mail = await self._ask()
        return Checks(
            database=database,
            event_log=Check("ok" if fresh else "down", detail=closed_streams(len(closed))),
            nats=Check("ok" if self._nats.connected else "down"),
            directory=DirectoryCheck(
                status="ok" if fresh else "down",
                position=directory.position,
                staleness_ms=int((time.monotonic() - directory.confirmed_at) * 1000),
                **directory.size(),
            ),
            projections=following(followers, "projections"),
            publisher=following(followers, "publisher"),
            lake=following(followers, "lake"),
            rate_limits=await self._limiting(),
            mail=mailed(mail),
        )

    async def _limiting(self) -> Check:
        if self._limits is None:
            return Check("off")
        if await self._limits.shared():
            return Check("ok")
        return Check("down", detail="each process counts alone until the store is back")

    async def _ask(self) -> tuple[Check, list[Follower], MailStanding | None]:
        started_at = time.monotonic()
        asking = asyncio.gather(
            self._database.ping(),
            self._database.followers(),
            self._mail() if self._mail is not None else _unknown(),
            return_exceptions=True,
        )
        # Not cancelled when it is late: a driver that is cancelled first asks the silent server
        # to cancel, too.
        done, _ = await asyncio.wait({asking}, timeout=PATIENCE_SECONDS)
        asking.add_done_callback(_forget)
        if not done:
            return Check("down"), [], None
        silence, followers, mail = asking.result()
        if silence is not None:
            return Check("down"), [], None
        latency_ms = round((time.monotonic() - started_at) * 1000, 2)
        # Who can't say who follows can serve all the same.
        known = [] if isinstance(followers, BaseException) else followers
        told = None if isinstance(mail, BaseException) else mail
        return Check("ok", latency_ms=latency_ms), known, told


def following(followers: Sequence[Follower], prefix: str) -> FollowersCheck:
    """How those of this prefix are; of `projections`, those that have none."""
    mine = [each for each in followers if _kind(each.name) == prefix]
    lag = {each.name: each.behind for each in mine}
    stopped = [each for each in mine if each.status in ("stopped", "away")]
    late = [each for each in mine if each.status == "behind"]
    if stopped or not mine:
        detail = "; ".join(_sentence(each) for each in stopped) or "not known"
        return FollowersCheck(status="down", lag=lag, detail=detail)
    if late:
        names = ", ".join(each.name for each in late)
        return FollowersCheck(status="late", lag=lag, detail=f"behind: {names}")
    return FollowersCheck(status="ok", lag=lag)


def mailed(standing: MailStanding | None) -> MailCheck:
    """How mail is; `off` where that isn't known."""
    if standing is None:
        return MailCheck("off")
    late = standing.oldest_seconds > MAIL_LATE_SECONDS
    said = ["mail waits: see the log of `work`"] if late else []
    if standing.failed:
        said.append(f"{standing.failed} refused or given up within a day")
    return MailCheck(
        "late" if late else "ok",
        standing.waiting,
        int(standing.oldest_seconds) if standing.waiting else None,
        "; ".join(said) or None,
    )


async def _unknown() -> None:
    """In the place of what is not asked."""


def _kind(name: str) -> str:
    prefix = name.partition("_")[0]
    return {"publish": "publisher", "lake": "lake"}.get(prefix, "projections")


def closed_streams(streams: int) -> str | None:
    """What there is to say of so many, and to do: they stay closed until a restart."""
    if not streams:
        return None
    one = streams == 1
    return (
        f"{streams} {'stream' if one else 'streams'} closed by unreadable events; "
        f"start serve again once {'it is' if one else 'they are'} mended"
    )


def _sentence(follower: Follower) -> str:
    if follower.status == "stopped":
        return f"{follower.name} is stopped at {follower.stopped_at}"
    return f"nobody runs {follower.name}"


def _forget(asked: asyncio.Future[Any]) -> None:
    asked.exception()  # looked at, so that nobody is warned of it
