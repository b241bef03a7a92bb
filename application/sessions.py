"""Sessions: sign in, and check the token that sign-in gave."""

from base64 import urlsafe_b64encode
from datetime import datetime, timedelta

import msgspec

from application.accounts import find
from application.deciding import (
    ACCOUNT,
    SESSION,
    Context,
    Principal,
    change,
    commit,
    fresh,
    load,
    new_id,
)
from application.errors import Unauthenticated, WrongCredentials
from application.ports import AccessClaims, Ports
from application.rows import SessionRow
from domain.accounts import Account
from domain.errors import AccountNotActive, InvalidCommand, NotFound
from domain.sessions import SessionStarted


class SignedIn(msgspec.Struct, frozen=True):
    """A sign-in and its tokens. The refresh token is shown once; its digest is kept."""

    account: Account
    session_id: str
    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int


async def sign_in(
    ports: Ports,
    context: Context,
    name: str,
    password: str,
    ip: str | None = None,
    user_agent: str | None = None,
) -> tuple[SignedIn, int]:
    """Sign in by address or username and password; answers the tokens and the position.

    Raises WrongCredentials, without a hint and in the same time, whatever was wrong; only
    who knows the password learns that the account is suspended or unverified.
    """
    try:
        account_id = await find(ports, name if "@" in name else f"@{name}")
    except (NotFound, InvalidCommand):
        await ports.passwords.verify(None, password)
        raise WrongCredentials from None
    hash = await ports.lookups.password_hash(account_id)
    if not await ports.passwords.verify(hash, password):
        raise WrongCredentials
    account = (await load(ports, ACCOUNT, account_id)).state
    if account is None:
        raise WrongCredentials
    if account.status != "active":
        raise AccountNotActive(account.id, account.status)
    if ports.policy.require_verified_email and not account.email_verified:
        raise AccountNotActive(account.id, "unverified")
    return await _start(ports, context, account, ip, user_agent)


async def _start(
    ports: Ports, context: Context, account: Account, ip: str | None, user_agent: str | None
) -> tuple[SignedIn, int]:
    now = ports.clock()
    policy = ports.policy
    session_id = new_id(ports, "sess")
    refresh_token = "thr_" + urlsafe_b64encode(ports.entropy(32)).rstrip(b"=").decode()
    expires_at = now + timedelta(seconds=policy.refresh_token_ttl_seconds)
    event = SessionStarted(
        session_id=session_id,
        account_id=account.id,
        amr=("pwd",),
        expires_at=expires_at,
        ip=ip,
        user_agent=user_agent and user_agent[:500],
    )
    changes = [change(fresh(SESSION, session_id), [event], now, account.id)]
    digest = ports.digests.refresh_token(refresh_token)
    rows = [SessionRow(session_id, account.id, digest, expires_at)]
    issued = int(now.timestamp())
    token = ports.tokens.issue(
        AccessClaims(
            sub=account.id,
            sid=session_id,
            jti=new_id(ports, "tok"),
            iat=issued,
            exp=issued + policy.access_token_ttl_seconds,
            roles=list(account.roles),
            amr=["pwd"],
            epoch=account.epoch,
        )
    )
    result = SignedIn(
        account,
        session_id,
        token,
        policy.access_token_ttl_seconds,
        refresh_token,
        policy.refresh_token_ttl_seconds,
    )
    return result, await commit(ports, context, now, changes, rows, result=result)


def principal_of_token(ports: Ports, token: str, now: datetime) -> Principal:
    """Who presents this access token. No I/O: signature and time, then status and epoch
    from memory. Raises Unauthenticated."""
    claims = ports.tokens.check(token, now)
    account = ports.directory.account(claims.sub)
    if account is None:
        raise Unauthenticated("account unknown")
    if account.status != "active":
        raise Unauthenticated(f"account {account.status}")
    if claims.epoch < account.epoch:
        raise Unauthenticated("token from before the last change of access")
    return Principal(
        kind="account", id=account.id, account_id=account.id, roles=frozenset(account.roles)
    )
