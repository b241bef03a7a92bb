"""Passwords of accounts: changed by who knows the old one, reset by who has the mailbox.

Neither opens anything by itself: a reset is no sign-in, and the second factor stays what it was
(SECURITY 6). Both end sessions, raise the account's epoch, and tell the owner by mail.
"""

from application import challenges, sessions
from application.accounts import load_person
from application.deciding import Context, change, commit, retrying
from application.errors import WrongCredentials
from application.mail import Mail, mail_row
from application.password_rules import require_acceptable, words_of
from application.ports import Ports
from application.rows import PasswordRow, Row
from application.throttling import (
    check_login,
    digest_of_own,
    login_failed,
    login_succeeded,
    login_undone,
    opened,
)
from domain import accounts
from domain.accounts import PasswordSet
from domain.errors import InvalidCommand
from domain.event import Event


async def change_own(ports: Ports, context: Context, current: str, new: str, network: str) -> int:
    """Another password for who calls and knows the one there is; answers the position. The
    other sessions end.

    Raises WrongCredentials, SignInsThrottled, InvalidCommand for one that isn't taken.
    """
    account_id = _own(context)
    known, cleared = await proven(ports, account_id, current, network)
    _, person = await load_person(ports, account_id)
    words = words_of(person.email, person.account.username, person.profile.name)
    await require_acceptable(ports, new, words, "new_password")
    if new == current:
        raise InvalidCommand("new_password", "the same as the current one")
    hash = await ports.passwords.hash(new)

    async def attempt() -> int:
        stream, person = await load_person(ports, account_id)
        # Loaded before this is looked at: a reset that comes between them makes a conflict, and
        # then a password that isn't the current one any more changes nothing.
        if await ports.lookups.password_hash(account_id) != known:
            raise WrongCredentials
        now = ports.clock()
        made = change(stream, [PasswordSet(how="changed")], now, account_id)
        ended, rows = await sessions.ending(
            ports, account_id, "password", context.principal.session_id
        )
        told = mail_row(ports, Mail("password_changed", person.email, account_id=account_id), now)
        rows = [PasswordRow(account_id, hash), told, *cleared, *rows]
        return await commit(ports, context, now, [made, *ended], rows)

    return await retrying(attempt)


async def reset(ports: Ports, context: Context, token: str, new: str) -> int:
    """Another password for whom the token of a mailed code proves; answers the position. All
    sessions end, and a lock by failed sign-ins is over.

    A password that isn't taken leaves the token as it is. Raises WrongCredentials,
    InvalidCommand.
    """
    redeemed = await challenges.redeem(ports, token, "reset_password")
    account_id = redeemed.account_id
    _, person = await load_person(ports, account_id)
    words = words_of(person.email, person.account.username, person.profile.name)
    await require_acceptable(ports, new, words, "new_password")
    hash = await ports.passwords.hash(new)

    async def attempt() -> int:
        stream, person = await load_person(ports, account_id)
        if person.account.status == "erased" or person.email != redeemed.address:
            raise WrongCredentials
        now = ports.clock()
        events: list[Event] = [
            PasswordSet(how="reset"),
            # Whoever told the code has the mailbox.
            *accounts.verify_email(person.account),
        ]
        made = change(stream, events, now, account_id)
        ended, rows = await sessions.ending(ports, account_id, "password")
        told = mail_row(ports, Mail("password_changed", person.email, account_id=account_id), now)
        rows = [
            redeemed.spent,
            PasswordRow(account_id, hash),
            told,
            *opened(ports, account_id, None, now),
            *rows,
        ]
        return await commit(ports, context, now, [made, *ended], rows)

    return await retrying(attempt)


async def proven(
    ports: Ports, account_id: str, password: str, network: str
) -> tuple[str, list[Row]]:
    """The hash of this account's password, if this is it, and rows for the commit that follows.

    Guesses are counted and locked like those of sign-in, apart from them: a stolen token can't
    try out passwords. Raises WrongCredentials, SignInsThrottled, Overloaded.
    """
    login = await check_login(ports, digest_of_own(ports, account_id), network, account_id)
    hash = await ports.lookups.password_hash(account_id)
    try:
        right = await ports.passwords.verify(hash, password)
    except BaseException:
        await login_undone(ports, login)
        raise
    if hash is None or not right or login.guarded:
        raise await login_failed(ports, login)
    await login_undone(ports, login)
    return hash, login_succeeded(ports, login, ports.clock())


def _own(context: Context) -> str:
    account_id = context.principal.account_id
    if context.principal.kind != "account" or account_id is None:
        raise ValueError("only an account has a password of its own")
    return account_id
