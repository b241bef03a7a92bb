"""A data folder of its own for each test, that Postgres's user can enter."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import passable_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """DATA_DIR of an `up`."""
    with passable_folder() as made:
        yield made / "data"
