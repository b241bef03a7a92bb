"""Resets: an event from which on is counted anew; all or none, and never a row by row job."""

import psycopg
import pytest

from application import quota_pages, quotas
from application.deciding import OPERATOR
from domain.errors import InvalidCommand, NotFound, NotPermitted
from domain.quotas import Quota
from infra.postgres.connection import conninfo
from tests.application.house import House, context, opened, owner

pytestmark = pytest.mark.anyio


def counter_rows(house: House) -> list[tuple[object, ...]]:
    with psycopg.connect(conninfo(house.url)) as connection:
        return connection.execute("SELECT * FROM counters ORDER BY counter_id").fetchall()


async def test_a_reset_of_everybody_touches_no_counter_and_a_new_process_knows_it(
    house: House, database_url: str
) -> None:
    account = await house.account()
    await house.key(account, quota=Quota(5, "day"))
    rows = counter_rows(house)
    done, position = await quotas.reset_everybody(house.ports, context())
    assert done.owners is None
    assert counter_rows(house) == rows
    assert house.directory.position >= position
    assert house.directory.reset_at_us == done.at_us
    async with opened(database_url) as other:
        assert other.directory.reset_at_us == done.at_us
        later, _ = await quotas.reset_everybody(other.ports, context())
    assert later.at_us > done.at_us


async def test_an_account_without_a_quota_of_its_own_is_reset_by_an_event(house: House) -> None:
    account = await house.account()
    done, _ = await quotas.reset(house.ports, context(), [account.id])
    (live, test) = (await quota_pages.page(house.ports, account, None, 9))[0]
    assert live.state.window_start_us == test.state.window_start_us == done.at_us
    assert live.state.limit == 10


@pytest.mark.parametrize("ids", [[], [f"acct_{n:026d}" for n in range(201)]])
async def test_none_or_too_many_are_refused(house: House, ids: list[str]) -> None:
    with pytest.raises(InvalidCommand) as refused:
        await quotas.reset(house.ports, context(), ids)
    assert refused.value.param == "ids"


async def test_one_unknown_among_many_resets_nobody(house: House) -> None:
    account = await house.account()
    position = house.directory.position
    with pytest.raises(InvalidCommand) as refused:
        await quotas.reset(house.ports, context(), [account.id, "acct_" + "0" * 26])
    assert (refused.value.param, house.directory.position) == ("ids[1]", position)


async def test_nobody_but_staff_resets_or_sets_an_accounts_quota(house: House) -> None:
    account = await house.account()
    asked = context(owner(account))
    for attempt in (
        quotas.reset(house.ports, asked, [account.id]),
        quotas.reset_everybody(house.ports, asked),
        quotas.set_account_quota(house.ports, asked, account.id, None),
    ):
        with pytest.raises(NotPermitted):
            await attempt


async def test_quotas_of_others_are_not_found(house: House) -> None:
    account, other = await house.account(), await house.account()
    assert quota_pages.readable(house.ports, OPERATOR, other.id).id == other.id
    with pytest.raises(NotFound):
        quota_pages.readable(house.ports, owner(account), other.id)
