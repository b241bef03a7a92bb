"""Accounts at the door: register, sign in, and read one's own account."""

from typing import Any

from litestar import Controller, Request, Response, get, post
from litestar.datastructures import State
from litestar.params import JSONBody

from api.http.answers import Answer, answer, shown
from api.http.auth_operations import LOGIN, ME, REGISTER
from api.http.auth_shapes import (
    LoginRequest,
    RegisteredAnswer,
    RegisterRequest,
    SignedInAnswer,
    account_answer,
)
from api.http.dependencies import Caller, TheCommands, ThePorts
from application import accounts, sessions
from application.accounts import RegisterAccount, Registered
from application.deciding import PUBLIC, Context
from application.sessions import SignedIn


class AuthController(Controller):
    """Registration and sign-in are public; the rest is for who signed in."""

    @post("/v1/auth/register", opt={"operation": REGISTER})
    async def register(
        self, data: JSONBody[RegisterRequest], ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """Make an account on the free plan."""
        command = RegisterAccount(
            email=data.email,
            password=data.password,
            username=data.username,
            profile=data.profile(),
        )
        # Strangers share the principal: a key that two of them chose is not the same key.
        address = ports.digests.claims("idempotency", data.email.strip().lower())[0]
        return await commands.answer_once(
            PUBLIC,
            lambda context: accounts.register(ports, context, command),
            _registered,
            whose=address.hex(),
        )

    @post("/v1/auth/login", status_code=200, opt={"operation": LOGIN})
    async def login(
        self,
        data: JSONBody[LoginRequest],
        request: Request[Any, Any, State],
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Sign in by address or username."""
        name = data.name()
        client = request.client

        async def sign_in(context: Context) -> tuple[tuple[SignedIn, Registered], int]:
            signed_in, position = await sessions.sign_in(
                ports,
                context,
                name,
                data.password,
                ip=client.host if client else None,
                user_agent=request.headers.get("user-agent"),
            )
            profile = await accounts.profile(ports, signed_in.account.id)
            return (signed_in, profile), position

        return await commands.answer(PUBLIC, sign_in, _signed_in)

    @get("/v1/me", opt={"operation": ME})
    async def me(self, user: Caller, ports: ThePorts) -> Response[bytes]:
        """The account of who calls."""
        return shown(account_answer(await accounts.profile(ports, user.id)))


def _registered(registered: Registered) -> Answer:
    return answer(201, RegisteredAnswer(account_answer(registered)), "/v1/me")


def _signed_in(result: tuple[SignedIn, Registered]) -> Answer:
    signed_in, registered = result
    return answer(
        200,
        SignedInAnswer(
            access_token=signed_in.access_token,
            expires_in=signed_in.expires_in,
            refresh_token=signed_in.refresh_token,
            refresh_expires_in=signed_in.refresh_expires_in,
            account=account_answer(registered),
        ),
    )
