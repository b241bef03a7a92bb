"""Quotas and rate limits as they stand, as the routes show them."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from api.http.answers import instant
from application.quota_pages import Standing
from domain.api_keys import Environment
from domain.calendars import Period, RatePeriod
from domain.counters import Kind, Scope


class AllowanceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A quota or a rate limit (`kind`) as it stands. A `shared` one is the account's: all of its
    keys of this environment draw on it. `limit` is without what was carried over.

    `pace_per_hour` is the mean of the window up to now; `exhausts_at` is when it runs out at that
    pace, null where that is not before it resets. Rate limits have neither.
    """

    kind: Kind
    name: str
    scope: Scope
    environment: Environment
    owner: str
    key_name: str | None
    limit: int | None
    carried: int
    used: int
    remaining: int | None
    period: Period | RatePeriod
    resets_at: datetime | None
    pace_per_hour: float | None
    exhausts_at: datetime | None


class AllowancePage(msgspec.Struct, frozen=True):
    """A page of quotas and rate limits."""

    items: list[AllowanceAnswer]
    next_cursor: str | None


ALLOWANCE_EXAMPLE = {
    "kind": "quota",
    "name": "day",
    "scope": "shared",
    "environment": "live",
    "owner": "acct_01kamzq3v0b6f7n8w9x2y4z5ac",
    "key_name": None,
    "limit": 10,
    "carried": 0,
    "used": 3,
    "remaining": 7,
    "period": "day",
    "resets_at": "2026-02-01T00:00:00Z",
    "pace_per_hour": 0.5,
    "exhausts_at": "2026-01-31T20:00:00Z",
}


def allowance_answers(standings: Sequence[Standing]) -> list[AllowanceAnswer]:
    """These rules as they are shown."""
    return [_answer(each) for each in standings]


def _answer(standing: Standing) -> AllowanceAnswer:
    state, owned, forecast = standing.state, standing.owned, standing.forecast
    return AllowanceAnswer(
        kind=state.kind,
        name=state.name,
        scope=state.scope,
        environment=owned.environment,
        owner=owned.place.owner_id,
        key_name=owned.key_name,
        limit=state.limit,
        carried=state.carried,
        used=state.used,
        remaining=state.remaining,
        period=state.period,
        resets_at=_instant(state.resets_at_us),
        pace_per_hour=None if forecast is None else round(forecast.pace_per_hour, 3),
        exhausts_at=None if forecast is None else _instant(forecast.exhausts_at_us),
    )


def _instant(us: int | None) -> datetime | None:
    """To the second: nothing here is known better."""
    return None if us is None else instant(us // 1_000_000)
