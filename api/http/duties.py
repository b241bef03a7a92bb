"""What staff does to an account: suspend it, sign it out, start a reset, act as its owner."""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar import Controller, Request, Response, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from api.http.account_shapes import (
    ImpersonationAnswer,
    ReasonRequest,
    RotateForRequest,
    account_answer,
)
from api.http.answers import NO_CONTENT, Answer, answer
from api.http.api_key_shapes import key_fields, own_quota, uses_of
from api.http.api_keys import known_form
from api.http.commands import Commands
from api.http.dependencies import Caller, TheCommands, ThePorts
from api.http.duty_operations import (
    END_SESSIONS,
    IMPERSONATE,
    REINSTATE,
    RESET,
    ROTATE_KEY,
    SUSPEND,
)
from api.http.key_lineage_shapes import RotatedAnswer
from application import account_admin, account_reading, impersonation
from application.deciding import Context, Principal
from application.key_rotation import RotatedApiKey
from application.persons import AccountView
from application.ports import Ports
from application.sessions import SignedIn


class DutyController(Controller):
    """Each with a reason, and in the account's history."""

    @post("/v1/accounts/{account_id:str}/suspend", status_code=200, opt={"operation": SUSPEND})
    async def suspend(
        self,
        account_id: FromPath[str],
        data: JSONBody[ReasonRequest],
        actor: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Stop it for now."""
        duty = account_admin.suspend
        return await _seen(duty, ports, commands, actor, account_id, data.reason)

    @post("/v1/accounts/{account_id:str}/reinstate", status_code=200, opt={"operation": REINSTATE})
    async def reinstate(
        self,
        account_id: FromPath[str],
        data: JSONBody[ReasonRequest],
        actor: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Let it work again."""
        duty = account_admin.reinstate
        return await _seen(duty, ports, commands, actor, account_id, data.reason)

    @post(
        "/v1/accounts/{account_id:str}/sessions/end",
        status_code=200,
        opt={"operation": END_SESSIONS},
    )
    async def end_sessions(
        self,
        account_id: FromPath[str],
        data: JSONBody[ReasonRequest],
        actor: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Sign it out everywhere."""
        duty = account_admin.end_sessions
        return await _silent(duty, ports, commands, actor, account_id, data.reason)

    @post("/v1/accounts/{account_id:str}/password/reset", status_code=200, opt={"operation": RESET})
    async def start_reset(
        self,
        account_id: FromPath[str],
        data: JSONBody[ReasonRequest],
        actor: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Have the owner set another password."""
        duty = account_admin.start_reset
        return await _silent(duty, ports, commands, actor, account_id, data.reason)

    @post(
        "/v1/accounts/{account_id:str}/keys/{key_id:str}/rotate",
        status_code=200,
        opt={"operation": ROTATE_KEY},
    )
    async def rotate_key(
        self,
        account_id: FromPath[str],
        key_id: FromPath[str],
        data: JSONBody[RotateForRequest],
        actor: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Another secret for a key of theirs."""
        known = await account_reading.known(ports, actor, account_id)
        wanted = known_form(key_id)
        uses = await uses_of(ports, [wanted])

        def show(rotated: RotatedApiKey) -> Answer:
            fields = key_fields(rotated.key, own_quota(ports, wanted), uses.get(wanted))
            return answer(200, RotatedAnswer(key=rotated.secret, **fields))

        return await commands.answer_once(
            actor,
            lambda context: account_admin.rotate_key(
                ports, context, known, wanted, data.overlap_seconds, data.reason
            ),
            show,
        )

    @post("/v1/accounts/{account_id:str}/impersonation", opt={"operation": IMPERSONATE})
    async def impersonate(
        self,
        account_id: FromPath[str],
        data: JSONBody[ReasonRequest],
        request: Request[Any, Any, State],
        user: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """A token of theirs, for a quarter of an hour."""
        known = await account_reading.known(ports, user, account_id)
        client = request.client
        return await commands.answer_once(
            user,
            lambda context: impersonation.begin(
                ports,
                context,
                known,
                data.reason,
                ip=client.host if client else None,
                user_agent=request.headers.get("user-agent"),
            ),
            _acting,
        )


Duty = Callable[[Ports, Context, str, str], Awaitable[int]]
"""What is done to the account of this id, for this reason; answers the position."""


async def _seen(
    duty: Duty, ports: Ports, commands: Commands, actor: Principal, account_id: str, reason: str
) -> Response[bytes]:
    """Do it; the answer is the account as it is then."""
    known = await account_reading.known(ports, actor, account_id)

    async def carry(context: Context) -> tuple[AccountView, int]:
        position = await duty(ports, context, known, reason)
        return await account_reading.view(ports, actor, known), position

    return await commands.answer(actor, carry, lambda view: answer(200, account_answer(view)))


async def _silent(
    duty: Duty, ports: Ports, commands: Commands, actor: Principal, account_id: str, reason: str
) -> Response[bytes]:
    """Do it; the answer is empty."""
    known = await account_reading.known(ports, actor, account_id)

    async def carry(context: Context) -> tuple[None, int]:
        return None, await duty(ports, context, known, reason)

    return await commands.answer(actor, carry, lambda _: NO_CONTENT)


def _acting(signed_in: SignedIn) -> Answer:
    content = ImpersonationAnswer(
        account_id=signed_in.account.id,
        session_id=signed_in.session_id,
        access_token=signed_in.access_token,
        expires_in=signed_in.expires_in,
    )
    return answer(201, content, "/v1/me")
