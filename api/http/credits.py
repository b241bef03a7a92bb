"""Credits: what an account has, what happened to it; grants, holds and spending by others."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter

from api.http import positions
from api.http.answers import answer, in_utc, shown
from api.http.credit_operations import (
    CAPTURE,
    CHECK,
    COSTS,
    CREDITS,
    GRANT,
    HISTORY,
    HOLD,
    RELEASE,
    SPEND,
)
from api.http.credit_shapes import (
    CaptureRequest,
    CheckRequest,
    CreditHistoryPage,
    GrantRequest,
    HoldRequest,
    ReleaseRequest,
    SpendRequest,
    check_answer,
    costs_answer,
    credits_answer,
    entry_answers,
    grant_answer,
    hold_answer,
    spend_answer,
)
from api.http.dependencies import Caller, TheCommands, ThePorts
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, cursor_after, number_before
from api.http.problems import HttpProblem
from api.http.strict_json import decode
from application import credit_balances, credits
from application.credit_balances import AsOf
from application.deciding import Principal
from application.errors import ForeignLog
from application.ports import Ports
from domain.credit_amounts import hundredths
from domain.errors import NotFound
from domain.ids import is_id

AccountId = Annotated[str | None, QueryParameter(max_length=40)]
AsOfText = Annotated[str | None, QueryParameter(max_length=60)]


class CreditController(Controller):
    """Owners look; staff and services that may spend do the rest."""

    @get("/v1/credits", opt={"operation": CREDITS})
    async def get_credits(
        self,
        actor: Caller,
        ports: ThePorts,
        account_id: AccountId = None,
        as_of: AsOfText = None,
    ) -> Response[bytes]:
        """Now, or then."""
        wanted = _seen(actor, account_id)
        then = None if as_of is None else moment_of(ports, as_of)
        return shown(credits_answer(await credit_balances.balance(ports, wanted, then)))

    @get("/v1/credits/history", opt={"operation": HISTORY})
    async def credit_history(
        self,
        request: Request[Any, Any, State],
        actor: Caller,
        ports: ThePorts,
        account_id: AccountId = None,
        as_of: AsOfText = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response[bytes]:
        """A page of entries."""
        wanted = _seen(actor, account_id)
        then = None if as_of is None else moment_of(ports, as_of)
        entries = await credit_balances.history(
            ports,
            wanted,
            number_before(cursor),
            limit + 1,
            as_of=then,
            at_least=positions.at_least(ports.store.log_id, request.headers),
        )
        page = entries[:limit]
        following = cursor_after(str(page[-1].entry_no)) if len(entries) > limit else None
        return shown(CreditHistoryPage(entry_answers(page), following))

    @post("/v1/credits/check", opt={"operation": CHECK}, status_code=200)
    async def check_credits(
        self, data: JSONBody[CheckRequest], actor: Caller, ports: ThePorts
    ) -> Response[bytes]:
        """Spends nothing."""
        wanted = _seen(actor, data.account_id)
        return shown(check_answer(await credit_balances.check(ports, wanted, data.price())))

    @get("/v1/credits/costs", opt={"operation": COSTS})
    async def credit_costs(
        self, actor: Caller, ports: ThePorts, account_id: AccountId = None
    ) -> Response[bytes]:
        """By the account's plan."""
        wanted = _seen(actor, account_id)
        return shown(costs_answer(await credit_balances.costs(ports, wanted)))

    @post("/v1/credits/grants", opt={"operation": GRANT})
    async def grant_credits(
        self, data: JSONBody[GrantRequest], actor: Caller, ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """On top of what is there."""
        credits.may_spend(actor)
        account_id, command = _known(data.account_id), data.command()
        return await commands.answer_once(
            actor,
            lambda context: credits.grant(ports, context, account_id, command, reason=data.reason),
            lambda granted: answer(201, grant_answer(granted)),
        )

    @post("/v1/credits/spend", opt={"operation": SPEND}, status_code=200)
    async def spend_credits(
        self, data: JSONBody[SpendRequest], actor: Caller, ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """At once."""
        credits.may_spend(actor)
        account_id, price = _known(data.account_id), data.price()
        return await commands.answer_once(
            actor,
            lambda context: credits.spend(ports, context, account_id, price),
            lambda spent: answer(200, spend_answer(spent)),
            reason=data.reason,
        )

    @post("/v1/credits/holds", opt={"operation": HOLD})
    async def hold_credits(
        self, data: JSONBody[HoldRequest], actor: Caller, ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """For a while."""
        credits.may_spend(actor)
        account_id, price = _known(data.account_id), data.price()
        return await commands.answer_once(
            actor,
            lambda context: credits.hold(ports, context, account_id, price, data.expires_in),
            lambda held: answer(201, hold_answer(held)),
            reason=data.reason,
        )

    @post("/v1/credits/holds/{hold_id:str}/capture", opt={"operation": CAPTURE}, status_code=200)
    async def capture_hold(
        self,
        hold_id: FromPath[str],
        request: Request[Any, Any, State],
        actor: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Without a body, all of it."""
        credits.may_spend(actor)
        body = await request.body()
        data = decode(body, CaptureRequest) if body else CaptureRequest()
        amount = None if data.amount is None else hundredths(data.amount)
        return await commands.answer_once(
            actor,
            lambda context: credits.capture(ports, context, hold_id, amount),
            lambda held: answer(200, hold_answer(held)),
            reason=data.reason,
        )

    @post("/v1/credits/holds/{hold_id:str}/release", opt={"operation": RELEASE}, status_code=200)
    async def release_hold(
        self,
        hold_id: FromPath[str],
        request: Request[Any, Any, State],
        actor: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """All of it."""
        body = await request.body()
        reason = decode(body, ReleaseRequest).reason if body else None
        return await commands.answer_once(
            actor,
            lambda context: credits.release(ports, context, hold_id),
            lambda held: answer(200, hold_answer(held)),
            reason=reason,
        )


def moment_of(ports: Ports, text: str) -> AsOf:
    """An instant, or a position of our log, or its number alone. HttpProblem for what is neither
    and for another log's."""
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)  # before the other reading, seconds since 1970
    try:
        # A plus in a query that nobody escaped is a space by now.
        return in_utc(msgspec.convert(text.replace(" ", "+"), datetime, strict=False), "as_of")
    except msgspec.ValidationError:
        pass
    log, _, number = text.partition(":")
    if log and number.isascii() and number.isdigit():
        try:
            return positions.position_of(ports.store.log_id, text)
        except ForeignLog as error:
            detail = "This position belongs to another log."
            raise HttpProblem("FOREIGN_LOG", detail, param="as_of") from error
    detail = "An instant such as 2030-01-31T00:00:00Z, or a position as answers give it."
    raise HttpProblem("INVALID_REQUEST", detail, param="as_of")


def _seen(actor: Principal, account_id: str | None) -> str:
    wanted = actor.account_id if account_id is None else account_id
    if wanted is None:
        detail = "Say whose: you have no account of your own."
        raise HttpProblem("INVALID_REQUEST", detail, param="account_id")
    credit_balances.may_see(actor, wanted)
    return _known(wanted)


def _known(account_id: str) -> str:
    if not is_id("acct", account_id):
        raise NotFound("account", account_id)
    return account_id
