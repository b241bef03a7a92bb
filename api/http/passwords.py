"""Passwords at the door: changed, reset, judged."""

from typing import Any

from litestar import Controller, Request, Response, post
from litestar.datastructures import State
from litestar.params import JSONBody

from api.http.answers import NO_CONTENT, Answer, shown
from api.http.dependencies import Caller, TheCommands, ThePorts
from api.http.registration_operations import CHANGE_PASSWORD, RESET_PASSWORD, STRENGTH
from api.http.registration_shapes import (
    PasswordChangeRequest,
    PasswordResetRequest,
    StrengthAnswer,
    StrengthRequest,
)
from api.http.throttle import network_of
from application import passwords
from application.deciding import PUBLIC, Context
from application.password_rules import judge, words_of


class PasswordController(Controller):
    """Who knows the old password, or has the mailbox, sets another one."""

    @post("/v1/auth/password/change", opt={"operation": CHANGE_PASSWORD})
    async def change(
        self,
        data: JSONBody[PasswordChangeRequest],
        request: Request[Any, Any, State],
        user: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Another password; the other sessions end."""
        network = network_of(request.scope["client"])

        async def change(context: Context) -> tuple[None, int]:
            position = await passwords.change_own(
                ports, context, data.current_password, data.new_password, network
            )
            return None, position

        return await commands.answer(user, change, _nothing)

    @post("/v1/auth/password/reset", opt={"operation": RESET_PASSWORD})
    async def reset(
        self, data: JSONBody[PasswordResetRequest], ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """Another password; all sessions end."""

        async def reset(context: Context) -> tuple[None, int]:
            position = await passwords.reset(
                ports, context, data.verification_token, data.new_password
            )
            return None, position

        return await commands.answer(PUBLIC, reset, _nothing)

    @post("/v1/auth/password/strength", opt={"operation": STRENGTH}, status_code=200)
    async def strength(self, data: JSONBody[StrengthRequest], ports: ThePorts) -> Response[bytes]:
        """What is thought of a password."""
        found = await judge(ports, data.password, words_of(*data.context))
        return shown(StrengthAnswer(found.score, found.strength, found.warnings, found.acceptable))


def _nothing(_: None) -> Answer:
    return NO_CONTENT
