"""API keys: create, list, read, change, revoke; and what a key may know of itself."""

from typing import Annotated, Any

from litestar import Controller, Request, Response, get, patch, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET

from api.http.answers import NO_CONTENT, Answer, answer, shown
from api.http.api_key_operations import AMEND, GET, ISSUE, LIST, REVOKE, WHOAMI
from api.http.api_key_shapes import (
    AmendRequest,
    ApiKeyAnswer,
    ApiKeyPage,
    IssuedAnswer,
    IssueRequest,
    RevokeRequest,
    WhoAmI,
    key_fields,
    own_quota,
    uses_of,
)
from api.http.credits import AsOfText, moment_of
from api.http.dependencies import Caller, TheCommands, ThePorts
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, cursor_after, id_before
from api.http.problems import HttpProblem
from api.http.quota_answers import allowance_answers
from api.http.strict_json import decode
from application import api_keys, quota_pages
from application.api_keys import IssuedApiKey
from application.deciding import Context, Principal
from application.time_travel import key_as_of
from domain.api_keys import ApiKey
from domain.errors import NotFound
from domain.ids import is_id

AccountId = Annotated[str | None, QueryParameter()]


class ApiKeyController(Controller):
    """Keys of one's own account; those of others for staff, and services with the right."""

    @post("/v1/keys", opt={"operation": ISSUE})
    async def issue(
        self, data: JSONBody[IssueRequest], actor: Caller, ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """Issue a key."""
        quota = None if data.quota is None else data.quota.own()
        command = data.new_key(_account(actor, data.account_id))

        def show(issued: IssuedApiKey) -> Answer:
            content = IssuedAnswer(key=issued.secret, **key_fields(issued.key, quota))
            return answer(201, content, f"/v1/keys/{issued.key.id}")

        return await commands.answer_once(
            actor,
            lambda context: api_keys.issue(ports, context, command, quota, data.prefix),
            show,
            reason=data.reason,
        )

    @get("/v1/keys", opt={"operation": LIST})
    async def list_keys(
        self,
        actor: Caller,
        ports: ThePorts,
        account_id: AccountId = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response[bytes]:
        """A page of an account's keys."""
        after = id_before(cursor, "key")
        owner = _account(actor, account_id)
        keys = await api_keys.list_keys(ports, actor, owner, after, limit + 1)
        uses = await uses_of(ports, [key.id for key in keys[:limit]])
        page = [
            ApiKeyAnswer(**key_fields(key, own_quota(ports, key.id), uses.get(key.id)))
            for key in keys[:limit]
        ]
        following = cursor_after(page[-1].id) if len(keys) > limit else None
        return shown(ApiKeyPage(page, following))

    @get("/v1/keys/whoami", opt={"operation": WHOAMI})
    async def whoami(self, caller: Caller, ports: ThePorts) -> Response[bytes]:
        """The key that calls; it takes nothing from its quotas."""
        key = None
        if caller.kind in ("key", "service"):
            key = ports.directory.key(caller.id)
        if key is None:
            raise HttpProblem("FORBIDDEN", "This is for API keys: present one.")
        quotas = allowance_answers(await quota_pages.of_key(ports, key))
        uses = await uses_of(ports, [key.id])
        fields = key_fields(key, own_quota(ports, key.id), uses.get(key.id))
        return shown(WhoAmI(quotas=quotas, **fields))

    @get("/v1/keys/{key_id:str}", opt={"operation": GET})
    async def get_key(
        self, key_id: FromPath[str], actor: Caller, ports: ThePorts, as_of: AsOfText = None
    ) -> Response[bytes]:
        """One key; as it was, if that is asked for."""
        if as_of is not None:
            moment = moment_of(ports, as_of)
            then = await key_as_of(ports, actor, known_form(key_id), moment)
            fields = {**key_fields(then.key, then.quota), "last_used_at": None, "uses": None}
            return shown(ApiKeyAnswer(**fields, as_of=then.at))
        key = await api_keys.get(ports, actor, known_form(key_id))
        uses = await uses_of(ports, [key.id])
        return shown(ApiKeyAnswer(**key_fields(key, own_quota(ports, key.id), uses.get(key.id))))

    @patch("/v1/keys/{key_id:str}", opt={"operation": AMEND})
    async def amend(
        self,
        key_id: FromPath[str],
        data: JSONBody[AmendRequest],
        actor: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Change what the body has."""
        command = data.command()
        quota = data.quota_rule()
        uses = await uses_of(ports, [known_form(key_id)])

        def show(key: ApiKey) -> Answer:
            now = own_quota(ports, key_id) if quota is UNSET else quota
            return answer(200, ApiKeyAnswer(**key_fields(key, now, uses.get(key_id))))

        return await commands.answer(
            actor,
            lambda context: api_keys.amend(ports, context, key_id, command, quota),
            show,
            reason=data.reason,
        )

    @post("/v1/keys/{key_id:str}/revoke", opt={"operation": REVOKE})
    async def revoke(
        self,
        key_id: FromPath[str],
        request: Request[Any, Any, State],
        actor: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """End a key for good."""
        body = await request.body()
        reason = decode(body, RevokeRequest).reason if body else None
        known_form(key_id)

        async def carry(context: Context) -> tuple[None, int]:
            return None, await api_keys.revoke(ports, context, key_id, reason)

        return await commands.answer_once(actor, carry, lambda _: NO_CONTENT)


def _account(actor: Principal, wanted: str | None) -> str:
    """Whose keys are meant: what was asked for, else the caller's own."""
    account_id = actor.account_id if wanted is None else wanted
    if account_id is None or not is_id("acct", account_id):
        raise NotFound("account", str(account_id))
    return account_id


def known_form(key_id: str) -> str:
    """The id, if it can be one: others are not looked up at all."""
    if not is_id("key", key_id):
        raise NotFound("key", key_id)
    return key_id
