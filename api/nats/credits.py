"""Credits over NATS: spend, hold, capture, release. Granting is not for this road.

A hold's id, which HTTP has in the path, is in the body.
"""

import msgspec

from api.commands import Done
from api.http.answers import answer
from api.http.credit_operations import CAPTURE, HOLD, RELEASE, SPEND
from api.http.credit_shapes import (
    CaptureRequest,
    HoldRequest,
    ReleaseRequest,
    SpendRequest,
    hold_answer,
    spend_answer,
)
from api.http.operation import Operation
from api.nats.call import Call
from api.nats.endpoint import Endpoint, Handler
from application import credits
from domain.credit_amounts import hundredths
from domain.errors import NotFound
from domain.ids import is_id

PERMISSION = "credits.spend"


class CaptureCommand(CaptureRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which hold; and how much of it to spend, left out all of it."""

    hold_id: str


class ReleaseCommand(ReleaseRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which hold; and why."""

    hold_id: str


async def spend(call: Call, data: SpendRequest) -> Done:
    """At once."""
    actor = await call.service(PERMISSION)
    account_id, price = _known(data.account_id), data.price()
    return await call.commands.carry_out_once(
        actor,
        lambda context: credits.spend(call.ports, context, account_id, price),
        lambda spent: answer(200, spend_answer(spent)),
        reason=data.reason,
    )


async def hold(call: Call, data: HoldRequest) -> Done:
    """For a while."""
    actor = await call.service(PERMISSION)
    account_id, price = _known(data.account_id), data.price()
    return await call.commands.carry_out_once(
        actor,
        lambda context: credits.hold(call.ports, context, account_id, price, data.expires_in),
        lambda held: answer(201, hold_answer(held)),
        reason=data.reason,
    )


async def capture(call: Call, data: CaptureCommand) -> Done:
    """Some of a hold, or all of it; the rest is let go."""
    actor = await call.service(PERMISSION)
    amount = None if data.amount is None else hundredths(data.amount)
    return await call.commands.carry_out_once(
        actor,
        lambda context: credits.capture(call.ports, context, data.hold_id, amount),
        lambda held: answer(200, hold_answer(held)),
        reason=data.reason,
    )


async def release(call: Call, data: ReleaseCommand) -> Done:
    """All of a hold."""
    actor = await call.service(PERMISSION)
    return await call.commands.carry_out_once(
        actor,
        lambda context: credits.release(call.ports, context, data.hold_id),
        lambda held: answer(200, hold_answer(held)),
        reason=data.reason,
    )


def _known(account_id: str) -> str:
    if not is_id("acct", account_id):
        raise NotFound("account", account_id)
    return account_id


def _endpoint(
    verb: str,
    request: type[msgspec.Struct],
    example: object,
    operation: Operation,
    path: str,
    handler: Handler,
) -> Endpoint:
    return Endpoint(
        noun="credits",
        verb=verb,
        request=request,
        request_example=example,
        operation=operation,
        http=f"POST /v1/credits/{path}",
        permission=PERMISSION,
        handler=handler,
    )


_HOLD = {"hold_id": "hold_01kb2m9k2q4s6v8x0z2b4d6f8h"}

CREDITS = (
    _endpoint("spend", SpendRequest, SPEND.body_example, SPEND, "spend", spend),
    _endpoint("hold", HoldRequest, HOLD.body_example, HOLD, "holds", hold),
    _endpoint(
        "capture",
        CaptureCommand,
        {**_HOLD, "amount": "10.00"},
        CAPTURE,
        "holds/{hold_id}/capture",
        capture,
    ),
    _endpoint("release", ReleaseCommand, _HOLD, RELEASE, "holds/{hold_id}/release", release),
)
