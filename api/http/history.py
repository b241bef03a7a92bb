"""Histories of keys and accounts: what happened, by whom, why."""

from base64 import urlsafe_b64decode
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from litestar import Controller, Request, Response, get
from litestar.datastructures import State
from litestar.params import FromPath

from api.http import positions
from api.http.answers import shown
from api.http.dependencies import Caller, ThePorts
from api.http.operation import Operation, Parameter
from api.http.paging import DEFAULT_LIMIT, PAGE_PARAMETERS, Cursor, Limit, cursor_after
from api.http.problems import HttpProblem
from application import history
from application.ports import HistoryEntry, Ports
from domain.errors import NotFound
from domain.ids import is_id


class HistoryItem(msgspec.Struct, frozen=True, kw_only=True):
    """One event. `reason` is what somebody wrote; null where nobody did, or it was erased."""

    position: str
    at: datetime
    type: str
    stream: str
    actor: str
    request_id: str | None
    reason: str | None
    data: dict[str, Any]


class HistoryPage(msgspec.Struct, frozen=True):
    """A page of a history, newest first."""

    items: list[HistoryItem]
    next_cursor: str | None


_KEY_ID = "key_01kamzq9h4t7c2m5r8v1x3z6bd"
_ACCOUNT_ID = "acct_01kamzq3v0b6f7n8w9x2y4z5ac"
_EXAMPLE = {
    "position": "log5f0c7d2a91b8:1042",
    "at": "2026-02-03T08:00:00Z",
    "type": "api_key.revoked.v1",
    "stream": _KEY_ID,
    "actor": _ACCOUNT_ID,
    "request_id": "req_01kb0q2m5r8v1x3z6bd9h4t7c2",
    "reason": "left in a public repository",
    "data": {},
}
_ERRORS = ("NOT_FOUND", "STORE_UNAVAILABLE")

KEY_HISTORY = Operation(
    id="key_history",
    tag="History",
    summary="Read a key's history",
    description=(
        "What happened to a key and to its own quota, by whom and why; newest first. For its "
        "owner and staff."
    ),
    who="actor",
    answer=HistoryPage,
    example={"items": [_EXAMPLE], "next_cursor": None},
    parameters=(
        Parameter("key_id", "The key's id.", {"type": "string"}, _KEY_ID, "path"),
        *PAGE_PARAMETERS,
    ),
    reads=True,
    errors=_ERRORS,
)

ACCOUNT_HISTORY = Operation(
    id="account_history",
    tag="History",
    summary="Read an account's history",
    description=(
        "What happened to an account and to all that is its: sign-ins, keys, quotas; newest "
        "first. For its owner and staff."
    ),
    who="actor",
    answer=HistoryPage,
    example={"items": [_EXAMPLE], "next_cursor": None},
    parameters=(
        Parameter("account_id", "The account's id.", {"type": "string"}, _ACCOUNT_ID, "path"),
        *PAGE_PARAMETERS,
    ),
    reads=True,
    errors=_ERRORS,
)


class HistoryController(Controller):
    """Reads what the log's followers wrote; a position that must be seen is waited for."""

    @get("/v1/keys/{key_id:str}/history", opt={"operation": KEY_HISTORY})
    async def key_history(
        self,
        key_id: FromPath[str],
        request: Request[Any, Any, State],
        actor: Caller,
        ports: ThePorts,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response[bytes]:
        """A page of a key's."""
        if not is_id("key", key_id):
            raise NotFound("key", key_id)
        before, at_least = _position_before(cursor), _at_least(ports, request)
        entries = await history.of_key(ports, actor, key_id, before, limit + 1, at_least)
        return shown(_page(ports, entries, limit))

    @get("/v1/accounts/{account_id:str}/history", opt={"operation": ACCOUNT_HISTORY})
    async def account_history(
        self,
        account_id: FromPath[str],
        request: Request[Any, Any, State],
        actor: Caller,
        ports: ThePorts,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response[bytes]:
        """A page of an account's."""
        if not is_id("acct", account_id):
            raise NotFound("account", account_id)
        before, at_least = _position_before(cursor), _at_least(ports, request)
        entries = await history.of_account(ports, actor, account_id, before, limit + 1, at_least)
        return shown(_page(ports, entries, limit))


def _page(ports: Ports, entries: Sequence[HistoryEntry], limit: int) -> HistoryPage:
    log_id = ports.store.log_id
    items = [
        HistoryItem(
            position=positions.token(log_id, entry.position),
            at=entry.at,
            type=entry.type,
            stream=entry.stream,
            actor=entry.actor,
            request_id=entry.request_id,
            reason=entry.reason,
            data=entry.data,
        )
        for entry in entries[:limit]
    ]
    more = len(entries) > limit
    return HistoryPage(items, cursor_after(str(entries[limit - 1].position)) if more else None)


def _at_least(ports: Ports, request: Request[Any, Any, State]) -> int | None:
    wanted = request.headers.get(positions.MIN_POSITION)
    return None if wanted is None else positions.position_of(ports.store.log_id, wanted)


def _position_before(cursor: str | None) -> int | None:
    """The position that a cursor continues before; HttpProblem if it is not one of ours."""
    if cursor is None:
        return None
    try:
        number = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        number = ""
    if not number.isdigit() or len(number) > 18:
        detail = "A cursor is the `next_cursor` of the page before, unchanged."
        raise HttpProblem("INVALID_REQUEST", detail, param="cursor")
    return int(number)
