"""Restoring the own account. Who closed it has no session any more, so they prove themselves as
for signing in: by password or a mailed code, and the second factor where there is one. Throttles
count it as a sign-in; nobody learns here what sign-in doesn't tell.
"""

import msgspec

from application import challenges, closing
from application.deciding import ACCOUNT, Context, Principal, load
from application.errors import MfaRequired, SignInsThrottled, TooManyAttempts, WrongCredentials
from application.ports import Ports
from application.signing_in import Client, SecondFactor, holder_of, prove_second_factor
from application.throttling import (
    LoginTry,
    check_login,
    digest_of_name,
    login_failed,
    login_undone,
)
from domain.accounts import Account


async def by_password(
    ports: Ports,
    context: Context,
    name: str,
    password: str,
    second: SecondFactor,
    client: Client,
) -> tuple[Account, int]:
    """Restore by address or username and password. Answers the account and the position.

    Raises WrongCredentials, SignInsThrottled, MfaRequired; NotClosed and NotPermitted (staff
    closed it) for who proved to be its owner.
    """
    account_id = await holder_of(ports, name)
    login = await check_login(
        ports,
        digest_of_name(ports, name),
        client.network,
        account_id,
        second_factor=second.presented,
    )
    try:
        account = await _known(ports, login, account_id, password)
        restored = await _restore(ports, context, account, second)
    except (WrongCredentials, SignInsThrottled):
        raise  # counted where it was found out
    except (MfaRequired, TooManyAttempts) as refused:
        if isinstance(refused, MfaRequired) and refused.wrong is None:
            await login_undone(ports, login)
            raise
        failure = await login_failed(ports, login)
        raise failure if login.guarded else refused from None
    except BaseException:
        await login_undone(ports, login)
        raise
    await login_undone(ports, login)
    return restored


async def by_token(
    ports: Ports, context: Context, token: str, second: SecondFactor
) -> tuple[Account, int]:
    """Restore with the proof of a mailed code of the purpose `sign_in`. Raises as `by_password`."""
    redeemed = await challenges.redeem(ports, token, "sign_in")
    account = (await load(ports, ACCOUNT, redeemed.account_id)).state
    if account is None:
        raise WrongCredentials
    return await _restore(ports, context, account, second, redeemed)


async def _known(ports: Ports, login: LoginTry, account_id: str | None, password: str) -> Account:
    """The account whose password this is; the same work where there is none."""
    hash = await ports.lookups.password_hash(account_id or "acct_nobody")
    right = await ports.passwords.verify(hash, password)
    account = (await load(ports, ACCOUNT, account_id)).state if account_id else None
    if right and await ports.lookups.password_hash(account_id or "") != hash:
        right = False  # changed while it was checked
    # While the password alone opens nothing, only a second factor beside it does.
    if not right or account is None or (login.guarded and not account.second_factor):
        raise await login_failed(ports, login)
    return account


async def _restore(
    ports: Ports,
    context: Context,
    account: Account,
    second: SecondFactor,
    redeemed: challenges.Redeemed | None = None,
) -> tuple[Account, int]:
    proof = await prove_second_factor(ports, account, second)
    owner = Principal(kind="account", id=account.id, account_id=account.id)
    spent = [] if redeemed is None else [redeemed.spent]
    return await closing.restore(
        ports,
        msgspec.structs.replace(context, principal=owner),
        account.id,
        events=proof.events,
        rows=[*proof.rows, *spent],
    )
