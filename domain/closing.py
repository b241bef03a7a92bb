"""Closing, restoring and erasing an account: what is decided, and when it is too late."""

from datetime import datetime

from domain.account_events import AccountClosed, AccountErased, AccountRestored
from domain.accounts import Account
from domain.errors import AccountIsStaff, AccountNotActive, NotClosed
from domain.event import Event
from domain.staff import LEVELS


def close(account: Account, final_at: datetime, erase: bool) -> list[Event]:
    """End the account; `final_at` is until when that can be undone, `erase` what follows then.

    One that is closed already is closed anew only for more: to be erased, or sooner. Staff are
    dismissed first: so nobody shuts the last admin out by mistake. Raises AccountIsStaff,
    AccountNotActive for one that is erased.
    """
    if account.status == "erased":
        raise AccountNotActive(account.id, account.status)
    if LEVELS & set(account.roles):
        raise AccountIsStaff(account.id)
    if account.status != "closed" or account.final_at is None:
        return [AccountClosed(final_at=final_at, erase=erase)]
    erase = erase or account.erase
    sooner = final_at.timestamp() < account.final_at
    if not sooner and erase == account.erase:
        return []
    until = final_at if sooner else datetime.fromtimestamp(account.final_at, final_at.tzinfo)
    return [AccountClosed(final_at=until, erase=erase)]


def restore(account: Account, now: datetime) -> list[Event]:
    """Undo the closing. NotClosed for one that is not closed, or for good by now."""
    if account.status != "closed" or account.final_at is None:
        raise NotClosed(account.id)
    if now.timestamp() >= account.final_at:
        raise NotClosed(account.id, too_late=True)
    return [AccountRestored()]


def erase(account: Account, counts: dict[str, int], now: datetime) -> list[Event]:
    """Forget the person: of one that is closed, to be erased, and whose time is over. Nothing
    where it was done, or called off in the meantime."""
    if account.status != "closed" or not account.erase or account.final_at is None:
        return []
    return [AccountErased(counts=counts)] if now.timestamp() >= account.final_at else []


def erase_again(account: Account, counts: dict[str, int]) -> list[Event]:
    """Forget a person whom this log still knows, as it is older than the erasure. Whatever the
    account was then: it was erased, and stays so."""
    return [] if account.status == "erased" else [AccountErased(counts=counts)]
