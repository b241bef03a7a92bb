"""What signing in and refreshing answer: tokens in the body, or in cookies."""

from typing import Any, Literal

from litestar import Request, Response
from litestar.datastructures import State
from msgspec import UNSET

from api.commands import Carry
from api.http import cookies
from api.http.answers import Answer, answer
from api.http.auth_shapes import SignedInAnswer, account_answer
from api.http.commands import Commands
from application.accounts import Registered
from application.deciding import PUBLIC
from application.ports import Ports
from application.sessions import SignedIn

SessionKind = Literal["token", "cookie"]
"""Where a client wants its tokens: in the body, or in `__Host-` cookies that no script reads."""


async def answer_signed_in(
    ports: Ports,
    commands: Commands,
    request: Request[Any, Any, State],
    wanted: SessionKind,
    carry: Carry[tuple[SignedIn, Registered]],
) -> Response[bytes]:
    """Carry out what signs somebody in, and answer its tokens where they are wanted.

    Cookies are given to pages of our own only, so that nobody is signed in to another's account
    without noticing (HttpProblem).
    """
    made: list[SignedIn] = []

    def show(result: tuple[SignedIn, Registered]) -> Answer:
        made.append(result[0])
        return signed_in_answer(ports, wanted, *result)

    if wanted == "cookie":
        cookies.require_own_page(ports, request.scope["headers"])
    response = await commands.answer(PUBLIC, carry, show)
    if wanted == "cookie":
        cookies.give(response, ports, made[-1])
    return response


def signed_in_answer(
    ports: Ports, wanted: SessionKind, signed_in: SignedIn, registered: Registered
) -> Answer:
    """The body; without tokens where they are in cookies."""
    in_cookies = wanted == "cookie"
    csrf = ports.refresh_tokens.csrf(signed_in.session_id)
    return answer(
        200,
        SignedInAnswer(
            access_token=UNSET if in_cookies else signed_in.access_token,
            expires_in=signed_in.expires_in,
            refresh_token=UNSET if in_cookies else signed_in.refresh_token,
            refresh_expires_in=signed_in.refresh_expires_in,
            csrf_token=csrf if in_cookies else UNSET,
            account=account_answer(registered),
        ),
    )
