"""Accounts as staff see them: in pages, by search, and one at a time by what their level sees."""

from collections.abc import AsyncIterator, Sequence
from typing import get_args

import msgspec

from application.accounts import find
from application.deciding import Principal
from application.persons import AccountView, folded
from application.ports import Ports
from application.staff_permits import require
from application.staff_ports import AccountsWanted
from domain.accounts import Account, Status
from domain.errors import InvalidCommand, NotFound
from domain.ids import is_id

EXPORTED_AT_ONCE = 1_000

REACHED_BY = frozenset({"email", "phone", "wallet_address"})
"""How a person is reached, in the world or in money: for who may change it (`accounts.email`)."""


def seen_by(principal: Principal, view: AccountView) -> AccountView:
    """The view without what this principal doesn't see. Owners see all but the note."""
    hidden: set[str] = set()
    if principal.kind == "account" and principal.id == view.account.id:
        hidden = {"note"}
    else:
        if not principal.may("accounts.email"):
            hidden |= REACHED_BY
        if not principal.may("accounts.notes"):
            hidden.add("note")
    return msgspec.structs.replace(view, hidden=frozenset(hidden))


def seen_by_maker(principal: Principal, view: AccountView) -> AccountView:
    """What whoever just made the account sees of it: all that they said, a service as well."""
    return view if principal.kind == "service" else seen_by(principal, view)


async def view(ports: Ports, principal: Principal, name: str) -> AccountView:
    """The account of this id or @username, for its owner and for staff, as far as they see it.
    NotFound for who may not know of it."""
    account_id = await known(ports, principal, name)
    found = folded(await ports.store.read(account_id, personal=True))
    if found is None:
        raise NotFound("account", name)
    return seen_by(principal, found)


async def known(ports: Ports, principal: Principal, name: str) -> str:
    """The id that an id or @username of a path means. Whoever may read no accounts learns
    nothing: for them there is only their own. NotFound."""
    if not principal.may("accounts.read"):
        own = ports.directory.account(principal.id) if principal.kind == "account" else None
        if own is None or name not in (own.id, f"@{own.username}"):
            raise NotFound("account", name)
        return own.id
    if is_id("acct", name):
        return name
    if not name.startswith("@"):
        raise NotFound("account", name)
    try:
        return await find(ports, name)
    except InvalidCommand:
        raise NotFound("account", name) from None


async def named(ports: Ports, principal: Principal, name: str) -> str:
    """The id that a path means where what is done says who may: any id as it stands, which need
    not be anybody's; a @username as `known`. NotFound."""
    return name if is_id("acct", name) else await known(ports, principal, name)


async def page(
    ports: Ports,
    principal: Principal,
    search: str | None,
    wanted: AccountsWanted,
    after: str | None,
    limit: int,
    at_least: int | None = None,
) -> tuple[Sequence[Account], str | None]:
    """So many accounts, after this place, and the place where the next page begins, if there is
    one. Raises NotPermitted, PositionNotReached."""
    require(principal, "accounts.read")
    wanted = await searched(ports, principal, search, wanted)
    found = await ports.account_pages.page(wanted, after, limit + 1, at_least)
    following = place(found[limit - 1], wanted) if len(found) > limit else None
    return found[:limit], following


async def everything(
    ports: Ports, principal: Principal, search: str | None, wanted: AccountsWanted
) -> AsyncIterator[Sequence[Account]]:
    """All pages, for an export. Raises as `page`, before the first one is asked for."""
    require(principal, "accounts.read")
    wanted = await searched(ports, principal, search, wanted)
    return _pages(ports, wanted)


async def _pages(ports: Ports, wanted: AccountsWanted) -> AsyncIterator[Sequence[Account]]:
    after: str | None = None
    while True:
        found = await ports.account_pages.page(wanted, after, EXPORTED_AT_ONCE, None)
        if found:
            yield found
        if len(found) < EXPORTED_AT_ONCE:
            return
        after = place(found[-1], wanted)


def place(account: Account, wanted: AccountsWanted) -> str:
    """Where a page that ends with this account goes on."""
    return account.id if wanted.username_prefix is None else account.username or ""


async def searched(
    ports: Ports, principal: Principal, search: str | None, wanted: AccountsWanted
) -> AccountsWanted:
    """What a search means: an id, an exact address (by its keyed digest; only for who sees
    addresses), an exact @username, `external:` and an id of somebody else's, or how a username
    begins. Raises NotPermitted."""
    text = (search or "").strip()
    if not text:
        return wanted
    replace = msgspec.structs.replace
    if is_id("acct", text):
        return replace(wanted, ids=(text,))
    if text.startswith("external:"):
        return replace(wanted, external_id=text.removeprefix("external:"))
    if "@" in text[1:]:
        require(principal, "accounts.email")
        return replace(wanted, ids=await _holders(ports, text))
    if text.startswith("@"):
        return replace(wanted, ids=await _holders(ports, text))
    return replace(wanted, username_prefix=text.lower())


async def _holders(ports: Ports, name: str) -> tuple[str, ...]:
    try:
        return (await find(ports, name),)
    except (NotFound, InvalidCommand):
        return ()


def known_status(text: str | None) -> Status | None:
    """The status of this name. InvalidCommand."""
    if text is None:
        return None
    for status in get_args(Status):
        if text == status:
            found: Status = status
            return found
    raise InvalidCommand("status", f"one of {' '.join(get_args(Status))}")
