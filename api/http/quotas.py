"""Quotas: every allowance of an account and of its keys, with what is left of it."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from litestar import Controller, Response, get

from api.http.answers import instant, shown
from api.http.dependencies import Caller, ThePorts
from api.http.operation import Operation
from api.http.paging import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    PAGE_PARAMETERS,
    Cursor,
    Limit,
    cursor_after,
    id_before,
)
from application.allowances import standing
from application.ports import Ports
from domain.allowances import Allowance, Period, Scope


class AllowanceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A quota as it stands. A `shared` one is the account's, and all of its keys draw on it."""

    name: str
    scope: Scope
    owner: str
    key_name: str | None
    limit: int
    used: int
    remaining: int
    period: Period
    resets_at: datetime | None


class AllowancePage(msgspec.Struct, frozen=True):
    """A page of quotas."""

    items: list[AllowanceAnswer]
    next_cursor: str | None


ALLOWANCE_EXAMPLE = {
    "name": "day",
    "scope": "shared",
    "owner": "acct_01kamzq3v0b6f7n8w9x2y4z5ac",
    "key_name": None,
    "limit": 10,
    "used": 3,
    "remaining": 7,
    "period": "day",
    "resets_at": "2026-02-01T00:00:00Z",
}

QUOTAS = Operation(
    id="list_quotas",
    tag="Plans and quotas",
    summary="List quotas",
    description=(
        "Every quota of the account and of its keys that have not ended, with what was used in "
        "the window that is now. A period is a minute, hour, day, week (from Monday) or month of "
        "UTC, or the whole lifetime."
    ),
    who="user",
    answer=AllowancePage,
    example={"items": [ALLOWANCE_EXAMPLE], "next_cursor": None},
    parameters=PAGE_PARAMETERS,
    reads=True,
    errors=("STORE_UNAVAILABLE",),
)


class QuotaController(Controller):
    """What an account may use, and has used."""

    @get("/v1/quotas", opt={"operation": QUOTAS})
    async def list_quotas(
        self, user: Caller, ports: ThePorts, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Response[bytes]:
        """The account's own first, then its keys', oldest first."""
        rules = await _rules(ports, user.id, id_before(cursor, "acct", "key"), limit + 1)
        page = rules[:limit]
        following = cursor_after(page[-1][0].owner_id) if len(rules) > limit else None
        return shown(AllowancePage(await standing_answers(ports, page), following))


async def standing_answers(
    ports: Ports, rules: Sequence[tuple[Allowance, str | None]]
) -> list[AllowanceAnswer]:
    """These rules, each with the name of its key if it is a key's, as they stand now."""
    states = await standing(ports, [rule for rule, _ in rules])
    return [
        AllowanceAnswer(
            name=state.period,
            scope=state.scope,
            owner=state.owner_id,
            key_name=key_name,
            limit=state.limit,
            used=state.used,
            remaining=state.remaining,
            period=state.period,
            resets_at=None if state.resets_at_us is None else instant(state.resets_at_us / 1e6),
        )
        for state, (_, key_name) in zip(states, rules, strict=True)
    ]


async def _rules(
    ports: Ports, account_id: str, after: str | None, count: int
) -> list[tuple[Allowance, str | None]]:
    """So many rules at least, if there are, after those of this owner."""
    rules: list[tuple[Allowance, str | None]] = []
    if after is None:
        rules += [(rule, None) for rule in ports.directory.allowances(account_id)]
    # An account's id sorts before every key's, so it continues with the first key.
    while len(rules) < count:
        keys = await ports.lookups.keys_of(account_id, after, MAX_LIMIT)
        for key in keys:
            if key.revoked_at is None:
                rules += [(rule, key.name) for rule in ports.directory.allowances(key.id)]
        if len(keys) < MAX_LIMIT:
            break
        after = keys[-1].id
    return rules
