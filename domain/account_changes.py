"""What staff change of an account beside its profile: its address, a note, its roles. Pure."""

import re

from domain.account_events import EmailChanged, NoteWritten
from domain.accounts import Account, grant_role, withdraw_role
from domain.errors import InvalidCommand
from domain.event import Event
from domain.staff import LEVELS

MOST_NOTE = 4_000
MOST_ROLES = 20
_NUL = re.compile("\x00")


def change_email(known: str | None, wanted: str) -> list[Event]:
    """Another address, which nobody has proven. `wanted` is as `claims` spells it."""
    return [] if wanted == known else [EmailChanged(email=wanted, verified=False)]


def write_note(known: str | None, wanted: str | None) -> list[Event]:
    """The note that staff sees, in the place of the one before; None takes it away."""
    if wanted is not None and (len(wanted) > MOST_NOTE or _NUL.search(wanted)):
        raise InvalidCommand("note", f"at most {MOST_NOTE} characters, none of them U+0000")
    return [] if wanted == known else [NoteWritten(note=wanted)]


def set_roles(account: Account, wanted: tuple[str, ...]) -> list[Event]:
    """These roles, and no others. Levels of staff are neither given nor taken here
    (`appointments`): those that the account has stay. InvalidCommand."""
    if len(wanted) > MOST_ROLES:
        raise InvalidCommand("roles", f"at most {MOST_ROLES}")
    if LEVELS & set(wanted) - set(account.roles):
        raise InvalidCommand("roles", "levels of staff are given by POST /v1/staff")
    events = [event for role in dict.fromkeys(wanted) for event in grant_role(account, role)]
    for role in account.roles:
        if role not in wanted and role not in LEVELS:
            events += withdraw_role(account, role)
    return events
