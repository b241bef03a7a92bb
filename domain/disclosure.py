"""Which personal words of an event somebody may see, beside what `disclosed` shows to all.

The owner sees their own words: but not what staff noted about them. Staff see the reasons with
`history.read`, what a person said of themselves and where they signed in from with
`accounts.email`, notes with `accounts.notes`, and what somebody is publicly called with
`accounts.read`.
"""

from collections.abc import Iterable
from typing import Any

from domain.event import Recorded, disclosed, name_fields, personal_fields
from domain.staff import Right

_NOTES = frozenset({"note"})


def sees_reasons(owner: bool, rights: Iterable[Right]) -> bool:
    """Whether they may read why somebody did it."""
    return owner or "history.read" in rights


def seen(recorded: Recorded, owner: bool, rights: frozenset[Right]) -> dict[str, Any]:
    """All of the event that may be shown to this reader, as JSON types.

    A personal field is only there where it has a value: it has none once its person was erased.
    """
    data = disclosed(recorded.event)
    names = name_fields(type(recorded.event))
    for field in personal_fields(type(recorded.event)):
        if field in _NOTES:
            allowed = "accounts.notes" in rights
        elif field in names:
            allowed = owner or "accounts.read" in rights
        else:
            allowed = owner or "accounts.email" in rights
        value = getattr(recorded.event, field)
        if allowed and value is not None:
            data[field] = value
    return data
