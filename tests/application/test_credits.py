"""Credits on a real Postgres: what commands promise, alone and all at once."""


import pytest

from application import credits
from application.credits import GrantCredits, Price
from domain.errors import CreditsExhausted
from tests.application.house import context, opened

pytestmark = pytest.mark.anyio


async def test_what_is_granted_can_be_spent_once(database_url: str) -> None:
    async with opened(database_url) as house:
        account = await house.account()
        granted, first = await credits.grant(
            house.ports, context(), account.id, GrantCredits(amount=10_00)
        )
        assert granted.available == 15_00, "the plan's and these"
        spent, second = await credits.spend(house.ports, context(), account.id, Price(amount=12_00))
        assert (spent.amount, spent.available) == (12_00, 3_00)
        assert second > first
        with pytest.raises(CreditsExhausted) as refused:
            await credits.spend(house.ports, context(), account.id, Price(amount=3_01))
        assert (refused.value.available, refused.value.needed) == (3_00, 3_01)
