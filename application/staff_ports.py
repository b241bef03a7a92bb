"""What staff's list of accounts needs from the outside; `infra.postgres.account_pages` has it."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from domain.accounts import Account, Status


class AccountsWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which accounts: all of what is given must hold. `username_prefix` is
    lower case; of `roles`, one is enough."""

    ids: tuple[str, ...] | None = None
    username_prefix: str | None = None
    external_id: str | None = None
    plan: str | None = None
    status: Status | None = None
    roles: tuple[str, ...] = ()


class AccountPages(Protocol):
    """The list of accounts, in pages of any depth. It follows the log: late by a moment."""

    async def page(
        self, wanted: AccountsWanted, after: str | None, limit: int, at_least: int | None
    ) -> Sequence[Account]:
        """So many of them, after this place: by username where a prefix is wanted, else by id.
        Waits until the position `at_least` is in the list; PositionNotReached after 2 s."""
        ...
