"""What the routes of staff take and answer."""

from typing import Annotated

import msgspec

from api.http.account_shapes import AccountListed, Why
from domain.accounts import Account
from domain.staff import Level, levels_of


class AppointRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who becomes staff: an account's id, address or @username."""

    account: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    level: Level
    reason: Why


class MoveRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another level, and why."""

    level: Level
    reason: Why


class StaffAnswer(AccountListed, frozen=True, kw_only=True):
    """A member of staff. `level` is null of who isn't any more."""

    level: Level | None


class StaffPage(msgspec.Struct, frozen=True):
    """A page of staff."""

    items: list[StaffAnswer]
    next_cursor: str | None


def staff_answer(account: Account) -> StaffAnswer:
    """The account with its level."""
    levels = levels_of(account.roles)
    fields = {name: getattr(account, name) for name in AccountListed.__struct_fields__}
    return StaffAnswer(level=levels[0] if levels else None, **fields)
