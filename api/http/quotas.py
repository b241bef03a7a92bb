"""Quotas: what an account and its keys may use and have used; set by owners and staff, reset."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, get, post, put
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter

from api.http.answers import Answer, answer, instant, shown
from api.http.dependencies import Caller, TheCommands, ThePorts
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, cursor_after, text_before
from api.http.problems import HttpProblem
from api.http.quota_answers import AllowancePage, allowance_answers
from api.http.quota_operations import (
    QUOTAS,
    RESET,
    SET_ACCOUNT,
    SET_KEY,
    AccountQuota,
    EndQuotaRequest,
    KeyQuota,
    QuotaRequest,
    ResetAnswer,
    ResetRequest,
)
from api.http.quota_shapes import quota_rule
from api.http.strict_json import decode
from application import account_reading, quota_pages, quotas
from application.deciding import Context
from application.key_quotas import shared_quota
from application.quota_pages import Place
from application.quotas import WasReset
from domain.errors import NotFound
from domain.ids import is_id


class QuotaController(Controller):
    """What an account may use, and has used."""

    @get("/v1/quotas", opt={"operation": QUOTAS})
    async def list_quotas(
        self,
        actor: Caller,
        ports: ThePorts,
        account_id: Annotated[str | None, QueryParameter()] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response[bytes]:
        """The account's own first, then its keys', oldest first."""
        wanted = actor.account_id if account_id is None else account_id
        after = place_of(cursor)
        account = quota_pages.readable(ports, actor, wanted or "")
        items, following = await quota_pages.page(ports, account, after, limit)
        return shown(AllowancePage(allowance_answers(items), cursor_of(following)))

    @put("/v1/accounts/{account_id:str}/quota", opt={"operation": SET_ACCOUNT})
    async def set_account_quota(
        self,
        account_id: FromPath[str],
        request: Request[Any, Any, State],
        user: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Set an account's, or end it."""
        known = await account_reading.named(ports, user, account_id)
        given = _given(await request.body())
        quota = given.shared(None) if isinstance(given, QuotaRequest) else None

        async def carry(context: Context) -> tuple[None, int]:
            return None, await quotas.set_account_quota(ports, context, known, quota, given.reason)

        def show(_: None) -> Answer:
            in_force = shared_quota(ports, known) if quota is None else quota
            content = AccountQuota(
                account_id=known,
                set=None if quota is None else quota_rule(quota, "shared"),
                in_force=None if in_force is None else quota_rule(in_force, "shared"),
            )
            return answer(200, content)

        return await commands.answer(user, carry, show)

    @put("/v1/keys/{key_id:str}/quota", opt={"operation": SET_KEY})
    async def set_key_quota(
        self,
        key_id: FromPath[str],
        request: Request[Any, Any, State],
        actor: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Set a key's, or end it."""
        _known_form("key", "key", key_id)
        given = _given(await request.body())
        quota = given.own(None) if isinstance(given, QuotaRequest) else None
        rule = None if quota is None else quota_rule(quota, "own")

        async def carry(context: Context) -> tuple[None, int]:
            return None, await quotas.set_key_quota(ports, context, key_id, quota, given.reason)

        return await commands.answer(
            actor, carry, lambda _: answer(200, KeyQuota(key_id=key_id, quota=rule))
        )

    @post("/v1/quotas/reset", status_code=200, opt={"operation": RESET})
    async def reset(
        self, data: JSONBody[ResetRequest], user: Caller, ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """Begin a window now."""
        owners = _owners(data)

        def carry(context: Context) -> Any:
            if owners is None:
                return quotas.reset_everybody(ports, context)
            return quotas.reset(ports, context, owners, data.reason)

        def show(done: WasReset) -> Answer:
            return answer(200, ResetAnswer(done.owners, instant(done.at_us / 1_000_000)))

        return await commands.answer_once(user, carry, show)


class _Limit(msgspec.Struct):
    """What tells the two bodies apart."""

    limit: object = msgspec.UNSET


def _given(body: bytes) -> QuotaRequest | EndQuotaRequest:
    """The quota that is asked for, or that there is to be none."""
    if body.strip() == b"null":
        return EndQuotaRequest(limit=None)
    if decode(body, _Limit).limit is None:
        return decode(body, EndQuotaRequest)
    return decode(body, QuotaRequest)


def cursor_of(place: Place | None) -> str | None:
    """The cursor that continues after this place."""
    return None if place is None else cursor_after(f"{place.owner_id}/{place.rules}")


def place_of(cursor: str | None) -> Place | None:
    """The place that a cursor continues after; HttpProblem if it is not one of ours."""
    text = text_before(cursor, _is_place)
    if text is None:
        return None
    owner_id, _, number = text.partition("/")
    return Place(owner_id, int(number))


def _is_place(text: str) -> bool:
    owner_id, _, number = text.partition("/")
    known = is_id("acct", owner_id) or is_id("key", owner_id)
    return known and number.isdigit() and len(number) <= 4


def _owners(data: ResetRequest) -> tuple[str, ...] | None:
    """Whose quotas are meant; None: everybody's. HttpProblem unless it is one of the four."""
    named = [each for each in (data.account_id, data.key_id) if each is not None]
    if len(named) + (data.ids is not None) + data.all != 1:
        raise HttpProblem("INVALID_REQUEST", "One of `account_id`, `key_id`, `ids`, `all`.")
    if data.all and data.reason is not None:
        detail = "Reasons are sealed for the account they are about; this is about everybody."
        raise HttpProblem("INVALID_REQUEST", detail, param="reason")
    if data.account_id is not None and not is_id("acct", data.account_id):
        raise NotFound("account", data.account_id)
    if data.key_id is not None and not is_id("key", data.key_id):
        raise NotFound("key", data.key_id)
    if data.all:
        return None
    return data.ids if data.ids is not None else tuple(named)


def _known_form(noun: str, prefix: str, id: str) -> None:
    if not is_id(prefix, id):
        raise NotFound(noun, id)
