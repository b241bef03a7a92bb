"""Keys over NATS: issue, rotate, revoke. A key's id, which HTTP has in the path, is in the body."""

from api.commands import Done
from api.http.answers import NO_CONTENT, Answer, answer
from api.http.api_key_operations import ISSUE, REVOKE
from api.http.api_key_shapes import IssuedAnswer, IssueRequest, RevokeRequest, key_fields
from api.nats.call import Call
from api.nats.endpoint import Endpoint
from application import api_keys
from application.api_keys import IssuedApiKey
from application.deciding import Context
from domain.errors import NotFound
from domain.ids import is_id


class RevokeCommand(RevokeRequest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which key, and why."""

    key_id: str


async def issue(call: Call, data: IssueRequest) -> Done:
    """A new key of `account_id`; left out, of the service's own account."""
    actor = await call.service("keys.issue")
    account_id = actor.account_id if data.account_id is None else data.account_id
    if account_id is None or not is_id("acct", account_id):
        raise NotFound("account", str(account_id))
    quota = None if data.quota is None else data.quota.quota()
    command = data.command(account_id)

    def show(issued: IssuedApiKey) -> Answer:
        return answer(201, IssuedAnswer(key=issued.secret, **key_fields(issued.key, quota)))

    return await call.commands.carry_out_once(
        actor,
        lambda context: api_keys.issue(call.ports, context, command, quota, data.prefix),
        show,
    )


async def revoke(call: Call, data: RevokeCommand) -> Done:
    """End a key for good."""
    actor = await call.service("keys.manage")
    _require_known_form(data.key_id)

    async def carry(context: Context) -> tuple[None, int]:
        return None, await api_keys.revoke(call.ports, context, data.key_id, data.reason)

    return await call.commands.carry_out_once(actor, carry, lambda _: NO_CONTENT)


def _require_known_form(key_id: str) -> None:
    if not is_id("key", key_id):
        raise NotFound("key", key_id)


_KEY_ID = "key_01kamzq5w1c7g8p9x0y2z4a6bd"

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
        verb="revoke",
        request=RevokeCommand,
        request_example={"key_id": _KEY_ID, "reason": "the customer asked for it"},
        operation=REVOKE,
        http="POST /v1/keys/{key_id}/revoke",
        permission="keys.manage",
        handler=revoke,
    ),
)
