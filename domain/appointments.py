"""Appointments: who gets which level of staff, and loses it. Pure.

One level at a time: appointed again, it is the other level that holds. Every change of roles ends
the access tokens from before.
"""

from domain.accounts import Account, RoleGranted, RoleWithdrawn
from domain.errors import AccountNotActive, InvalidCommand
from domain.event import Event
from domain.staff import LEVELS, levels_of


def appoint(account: Account, level: str) -> list[Event]:
    """Make it staff of this level; what it is already needs no event. InvalidCommand for what is
    no level, AccountNotActive."""
    if level not in LEVELS:
        raise InvalidCommand("level", f"one of {' '.join(sorted(LEVELS))}")
    if account.status != "active":
        raise AccountNotActive(account.id, account.status)
    granted: list[Event] = [] if level in account.roles else [RoleGranted(role=level)]
    return granted + _withdrawn(account, keep=level)


def dismiss(account: Account) -> list[Event]:
    """Take every level from it; of who is no staff there is nothing to take."""
    return _withdrawn(account)


def _withdrawn(account: Account, keep: str | None = None) -> list[Event]:
    return [RoleWithdrawn(role=each) for each in levels_of(account.roles) if each != keep]
