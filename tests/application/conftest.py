"""One open house on a database of its own for each test that asks for it."""

from collections.abc import AsyncIterator

import pytest

from tests.application.house import House, opened


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    async with opened(database_url) as made:
        yield made
