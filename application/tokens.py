"""Access tokens: who presents one, what it says, and whether it holds; no I/O.

A token is good until it expires, unless its account's epoch has risen, its account is not
active, or its session has ended: all three are known to every process from the log.
"""

from datetime import UTC, datetime

from application.deciding import Principal
from application.errors import Unauthenticated
from application.ports import AccessClaims, Ports

LEEWAY_SECONDS = 5


def principal_of_token(ports: Ports, token: str, now: datetime) -> Principal:
    """Who presents this access token. No I/O: signature and time, then status, epoch and
    session from memory. Raises Unauthenticated."""
    return principal_of_claims(checked(ports, token, now))


def principal_of_claims(claims: AccessClaims) -> Principal:
    """Who these claims, which were checked, are about."""
    return Principal(
        kind="account",
        id=claims.sub,
        account_id=claims.sub,
        roles=frozenset(claims.roles),
        session_id=claims.sid,
        amr=tuple(claims.amr),
        signed_in_at=datetime.fromtimestamp(claims.auth_time or claims.iat, UTC),
        impersonator=claims.impersonator,
    )


def checked(ports: Ports, token: str, now: datetime) -> AccessClaims:
    """The claims of an access token that holds now. Raises Unauthenticated.

    The roles are those of the token: every change of them raises the epoch.
    """
    claims = ports.tokens.check(token, now)
    # So a lifetime that was shortened holds for tokens from before, too; and what is known of
    # ended sessions need not be kept for longer than it.
    if now.timestamp() > claims.iat + ports.policy.access_token_ttl_seconds + LEEWAY_SECONDS:
        raise Unauthenticated("token older than tokens may get")
    access = ports.gate.access(claims.sub)
    if access != "active":
        raise Unauthenticated(f"account {access}")
    if claims.epoch < ports.gate.epoch(claims.sub):
        raise Unauthenticated("token from before the last change of access")
    if ports.gate.is_over(claims.sid):
        raise Unauthenticated("session ended")
    if claims.impersonator is not None:
        _may_impersonate(ports, claims.impersonator)
    return claims


def _may_impersonate(ports: Ports, staff_id: str) -> None:
    """Who lost the right loses what they got by it."""
    staff = ports.directory.account(staff_id)
    if staff is None or staff.status != "active":
        raise Unauthenticated("impersonator not active")
    who = Principal(kind="account", id=staff.id, roles=frozenset(staff.roles))
    if not who.may("accounts.impersonate"):
        raise Unauthenticated("impersonator without the right")
