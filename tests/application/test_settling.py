"""Settling in groups: whoever asks is answered, and nobody pays for somebody else's trouble."""

import asyncio
from collections.abc import Sequence

import pytest

from application.errors import StoreUnavailable
from application.settling import Settling

pytestmark = pytest.mark.anyio


async def test_an_account_that_cant_be_settled_fails_alone() -> None:
    asked: list[list[str]] = []

    async def settle(account_ids: Sequence[str]) -> None:
        asked.append(list(account_ids))
        if "acct_bad" in account_ids:
            raise ValueError("1 more was spent than there was")

    settling = Settling(settle)
    wanted = ["acct_1", "acct_bad", "acct_2", "acct_1"]
    async with asyncio.timeout(30):
        found = await asyncio.gather(
            *(settling.settled(each) for each in wanted), return_exceptions=True
        )
    assert [type(each) for each in found] == [type(None), StoreUnavailable] + [type(None)] * 2
    assert asked == [["acct_1", "acct_bad", "acct_2"], ["acct_1"], ["acct_bad"], ["acct_2"]]


async def test_a_store_that_is_away_is_asked_once_for_all() -> None:
    asked: list[list[str]] = []

    async def settle(account_ids: Sequence[str]) -> None:
        asked.append(list(account_ids))
        raise StoreUnavailable("down")

    settling = Settling(settle)
    async with asyncio.timeout(30):
        found = await asyncio.gather(
            *(settling.settled(f"acct_{each}") for each in range(9)), return_exceptions=True
        )
    assert all(isinstance(each, StoreUnavailable) for each in found)
    assert len(asked) == 1
