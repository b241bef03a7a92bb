"""What staff do to accounts: suspend, reinstate, sign out, start a reset, take a key's secret.

Each with a reason, which is kept, sealed, with the event. Who is staff is touched only by who
manages staff (`staff_permits`).
"""

from application import accounts, api_keys, challenges, closing, key_rotation, sessions
from application.deciding import (
    ACCOUNT,
    API_KEY,
    Context,
    Stream,
    change,
    commit,
    load,
    retrying,
)
from application.key_rotation import RotatedApiKey
from application.known_account import known_account
from application.persons import folded
from application.ports import Ports
from application.rows import PasswordGoneRow
from application.staff_permits import permit_on, require
from domain.accounts import Account, PasswordSet
from domain.errors import AccountNotActive, NotFound
from domain.staff import Right


async def suspend(ports: Ports, context: Context, account_id: str, reason: str) -> int:
    """Stop everything of this account for now; answers the position. Raises NotPermitted,
    OnOneself, NotFound, LastAdmin."""
    await permitted(ports, context, account_id, "accounts.suspend")
    return await accounts.suspend(ports, context, account_id, reason)


async def reinstate(ports: Ports, context: Context, account_id: str, reason: str) -> int:
    """Undo a suspension; or, for staff with `accounts.close`, a closing within its time. Otherwise
    as `suspend`; NotClosed where that time is over."""
    account = await permitted(ports, context, account_id, "accounts.suspend")
    if account.status == "closed":
        require(context.principal, "accounts.close")
        return (await closing.restore(ports, context, account_id, reason))[1]
    return await accounts.reinstate(ports, context, account_id, reason)


async def end_sessions(ports: Ports, context: Context, account_id: str, reason: str) -> int:
    """End all sessions of this account, and its tokens; answers the position. Raises as
    `suspend`."""
    await permitted(ports, context, account_id, "sessions.end")
    return await sessions.end_all(ports, context, account_id, reason)


async def rotate_key(
    ports: Ports,
    context: Context,
    account_id: str,
    key_id: str,
    overlap_seconds: int,
    reason: str,
) -> tuple[RotatedApiKey, int]:
    """Give a key of this account another secret, which is told to staff this once; the present
    one works on for so long. Raises as `suspend`, and as `key_rotation.rotate`."""
    await permitted(ports, context, account_id, "keys.manage")
    key = (await load(ports, API_KEY, key_id)).state
    if key is None or key.account_id != account_id:
        raise NotFound("key", key_id)
    api_keys.visible(context.principal, key_id, key)
    return await key_rotation.rotate(ports, context, key_id, overlap_seconds, reason)


async def start_reset(ports: Ports, context: Context, account_id: str, reason: str) -> int:
    """Take the password away, end all sessions, and mail the owner a code to set another with;
    answers the position. Staff sees neither the code nor a password.

    The mail comes after the commit: should it be lost between the two, the owner asks for a code
    where they sign in, or staff starts it again. Raises as `suspend`; AccountNotActive for one
    that is closed or erased.
    """

    async def attempt() -> tuple[str, int]:
        recorded = await ports.store.read(account_id, personal=True)
        found = folded(recorded)
        if found is None:
            raise NotFound("account", account_id)
        account = found.account
        permit_on(context.principal, account, "accounts.reset")
        if account.status in ("closed", "erased") or found.email is None:
            raise AccountNotActive(account_id, account.status)
        now = ports.clock()
        ended, rows = await sessions.ending(ports, account_id, "password")
        stream = Stream(ACCOUNT, account_id, recorded[-1].version, account)
        taken = change(stream, [PasswordSet(how="removed")], now, account_id)
        rows = [*rows, PasswordGoneRow(account_id)]
        position = await commit(ports, context, now, [taken, *ended], rows, reason=reason)
        return found.email, position

    address, position = await retrying(attempt)
    await challenges.begin(ports, "reset_password", address, template="reset_started")
    return position


async def permitted(ports: Ports, context: Context, account_id: str, right: Right) -> Account:
    """The account as the log has it, if staff may do this to it. Raises NotPermitted, OnOneself,
    NotFound."""
    account = (await known_account(ports, account_id)).state
    permit_on(context.principal, account, right)
    return account
