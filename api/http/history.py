"""Histories of keys and accounts, the log itself, and why a verification was answered so."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Request, Response, get
from litestar.datastructures import State
from litestar.params import FromPath, QueryParameter

from api.http import positions
from api.http.answers import NO_NUL, in_utc, shown
from api.http.dependencies import Caller, ThePorts
from api.http.history_operations import ACCOUNT_HISTORY, EVENT, EVENTS, EXPLAIN, KEY_HISTORY
from api.http.history_shapes import event_item, event_page, explanation_answer, history_page
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, number_before
from api.http.problems import HttpProblem
from application import account_reading, events, explaining, history
from application.errors import ForeignLog
from application.ports import EventFilter, Ports
from domain.errors import NotFound
from domain.ids import is_id

Position = Annotated[str | None, QueryParameter(max_length=60)]
Types = Annotated[str | None, QueryParameter(max_length=2_000, pattern=NO_NUL)]
Name = Annotated[str | None, QueryParameter(max_length=100, pattern=NO_NUL)]
By = Annotated[str | None, QueryParameter(name="actor", max_length=100, pattern=NO_NUL)]
Instant = Annotated[str | None, QueryParameter(max_length=60)]
Order = Annotated[Literal["oldest", "newest"], QueryParameter()]


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
        before = number_before(cursor)
        seen = positions.at_least(ports.store.log_id, request.headers)
        found = await history.of_key(ports, actor, key_id, before, limit + 1, seen)
        return shown(history_page(ports, found, limit))

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
        known = await account_reading.named(ports, actor, account_id)
        before = number_before(cursor)
        seen = positions.at_least(ports.store.log_id, request.headers)
        found = await history.of_account(ports, actor, known, before, limit + 1, seen)
        return shown(history_page(ports, found, limit))

    @get("/v1/events", opt={"operation": EVENTS})
    async def list_events(
        self,
        request: Request[Any, Any, State],
        caller: Caller,
        ports: ThePorts,
        after: Position = None,
        types: Types = None,
        stream: Name = None,
        by: By = None,
        since: Instant = None,
        until: Instant = None,
        order: Order = "oldest",
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response[bytes]:
        """A page of the log."""
        events.require(caller)
        newest, place = order == "newest", number_before(cursor)
        begin = 0 if after is None else _position(ports, after, "after")
        wanted = EventFilter(
            after=begin if newest or place is None else max(begin, place),
            before=place if newest else None,
            types=() if types is None else tuple(each.strip() for each in types.split(",")),
            stream=stream,
            actor=by,
            since=_instant(since, "since"),
            until=_instant(until, "until"),
            newest_first=newest,
        )
        seen = positions.at_least(ports.store.log_id, request.headers)
        found = await events.page(ports, caller, wanted, limit + 1, seen)
        return shown(event_page(ports, found, limit))

    @get("/v1/events/{position:str}", opt={"operation": EVENT})
    async def get_event(
        self, position: FromPath[str], actor: Caller, ports: ThePorts
    ) -> Response[bytes]:
        """One event."""
        events.require(actor)
        place = _position(ports, position, "position")
        return shown(event_item(ports, await events.one(ports, actor, place)))

    @get("/v1/verifications/{verification_id:str}/explain", opt={"operation": EXPLAIN})
    async def explain(
        self, verification_id: FromPath[str], actor: Caller, ports: ThePorts
    ) -> Response[bytes]:
        """Why it was answered so."""
        found = await explaining.explain(ports, actor, verification_id)
        return shown(explanation_answer(ports, found))


def _position(ports: Ports, text: str, param: str) -> int:
    """A position of our log, with or without the log's id. HttpProblem for all else."""
    number = text.rpartition(":")[2]
    if not number.isascii() or not number.isdigit() or len(number) > 18:
        detail = "A position as answers give it, or its number alone."
        raise HttpProblem("INVALID_REQUEST", detail, param=param)
    if number == text:
        return int(number)
    try:
        return positions.position_of(ports.store.log_id, text)
    except ForeignLog as error:
        detail = "This position belongs to another log."
        raise HttpProblem("FOREIGN_LOG", detail, param=param) from error
    except HttpProblem as error:
        raise HttpProblem("INVALID_REQUEST", error.detail, param=param) from error


def _instant(text: str | None, param: str) -> datetime | None:
    if text is None:
        return None
    try:
        # A plus in a query that nobody escaped is a space by now.
        given = msgspec.convert(text.replace(" ", "+"), datetime, strict=False)
    except msgspec.ValidationError:
        detail = "An instant such as 2030-01-31T00:00:00Z."
        raise HttpProblem("INVALID_REQUEST", detail, param=param) from None
    return in_utc(given, param)
