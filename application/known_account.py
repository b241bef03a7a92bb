"""Accounts that have to be there, and those that have to be in force."""

from application.deciding import ACCOUNT, Stream, load
from application.ports import Ports
from domain.accounts import Account
from domain.errors import AccountNotActive, NotFound


class KnownAccount(Stream[Account], frozen=True):
    """The stream of an account that is there."""

    state: Account


async def known_account(ports: Ports, account_id: str) -> KnownAccount:
    """The account as the log has it. NotFound."""
    stream = await load(ports, ACCOUNT, account_id)
    if stream.state is None:
        raise NotFound("account", account_id)
    return KnownAccount(stream.noun, stream.id, stream.version, stream.state)


def require_active(account: Account) -> None:
    """AccountNotActive unless the account is in force."""
    if account.status != "active":
        raise AccountNotActive(account.id, account.status)
