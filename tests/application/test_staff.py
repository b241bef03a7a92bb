"""Staff: an admin is left, whatever admins do to each other."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from application import account_admin, erasing, staff
from application.deciding import ACCOUNT as ACCOUNTS
from application.deciding import OPERATOR, Context, Principal, load
from domain.accounts import Account
from domain.errors import LastAdmin
from infra.erasure_ledger import FolderLedger
from tests.application.house import House, context

pytestmark = pytest.mark.anyio

Act = Callable[[House, Context, str], Awaitable[Any]]

ACTS: dict[str, Act] = {
    "dismiss": lambda house, by, id: staff.dismiss(house.ports, by, id, "gone"),
    "move": lambda house, by, id: staff.move(house.ports, by, id, "support", "less to do"),
    "suspend": lambda house, by, id: account_admin.suspend(house.ports, by, id, "abuse"),
}


def admin(account_id: str) -> Context:
    """A command of this admin."""
    roles = frozenset(("admin",))
    return context(Principal(kind="account", id=account_id, account_id=account_id, roles=roles))


async def appointed(house: House) -> str:
    made = await house.account()
    await staff.appoint(house.ports, context(), made.id, "admin", "for a test")
    return made.id


async def admins(house: House, *ids: str) -> list[str]:
    """Which of them are admins that may act."""
    found: list[Account | None] = [(await load(house.ports, ACCOUNTS, each)).state for each in ids]
    return [each.id for each in found if each and "admin" in each.roles and each.status == "active"]


async def test_two_admins_who_end_each_other_at_once_leave_one(house: House) -> None:
    """So does any number of them: the last one stays."""
    left = await appointed(house)
    for act in ACTS.values():
        four = [left, *[await appointed(house) for _ in range(3)]]
        ring = zip(four, [*four[1:], left], strict=True)
        outcomes = await asyncio.gather(
            *(act(house, admin(by), whom) for by, whom in ring), return_exceptions=True
        )
        refused = [each for each in outcomes if isinstance(each, BaseException)]
        assert [type(each) for each in refused] == [LastAdmin]
        (left,) = await admins(house, *four)


async def test_the_last_admin_stays_even_for_the_operator(house: House) -> None:
    """Who appoints another one first may."""
    last = await appointed(house)
    for act in ACTS.values():
        with pytest.raises(LastAdmin):
            await act(house, context(OPERATOR), last)
    assert await admins(house, last) == [last]
    other = await appointed(house)
    await staff.dismiss(house.ports, context(OPERATOR), last, "gone")
    assert await admins(house, last, other) == [other]


async def test_who_was_erased_is_so_again_in_a_copy_that_knows_them_as_the_only_admin(
    house: House, tmp_path: Path
) -> None:
    """The law has it so, and a start waits for it."""
    last = await appointed(house)
    house.ports = msgspec.structs.replace(house.ports, ledger=FolderLedger(tmp_path))
    await erasing.to_ledger(house.ports, erasing.Erased(last, {}, datetime.now(UTC), 10**9))
    assert await erasing.erase_again(house.ports) == [last]
    assert await admins(house, last) == []
