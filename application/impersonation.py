"""Acting as somebody else: with a reason, for a quarter of an hour, and the person is told.

The token says who really acts (`act`, RFC 8693), and so does every event that it leads to. There
is no refresh token. What is for the owner's own hand it can't do (`api.http.access`).
"""

from datetime import timedelta

from application import mail, sessions
from application.deciding import ACCOUNT, Context, change, load, new_id, retrying
from application.mail import Mail
from application.persons import folded
from application.ports import Ports
from application.rows import Row
from application.sessions import SignedIn
from application.staff_permits import permit_on
from domain.accounts import Impersonated
from domain.errors import AccountIsStaff, AccountNotActive, NotFound
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
        stream = await load(ports, ACCOUNT, account_id)
        account = stream.state
        if account is None:
            raise NotFound("account", account_id)
        if levels_of(account.roles):
            raise AccountIsStaff(account_id)
        permit_on(context.principal, account, "accounts.impersonate")
        if account.status != "active":
            raise AccountNotActive(account.id, account.status)
        now = ports.clock()
        until = now + timedelta(seconds=SECONDS)
        session_id = new_id(ports, "sess")
        event = Impersonated(session_id=session_id, until=until)
        found = folded(await ports.store.read(account_id, personal=True))
        rows: list[Row] = []
        if found is not None and found.email:
            values = {"reason": reason, "until": f"{until:%Y-%m-%d %H:%M} UTC"}
            letter = Mail("impersonated", found.email, values, account_id)
            rows.append(mail.mail_row(ports, letter, now))
        return await sessions.start(
            ports,
            context,
            account,
            AMR,
            ip=ip,
            user_agent=user_agent,
            impersonator=context.principal.id,
            ttl_seconds=SECONDS,
            session_id=session_id,
            changes=[change(stream, [event], now, account_id)],
            rows=rows,
            reason=reason,
        )

    return await retrying(attempt)
