"""Sessions at the door: refresh, sign out, list and end them, and read one's token."""

from typing import Any
from urllib.parse import parse_qsl

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.datastructures import State
from litestar.enums import RequestEncodingType
from litestar.params import FromPath

from api.http import cookies
from api.http.answers import NO_CONTENT, shown
from api.http.callers import presented_token
from api.http.dependencies import Caller, TheCommands, ThePorts
from api.http.oauth_errors import OAUTH_EXCEPTION_HANDLERS
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, cursor_after, id_before
from api.http.problems import HttpProblem, shape_problem
from api.http.session_answers import SessionKind, answer_signed_in
from api.http.session_operations import (
    CLAIMS,
    END_SESSION,
    LOGOUT,
    LOGOUT_ALL,
    REFRESH,
    SESSIONS,
)
from api.http.session_shapes import RefreshRequest, SessionPage, claims_answer, session_answer
from api.http.strict_json import decode
from application import accounts, sessions
from application.accounts import Registered
from application.deciding import Context
from application.errors import RefreshRefused, Unauthenticated
from application.ports import Ports
from application.sessions import SignedIn
from application.tokens import checked
from domain.errors import NotFound
from domain.ids import is_id

AnyRequest = Request[Any, Any, State]


class SessionController(Controller):
    """Whoever has a refresh token may exchange it; the rest is for who signed in."""

    @post(
        "/v1/auth/refresh",
        status_code=200,
        opt={"operation": REFRESH},
        exception_handlers=OAUTH_EXCEPTION_HANDLERS,
    )
    async def refresh(
        self, request: AnyRequest, ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """Rotate; answered in the way in which the token came."""
        token, wanted = await _refresh_token(ports, request)

        async def carry(context: Context) -> tuple[tuple[SignedIn, Registered], int]:
            signed_in, position = await sessions.refresh(ports, context, token)
            profile = await accounts.profile(ports, signed_in.account.id)
            return (signed_in, profile), position

        return await answer_signed_in(ports, commands, request, wanted, carry)

    @post("/v1/auth/logout", opt={"operation": LOGOUT})
    async def logout(self, user: Caller, ports: ThePorts, commands: TheCommands) -> Response[bytes]:
        """End the caller's own session."""
        session_id = user.session_id
        if session_id is None:
            raise Unauthenticated("no session")

        async def carry(context: Context) -> tuple[None, int]:
            return None, await sessions.end_one(ports, context, user.id, session_id, "signed_out")

        response = await commands.answer(user, carry, lambda _: NO_CONTENT)
        cookies.take_back(response)
        return response

    @post("/v1/auth/logout-all", opt={"operation": LOGOUT_ALL})
    async def logout_all(
        self, user: Caller, ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """End all of the caller's."""

        async def carry(context: Context) -> tuple[None, int]:
            return None, await sessions.end_all(ports, context, user.id)

        response = await commands.answer(user, carry, lambda _: NO_CONTENT)
        cookies.take_back(response)
        return response

    @get("/v1/auth/token", opt={"operation": CLAIMS})
    async def claims(self, request: AnyRequest, user: Caller, ports: ThePorts) -> Response[bytes]:
        """What the presented token says."""
        token = presented_token(request.scope["headers"])
        if token is None:
            raise Unauthenticated("no token")
        return shown(claims_answer(ports, checked(ports, token, ports.clock())))

    @get("/v1/me/sessions", opt={"operation": SESSIONS})
    async def list_sessions(
        self, user: Caller, ports: ThePorts, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Response[bytes]:
        """A page of the caller's."""
        after = id_before(cursor, "sess")
        found = await sessions.list_sessions(ports, user.id, after, limit + 1)
        page = [session_answer(*each, user.session_id) for each in found[:limit]]
        following = cursor_after(page[-1].id) if len(found) > limit else None
        return shown(SessionPage(page, following))

    @delete("/v1/me/sessions/{session_id:str}", status_code=200, opt={"operation": END_SESSION})
    async def end_session(
        self, session_id: FromPath[str], user: Caller, ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """End one of the caller's."""
        if not is_id("sess", session_id):
            raise NotFound("session", session_id)

        async def carry(context: Context) -> tuple[None, int]:
            return None, await sessions.end_one(ports, context, user.id, session_id, "ended")

        return await commands.answer(user, carry, lambda _: NO_CONTENT)


async def _refresh_token(ports: Ports, request: AnyRequest) -> tuple[str, SessionKind]:
    """The refresh token of the body, or that of the cookie with what proves the page."""
    body = await request.body()
    headers = request.scope["headers"]
    asked = _refresh_request(request, body) if body else RefreshRequest()
    if asked.refresh_token is not None:
        return asked.refresh_token, "token"
    token = cookies.cookie(headers, cookies.REFRESH)
    if token is None:
        detail = "There is no refresh token, neither here nor in a cookie."
        raise HttpProblem("INVALID_REQUEST", detail, param="refresh_token")
    claims = ports.refresh_tokens.read(token)
    if claims is None:
        raise RefreshRefused("not ours")
    cookies.require_csrf(ports, headers, claims.session_id)
    return token, "cookie"


def _refresh_request(request: AnyRequest, body: bytes) -> RefreshRequest:
    if request.content_type[0] != RequestEncodingType.URL_ENCODED:
        return decode(body, RefreshRequest)
    try:
        return msgspec.convert(dict(parse_qsl(body.decode(), True)), RefreshRequest, strict=False)
    except msgspec.ValidationError as error:
        raise shape_problem(str(error)) from None
