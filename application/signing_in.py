"""Signing in: the whole decision, from what was presented to the session.

A password, or a code that was mailed in its place, is one factor; where the account has a second
one, nothing opens without it. A passkey is both. What is known only to who got the password
right is said then: that a factor is missing, that the account is suspended.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from application import challenges, passkey_challenges, password_proof, sessions
from application.deciding import ACCOUNT, Change, Context, Stream, change, load, retrying
from application.errors import WrongCredentials
from application.factor_ports import Json
from application.password_proof import Client, PasswordTry, Presented
from application.ports import Ports
from application.rows import PasswordRow
from application.second_factors import (
    BY_PASSKEY,
    Proof,
    SecondFactor,
    assert_passkey,
    prove_second_factor,
    use_passkey,
)
from application.sessions import SignedIn
from application.throttling import login_succeeded, opened
from domain import accounts
from domain.accounts import Account
from domain.errors import AccountNotActive
from domain.event import Event

BY_PASSWORD = ("pwd",)
BY_MAIL = ("otp",)
"""Methods by RFC 8176."""


async def by_password(
    ports: Ports, context: Context, presented: Presented, client: Client
) -> tuple[SignedIn, int]:
    """Sign in by address or username, password, and a second factor where there is one.

    Raises WrongCredentials; SignInsThrottled before anything was judged; MfaRequired,
    TooManyAttempts (of the app's codes) and AccountNotActive for who knows the password.
    """
    tried = await password_proof.begin(ports, presented, client)
    async with password_proof.judged(ports, tried):
        decide = partial(_by_password, ports, context, client)
        return await password_proof.decided(ports, tried, decide)


async def _by_password(
    ports: Ports, context: Context, client: Client, tried: PasswordTry
) -> tuple[SignedIn, int]:
    stream = await password_proof.account_of(ports, tried)
    account = stream.state
    if not tried.login.guarded:
        _require_active(ports, account)
    proof = await password_proof.prove_factor(ports, tried, account)
    _require_active(ports, account)
    rows = [*proof.rows, *login_succeeded(ports, tried.login, ports.clock())]
    if tried.hash is not None and ports.passwords.needs_rehash(tried.hash):
        rows.append(PasswordRow(account.id, await ports.passwords.hash(tried.presented.password)))
    return await sessions.start(
        ports,
        context,
        account,
        _methods(BY_PASSWORD, proof),
        ip=client.ip,
        user_agent=client.user_agent,
        changes=_changes(ports, stream, proof.events),
        rows=rows,
    )


async def by_token(
    ports: Ports,
    context: Context,
    token: str,
    name: str | None,
    second: SecondFactor,
    client: Client,
) -> tuple[SignedIn, int]:
    """Sign in with the proof of a mailed code in the place of the password.

    It is never the second factor. Opens a locked account, as nothing was guessed. The token
    stays good while a factor is missing. Raises WrongCredentials, MfaRequired, AccountNotActive.
    """

    async def attempt() -> tuple[SignedIn, int]:
        redeemed = await challenges.redeem(ports, token, "sign_in")
        if name is not None and await password_proof.holder_of(ports, name) != redeemed.account_id:
            raise WrongCredentials
        stream = await load(ports, ACCOUNT, redeemed.account_id)
        account = stream.state
        if account is None:
            raise WrongCredentials
        proven = accounts.verify_email(account)  # the code went to this very address
        _require_active(ports, account, verified=True)
        proof = await prove_second_factor(ports, account, second)
        now = ports.clock()
        return await sessions.start(
            ports,
            context,
            account,
            _methods(BY_MAIL, proof),
            ip=client.ip,
            user_agent=client.user_agent,
            changes=_changes(ports, stream, [*proven, *proof.events]),
            rows=[*proof.rows, redeemed.spent, *opened(ports, account.id, client.network, now)],
        )

    return await retrying(attempt)


def passkey_options(ports: Ports) -> Json:
    """What `navigator.credentials.get` takes; good for five minutes and once."""
    challenge = passkey_challenges.make(ports, "sign_in")
    return ports.passkeys.request_options(challenge, passkey_challenges.TTL_SECONDS)


async def by_passkey(
    ports: Ports, context: Context, credential: Json, client: Client
) -> tuple[SignedIn, int]:
    """Sign in with a passkey alone. Raises WrongCredentials, AccountNotActive."""
    asserted = await assert_passkey(ports, credential)

    async def attempt() -> tuple[SignedIn, int]:
        account = (await load(ports, ACCOUNT, asserted.held.account_id)).state
        if account is None:
            raise WrongCredentials
        _require_active(ports, account)
        return await sessions.start(
            ports,
            context,
            account,
            BY_PASSKEY,
            ip=client.ip,
            user_agent=client.user_agent,
            rows=opened(ports, account.id, client.network, ports.clock()),
        )

    await use_passkey(ports, asserted)
    return await retrying(attempt)


def _require_active(ports: Ports, account: Account, *, verified: bool = False) -> None:
    if account.status != "active":
        raise AccountNotActive(account.id, account.status)
    if ports.policy.require_verified_email and not (account.email_verified or verified):
        raise AccountNotActive(account.id, "unverified")


def _methods(first: tuple[str, ...], proof: Proof) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *proof.amr)))


def _changes(ports: Ports, stream: Stream[Account], events: Sequence[Event]) -> list[Change[Any]]:
    return [change(stream, events, ports.clock(), stream.id)] if events else []
