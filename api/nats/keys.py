"""Keys over NATS: issue, rotate, revoke. A key's id, which HTTP has in the path, is in the body.

Answers of `issue` and `rotate` hold a secret: give callers inboxes that nobody else may listen on
(docs/nats.md).
"""

from api.commands import Done
from api.http.answers import NO_CONTENT, Answer, answer
from api.http.api_key_operations import ISSUE, KEY, REVOKE
from api.http.api_key_shapes import (
    IssuedAnswer,
    IssueRequest,
    RevokeRequest,
    key_fields,
    own_quota,
    uses_of,
)
from api.http.api_keys import known_form
from api.http.key_lineage_operations import ROTATE
from api.http.key_lineage_shapes import RotatedAnswer, RotateRequest
from api.nats.call import Call
from api.nats.endpoint import Endpoint
from application import api_keys, key_rotation
from application.api_keys import IssuedApiKey
from application.deciding import Context
from application.key_rotation import RotatedApiKey
from domain.errors import NotFound
from domain.ids import is_id


class RotateCommand(RotateRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which key; and for how long its present secret goes on working beside the new one."""

    key_id: str


class RevokeCommand(RevokeRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which key; and why, for the history."""

    key_id: str


async def issue(call: Call, data: IssueRequest) -> Done:
    """A new key of `account_id`; left out, of the service's own account."""
    actor = await call.service("keys.issue")
    account_id = actor.account_id if data.account_id is None else data.account_id
    if account_id is None or not is_id("acct", account_id):
        raise NotFound("account", str(account_id))
    quota = None if data.quota is None else data.quota.own()
    command = data.new_key(account_id)

    def show(issued: IssuedApiKey) -> Answer:
        return answer(201, IssuedAnswer(key=issued.secret, **key_fields(issued.key, quota)))

    return await call.commands.carry_out_once(
        actor,
        lambda context: api_keys.issue(call.ports, context, command, quota, data.prefix),
        show,
        reason=data.reason,
    )


async def rotate(call: Call, data: RotateCommand) -> Done:
    """Another secret for the same key."""
    actor = await call.service(key_rotation.ROTATING)
    key_id = known_form(data.key_id)
    uses = await uses_of(call.ports, [key_id])

    def show(rotated: RotatedApiKey) -> Answer:
        fields = key_fields(rotated.key, own_quota(call.ports, key_id), uses.get(key_id))
        return answer(200, RotatedAnswer(key=rotated.secret, **fields))

    return await call.commands.carry_out_once(
        actor,
        lambda context: key_rotation.rotate(call.ports, context, key_id, data.overlap_seconds),
        show,
        reason=data.reason,
    )


async def revoke(call: Call, data: RevokeCommand) -> Done:
    """End a key for good."""
    actor = await call.service("keys.manage")
    key_id = known_form(data.key_id)

    async def carry(context: Context) -> tuple[None, int]:
        return None, await api_keys.revoke(call.ports, context, key_id, data.reason)

    return await call.commands.carry_out_once(actor, carry, lambda _: NO_CONTENT)


KEYS = (
    Endpoint(
        noun="keys",
        verb="issue",
        request=IssueRequest,
        request_example=ISSUE.body_example,
        operation=ISSUE,
        http="POST /v1/keys",
        permission="keys.issue",
        handler=issue,
    ),
    Endpoint(
        noun="keys",
        verb="rotate",
        request=RotateCommand,
        request_example={"key_id": KEY["id"], "overlap_seconds": 86400},
        operation=ROTATE,
        http="POST /v1/keys/{key_id}/rotate",
        permission=key_rotation.ROTATING,
        handler=rotate,
    ),
    Endpoint(
        noun="keys",
        verb="revoke",
        request=RevokeCommand,
        request_example={"key_id": KEY["id"], "reason": "found in a public repository"},
        operation=REVOKE,
        http="POST /v1/keys/{key_id}/revoke",
        permission="keys.manage",
        handler=revoke,
    ),
)
