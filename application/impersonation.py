"""Acting as somebody else: with a reason, for a quarter of an hour, and the person is told.

The token says who really acts (`act`, RFC 8693), and so does every event that it leads to. There
is no refresh token. What is for the owner's own hand it can't do (`api.http.access`).
"""

from datetime import datetime, timedelta

from application import mail, sessions
from application.deciding import Context, change, new_id, retrying
from application.known_account import known_account, require_active
from application.mail import Mail
from application.persons import folded
from application.ports import Ports
from application.rows import Row
from application.sessions import SignedIn
from application.staff_permits import permit_on
from domain.accounts import Account, Impersonated
from domain.errors import AccountIsStaff
from domain.staff import levels_of

SECONDS = 900
AMR = ("impersonation",)


async def begin(
    ports: Ports,
    context: Context,
    account_id: str,
    reason: str,
    *,
    ip: str | None = None,
    user_agent: str | None = None,
) -> tuple[SignedIn, int]:
    """Start a session as this account; answers it and the position. Its refresh
    token is for nobody.

    Raises NotPermitted, OnOneself, NotFound, AccountNotActive, and AccountIsStaff: nobody acts
    as staff, or it would say of an admin what support did.
    """

    async def attempt() -> tuple[SignedIn, int]:
        stream = await known_account(ports, account_id)
        _permit(context, stream.state)
        now = ports.clock()
        until = now + timedelta(seconds=SECONDS)
        session_id = new_id(ports, "sess")
        event = Impersonated(session_id=session_id, until=until)
        return await sessions.start(
            ports,
            context,
            stream.state,
            AMR,
            ip=ip,
            user_agent=user_agent,
            impersonator=context.principal.id,
            ttl_seconds=SECONDS,
            session_id=session_id,
            changes=[change(stream, [event], now, account_id)],
            rows=await _letter(ports, account_id, reason, until, now),
            reason=reason,
        )

    return await retrying(attempt)


def _permit(context: Context, account: Account) -> None:
    if levels_of(account.roles):
        raise AccountIsStaff(account.id)
    permit_on(context.principal, account, "accounts.impersonate")
    require_active(account)


async def _letter(
    ports: Ports, account_id: str, reason: str, until: datetime, now: datetime
) -> list[Row]:
    """The mail that tells the person, where there is an address."""
    found = folded(await ports.store.read(account_id, personal=True))
    if found is None or not found.email:
        return []
    values = {"reason": reason, "until": f"{until:%Y-%m-%d %H:%M} UTC"}
    return [mail.mail_row(ports, Mail("impersonated", found.email, values, account_id), now)]
