"""Staff: an admin is left, whatever admins do to each other."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from application import account_admin, staff
from application.deciding import ACCOUNT as ACCOUNTS
from application.deciding import OPERATOR, Context, Principal, load
from domain.accounts import Account
from domain.errors import LastAdmin
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
