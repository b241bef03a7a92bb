"""The own account: read, changed, and moved to another address."""

from typing import Any

from litestar import Controller, Request, Response, get, patch, post
from litestar.datastructures import State
from litestar.params import JSONBody

from api.http.answers import Answer, answer, shown
from api.http.auth_shapes import account_answer
from api.http.dependencies import Caller, TheCommands, ThePorts
from api.http.profile_operations import AMEND_ME, CHANGE_EMAIL, CONFIRM_EMAIL, ME
from api.http.profile_shapes import AmendMeRequest, EmailChangeRequest, EmailConfirmRequest
from api.http.registration import begun_answer
from api.http.throttle import network_of
from application import accounts, email_addresses, profile_changes
from application.accounts import Registered
from application.challenges import Begun
from application.deciding import Context


class MeController(Controller):
    """Who signed in, about themselves."""

    @get("/v1/me", opt={"operation": ME})
    async def me(self, user: Caller, ports: ThePorts) -> Response[bytes]:
        """The account of who calls."""
        return shown(account_answer(await accounts.profile(ports, user.id)))

    @patch("/v1/me", opt={"operation": AMEND_ME})
    async def amend(
        self, data: JSONBody[AmendMeRequest], user: Caller, ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """Change the profile of who calls."""
        command = data.command()
        return await commands.answer(
            user,
            lambda context: profile_changes.amend(ports, context, user.id, command),
            _account,
        )

    @post("/v1/me/email/change", opt={"operation": CHANGE_EMAIL}, status_code=202)
    async def change_email(
        self,
        data: JSONBody[EmailChangeRequest],
        request: Request[Any, Any, State],
        user: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Mail a code to the new address."""
        network = network_of(request.scope["client"])

        async def begin(context: Context) -> tuple[Begun, int]:
            begun = await email_addresses.begin_change(
                ports, context, data.email, data.current_password, network
            )
            return begun, ports.directory.position

        return await commands.answer_once(user, begin, begun_answer)

    @post("/v1/me/email/confirm", opt={"operation": CONFIRM_EMAIL}, status_code=200)
    async def confirm_email(
        self,
        data: JSONBody[EmailConfirmRequest],
        user: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """The account has the new address."""
        return await commands.answer(
            user,
            lambda context: email_addresses.confirm_change(
                ports, context, data.challenge_id, data.code
            ),
            _account,
        )


def _account(registered: Registered) -> Answer:
    return answer(200, account_answer(registered))
