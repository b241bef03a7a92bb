"""Restoring the own account. Who closed it has no session any more, so they prove themselves as
for signing in: by password or a mailed code, and the second factor where there is one. Throttles
count it as a sign-in; nobody learns here what sign-in doesn't tell.
"""

from functools import partial

import msgspec

from application import challenges, closing, password_proof
from application.deciding import ACCOUNT, Context, Principal, load
from application.errors import WrongCredentials
from application.password_proof import Client, Presented
from application.ports import Ports
from application.rows import Row
from application.second_factors import Proof, SecondFactor, prove_second_factor
from application.throttling import login_undone
from domain.accounts import Account


async def by_password(
    ports: Ports, context: Context, presented: Presented, client: Client
) -> tuple[Account, int]:
    """Restore by address or username, password, and a second factor where there is one. Answers
    the account and the position.

    Raises WrongCredentials, SignInsThrottled, MfaRequired; NotClosed and NotPermitted (staff
    closed it) for who proved to be its owner.
    """
    tried = await password_proof.begin(ports, presented, client)
    async with password_proof.judged(ports, tried):
        account_of = partial(password_proof.account_of, ports)
        account = (await password_proof.decided(ports, tried, account_of)).state
        proof = await password_proof.prove_factor(ports, tried, account)
        restored = await _restore(ports, context, account, proof)
    await login_undone(ports, tried.login)
    return restored


async def by_token(
    ports: Ports, context: Context, token: str, second: SecondFactor
) -> tuple[Account, int]:
    """Restore with the proof of a mailed code of the purpose `sign_in`. Raises as `by_password`."""
    redeemed = await challenges.redeem(ports, token, "sign_in")
    account = (await load(ports, ACCOUNT, redeemed.account_id)).state
    if account is None:
        raise WrongCredentials
    proof = await prove_second_factor(ports, account, second)
    return await _restore(ports, context, account, proof, redeemed.spent)


async def _restore(
    ports: Ports, context: Context, account: Account, proof: Proof, *rows: Row
) -> tuple[Account, int]:
    owner = Principal(kind="account", id=account.id, account_id=account.id)
    return await closing.restore(
        ports,
        msgspec.structs.replace(context, principal=owner),
        account.id,
        events=proof.events,
        rows=[*proof.rows, *rows],
    )
