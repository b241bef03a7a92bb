"""Signing in: by password or mailed code, with a second factor; and by a passkey alone."""

from typing import Any

from litestar import Controller, Request, Response, post
from litestar.datastructures import State
from litestar.params import JSONBody

from api.http.answers import shown
from api.http.dependencies import TheCommands, ThePorts
from api.http.login_operations import LOGIN, PASSKEY_LOGIN, PASSKEY_OPTIONS
from api.http.login_shapes import LoginRequest, PasskeyLoginRequest, PasskeyOptionsAnswer
from api.http.session_answers import answer_signed_in
from api.http.throttle import network_of
from application import accounts, signing_in
from application.accounts import Registered
from application.deciding import Context
from application.passkey_challenges import TTL_SECONDS
from application.password_proof import Client, Presented
from application.ports import Ports
from application.sessions import SignedIn

AnyRequest = Request[Any, Any, State]
Started = tuple[tuple[SignedIn, Registered], int]


class LoginController(Controller):
    """All of it public, and limited by address."""

    @post("/v1/auth/login", status_code=200, opt={"operation": LOGIN})
    async def login(
        self,
        data: JSONBody[LoginRequest],
        request: AnyRequest,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Sign in by address or username."""
        name, (password, token) = data.name(), data.first_factor()
        second, client = data.second_factor(), _client(request)

        async def sign_in(context: Context) -> Started:
            if token is not None:
                found = await signing_in.by_token(ports, context, token, name, second, client)
            else:
                presented = Presented(name or "", password or "", second)
                found = await signing_in.by_password(ports, context, presented, client)
            return await _with_profile(ports, *found)

        return await answer_signed_in(ports, commands, request, data.session, sign_in)

    @post("/v1/auth/passkey/options", status_code=200, opt={"operation": PASSKEY_OPTIONS})
    async def passkey_options(self, ports: ThePorts) -> Response[bytes]:
        """A challenge for whoever has a passkey."""
        return shown(PasskeyOptionsAnswer(signing_in.passkey_options(ports), TTL_SECONDS))

    @post("/v1/auth/passkey", status_code=200, opt={"operation": PASSKEY_LOGIN})
    async def passkey_login(
        self,
        data: JSONBody[PasskeyLoginRequest],
        request: AnyRequest,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Sign in by what the browser answered."""
        credential, client = data.credential.json(), _client(request)

        async def sign_in(context: Context) -> Started:
            found = await signing_in.by_passkey(ports, context, credential, client)
            return await _with_profile(ports, *found)

        return await answer_signed_in(ports, commands, request, data.session, sign_in)


def _client(request: AnyRequest) -> Client:
    peer = request.scope["client"]
    return Client(
        network=network_of(peer),
        ip=peer[0] if peer else None,
        user_agent=request.headers.get("user-agent"),
    )


async def _with_profile(ports: Ports, signed_in: SignedIn, position: int) -> Started:
    return (signed_in, await accounts.profile(ports, signed_in.account.id)), position
