"""Closing: the account's owner, or staff, ends it; until a date it can be restored.

What follows at that date is `erasing`'s business, where erasure was asked for.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from application import mail, sessions
from application.accounts import profile
from application.deciding import (
    Context,
    Principal,
    change,
    commit,
    retrying,
)
from application.erasing import Erased, erase_now, erased_already
from application.factors import require_fresh
from application.known_account import known_account
from application.mail import Mail, MailTemplate
from application.ports import Ports
from application.rows import ClosingOverRow, ClosingRow, Row
from domain import accounts, closing
from domain.accounts import Account
from domain.errors import InvalidCommand, NotFound, NotPermitted
from domain.event import Event

Mode = Literal["close", "erase"]


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an account that was closed or erased.

    `erased` says how much of what was destroyed, and `position` where the log says so (of the
    closing, where nothing was erased yet). Until `final_at` the account can be restored; None
    where it can't be any more.
    """

    account_id: str
    mode: Mode
    status: Literal["closed", "erased"]
    at: datetime
    final_at: datetime | None
    position: int
    erased: dict[str, int] | None = None


async def close(
    ports: Ports,
    context: Context,
    account_id: str,
    *,
    erase: bool = False,
    grace_days: int | None = None,
    reason: str | None = None,
) -> tuple[Receipt, int]:
    """Close the account, for good after so many days (the policy's, or fewer), and then erase it
    if that is asked for: at once where there are no days. Answers the receipt and the position.

    For its owner, for staff with `accounts.close` (and `accounts.erase`). Raises NotFound,
    NotPermitted, AccountIsStaff, AccountNotActive for one that is erased, InvalidCommand.
    """
    _permit(context.principal, account_id, erase)
    longest = ports.policy.close_grace_days
    days = longest if grace_days is None else grace_days
    if not 0 <= days <= longest:
        raise InvalidCommand("grace_days", f"0 to {longest}")

    async def attempt() -> tuple[Receipt, int]:
        stream = await known_account(ports, account_id)
        now = ports.clock()
        events = closing.close(stream.state, now + timedelta(days=days), erase)
        if not events:
            return _receipt(stream.state, now, ports.directory.position)
        made = change(stream, events, now, account_id)
        ended, rows = await sessions.ending(ports, account_id, "closed")
        rows = [*rows, *_due(made.state), *await _told(ports, made.state, "account_closed", now)]
        position = await commit(ports, context, now, [made, *ended], rows, reason=reason)
        return _receipt(made.state, now, position)

    receipt, position = await retrying(attempt)
    if receipt.mode == "erase" and receipt.final_at is not None and receipt.final_at <= receipt.at:
        erased = await erase_now(ports, context, account_id, reason)
        # Housekeeping may have seen the closing first.
        erased = erased or await erased_already(ports, account_id)
        if erased is not None:
            return _erased(erased), erased.position
    return receipt, position


async def close_own(
    ports: Ports,
    context: Context,
    *,
    erase: bool = False,
    grace_days: int | None = None,
    reason: str | None = None,
) -> tuple[Receipt, int]:
    """`close`, for who calls. With fewer days than usual to think better of it they have just
    signed in, as for factors. Raises FreshSignInRequired, too."""
    principal = context.principal
    account_id = principal.account_id or ""
    if grace_days is not None and grace_days < ports.policy.close_grace_days:
        require_fresh(ports, principal, (await known_account(ports, account_id)).state)
    return await close(
        ports, context, account_id, erase=erase, grace_days=grace_days, reason=reason
    )


async def restore(
    ports: Ports,
    context: Context,
    account_id: str,
    reason: str | None = None,
    *,
    events: Sequence[Event] = (),
    rows: Sequence[Row] = (),
) -> tuple[Account, int]:
    """Undo the closing, within its time; who was suspended before is so again. For staff with
    `accounts.close`; and for its owner, who has to have closed it: what staff closed, staff
    restores. How an owner without a session proves who they are is `restoring`'s: `events` and
    `rows` are what that proof takes. Raises NotFound, NotPermitted, NotClosed."""

    async def attempt() -> tuple[Account, int]:
        stream = await known_account(ports, account_id)
        await _permit_restore(ports, context.principal, account_id)
        now = ports.clock()
        restored = [*events, *closing.restore(stream.state, now)]
        if await _was_suspended(ports, account_id):
            restored.append(accounts.AccountSuspended())
        made = change(stream, restored, now, account_id)
        written: list[Row] = [
            *rows,
            ClosingOverRow(account_id),
            *await _told(ports, made.state, "account_restored", now),
        ]
        return made.state, await commit(
            ports, context, now, [made], written, result=made.state, reason=reason
        )

    return await retrying(attempt)


def _permit(principal: Principal, account_id: str, erase: bool) -> None:
    """Owners close and erase their own; nobody does it in their name."""
    if principal.kind == "account" and principal.account_id == account_id:
        if principal.impersonator is not None:
            raise NotPermitted("owner")
        return
    if not principal.may("accounts.read"):
        raise NotFound("account", account_id)
    if not principal.may("accounts.close"):
        raise NotPermitted("accounts.close")
    if erase and not principal.may("accounts.erase"):
        raise NotPermitted("accounts.erase")


async def _permit_restore(ports: Ports, principal: Principal, account_id: str) -> None:
    if principal.may("accounts.close"):
        return
    if principal.kind != "account" or principal.account_id != account_id:
        raise NotFound("account", account_id)
    closed_by = None
    for recorded in await ports.store.read(account_id):
        if isinstance(recorded.event, accounts.AccountClosed):
            closed_by = recorded.metadata.actor
    if closed_by != account_id and closed_by is not None:
        raise NotPermitted("accounts.close")


async def _was_suspended(ports: Ports, account_id: str) -> bool:
    """Whether the account was suspended when it was closed."""
    suspended = False
    for recorded in await ports.store.read(account_id):
        match recorded.event:
            case accounts.AccountSuspended():
                suspended = True
            case accounts.AccountReinstated():
                suspended = False
    return suspended


def _due(account: Account) -> list[Row]:
    """What the housekeeper finds it by, if it is to be erased."""
    if not account.erase or account.final_at is None:
        return [ClosingOverRow(account.id)]
    return [ClosingRow(account.id, _instant(account.final_at))]


async def _told(ports: Ports, account: Account, template: MailTemplate, now: datetime) -> list[Row]:
    """The mail that says so, if there is an address. None where nothing can be undone: it would
    be a copy of the person, made while they are forgotten."""
    if account.final_at is not None and account.final_at <= now.timestamp():
        return []
    address = (await profile(ports, account.id)).email
    if not address:
        return []
    values = {}
    if account.final_at is not None:
        values["until"] = f"{_instant(account.final_at):%d %B %Y, %H:%M} UTC"
    return [mail.mail_row(ports, Mail(template, address, values, account.id), now)]


def _receipt(account: Account, now: datetime, position: int) -> tuple[Receipt, int]:
    assert account.final_at is not None
    receipt = Receipt(
        account_id=account.id,
        mode="erase" if account.erase else "close",
        status="closed",
        at=now,
        final_at=_instant(account.final_at),
        position=position,
    )
    return receipt, position


def _erased(erased: Erased) -> Receipt:
    return Receipt(
        account_id=erased.account_id,
        mode="erase",
        status="erased",
        at=erased.erased_at,
        final_at=None,
        position=erased.position,
        erased=erased.counts,
    )


def _instant(unix_seconds: float) -> datetime:
    return datetime.fromtimestamp(unix_seconds, UTC)
