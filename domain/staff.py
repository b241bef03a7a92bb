"""Staff: the levels that an account may have, and what each may see and do.

One table, read by every use case that acts on other people's things; nothing else decides it.
A level is a role of an account. Names of levels are kept for staff: no owner can have them.
"""

from collections.abc import Iterable
from typing import Literal

Level = Literal["viewer", "support", "advanced", "admin", "auditor", "analyst"]

Right = Literal[
    "accounts.read",
    "accounts.email",
    "accounts.notes",
    "accounts.create",
    "accounts.change",
    "accounts.suspend",
    "accounts.reset",
    "accounts.close",
    "accounts.erase",
    "accounts.impersonate",
    "accounts.roles",
    "sessions.end",
    "keys.read",
    "keys.manage",
    "keys.service",
    "limits.set",
    "limits.reset",
    "limits.reset_all",
    "plan.assign",
    "plans.publish",
    "credits.read",
    "credits.grant",
    "history.read",
    "events.read",
    "usage.read",
    "lake.query",
    "staff.manage",
]

ADMIN: Level = "admin"

_VIEWER: frozenset[Right] = frozenset({"accounts.read", "keys.read", "credits.read", "usage.read"})
_SUPPORT: frozenset[Right] = _VIEWER | {
    "accounts.email",
    "accounts.notes",
    "accounts.change",
    "accounts.suspend",
    "accounts.reset",
    "sessions.end",
    "keys.manage",
    "limits.set",
    "limits.reset",
    "plan.assign",
    "history.read",
}
_ADVANCED: frozenset[Right] = _SUPPORT | {
    "accounts.create",
    "accounts.close",
    "accounts.impersonate",
    "credits.grant",
}
_ADMIN: frozenset[Right] = _ADVANCED | {
    "accounts.erase",
    "accounts.roles",
    "keys.service",
    "limits.reset_all",
    "plans.publish",
    "events.read",
    "lake.query",
    "staff.manage",
}

RIGHTS: dict[Level, frozenset[Right]] = {
    "viewer": _VIEWER,
    "support": _SUPPORT,
    "advanced": _ADVANCED,
    "admin": _ADMIN,
    "auditor": _VIEWER | {"history.read", "events.read"},
    "analyst": frozenset({"lake.query", "usage.read"}),
}
"""What a level may do beyond what an owner may do with their own."""

LEVELS = frozenset(RIGHTS)


def rights_of(roles: frozenset[str]) -> frozenset[Right]:
    """The rights of somebody with these roles; none for who is no staff."""
    return frozenset().union(*(rights for level, rights in RIGHTS.items() if level in roles))


def levels_of(roles: Iterable[str]) -> tuple[Level, ...]:
    """The staff levels among these roles; empty for who is no staff."""
    return tuple(level for level in RIGHTS if level in roles)
