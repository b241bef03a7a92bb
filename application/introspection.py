"""Tokens as services ask about them (RFC 7662), and as they end them (RFC 7009)."""

import msgspec

from application.deciding import SESSION, Context, Principal, load
from application.errors import Unauthenticated
from application.ports import AccessClaims, Ports
from application.sessions import end_one
from application.tokens import checked
from domain.accounts import Account
from domain.errors import NotPermitted
from domain.sessions import Session

INTROSPECT = "tokens.introspect"
REVOKE = "tokens.revoke"


class ActiveRefresh(msgspec.Struct, frozen=True):
    """A refresh token that can be exchanged now."""

    account: Account
    session: Session


async def introspect(
    ports: Ports, principal: Principal, token: str
) -> AccessClaims | ActiveRefresh | None:
    """What a token says that holds now; None for any other text, whatever is wrong with it.

    Asking is not presenting: a spent refresh token ends nothing here. Raises NotPermitted.
    """
    _require(principal, INTROSPECT)
    now = ports.clock()
    claims = ports.refresh_tokens.read(token)
    if claims is None:
        try:
            return checked(ports, token, now)
        except Unauthenticated:
            return None
    found = await ports.sessions.current(claims, ports.refresh_tokens.digest(token), now)
    session = (await load(ports, SESSION, claims.session_id)).state
    if found.outcome != "rotated" or found.account is None or session is None:
        return None
    return ActiveRefresh(found.account, session)


async def revoke(ports: Ports, context: Context, token: str) -> int:
    """End the session that this token is of, if it was ever ours and is not expired; answers the
    position. Any other text is done with already (RFC 7009, 2.2). Raises NotPermitted."""
    _require(context.principal, REVOKE)
    session_id = _session_of(ports, token)
    if session_id is None:
        return ports.directory.position
    session = (await load(ports, SESSION, session_id)).state
    if session is None:
        return ports.directory.position
    return await end_one(ports, context, session.account_id, session_id, "revoked")


def _session_of(ports: Ports, token: str) -> str | None:
    claims = ports.refresh_tokens.read(token)
    if claims is not None:
        return claims.session_id
    try:
        return ports.tokens.check(token, ports.clock()).sid
    except Unauthenticated:
        return None


def _require(principal: Principal, permission: str) -> None:
    if principal.kind != "service" or permission not in principal.permissions:
        raise NotPermitted(permission)
