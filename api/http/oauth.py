"""Tokens for services: introspection (RFC 7662) and revocation (RFC 7009)."""

import msgspec
from litestar import Controller, Response, post
from litestar.params import JSONBody

from api.http.answers import Answer, shown
from api.http.dependencies import Caller, TheCommands, ThePorts
from api.http.oauth_errors import OAUTH_EXCEPTION_HANDLERS
from api.http.session_operations import INTROSPECT, REVOKE
from api.http.session_shapes import Actor, IntrospectionAnswer, TokenRequest
from application import introspection
from application.deciding import Context
from application.introspection import ActiveRefresh
from application.ports import AccessClaims, Ports

_DONE = Answer(200)


class OAuthController(Controller):
    """For service keys with the permission. Bodies are forms, as the RFCs have it, or JSON."""

    exception_handlers = OAUTH_EXCEPTION_HANDLERS

    @post("/oauth/introspect", status_code=200, opt={"operation": INTROSPECT})
    async def introspect(
        self, data: JSONBody[TokenRequest], caller: Caller, ports: ThePorts
    ) -> Response[bytes]:
        """What a token says that holds now."""
        return shown(_told(ports, await introspection.introspect(ports, caller, data.token)))

    @post("/oauth/revoke", status_code=200, opt={"operation": REVOKE})
    async def revoke(
        self,
        data: JSONBody[TokenRequest],
        caller: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """End the session that a token is of."""

        async def carry(context: Context) -> tuple[None, int]:
            return None, await introspection.revoke(ports, context, data.token)

        return await commands.answer(caller, carry, lambda _: _DONE)


def _told(ports: Ports, found: AccessClaims | ActiveRefresh | None) -> msgspec.Struct:
    match found:
        case AccessClaims():
            account = ports.directory.account(found.sub)
            return IntrospectionAnswer(
                active=True,
                token_type="Bearer",  # noqa: S106 - a word of RFC 6750
                iss=ports.tokens.issuer,
                aud=ports.tokens.audience,
                sub=found.sub,
                username=account.username if account is not None else None,
                jti=found.jti,
                iat=found.iat,
                exp=found.exp,
                sid=found.sid,
                roles=found.roles,
                amr=found.amr,
                auth_time=found.auth_time,
                act=Actor(found.impersonator) if found.impersonator else None,
            )
        case ActiveRefresh():
            session = found.session
            return IntrospectionAnswer(
                active=True,
                token_type="refresh_token",  # noqa: S106 - a word of RFC 7009
                iss=ports.tokens.issuer,
                sub=found.account.id,
                username=found.account.username,
                exp=int(session.expires_at.timestamp()),
                sid=session.id,
                amr=list(session.amr),
                auth_time=int(session.started_at.timestamp()),
                act=Actor(session.impersonator) if session.impersonator else None,
            )
    return IntrospectionAnswer(active=False)
