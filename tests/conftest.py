"""One real Postgres for the whole run, and a migrated database of its own for each test.

postgres_server  the running server; a test may kill and restart it, and leaves it up
database_url     a fresh database with the schema of this version; gone after the test
"""

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings

from infra.embedded import RunningPostgres, start_postgres
from infra.postgres.migrate import migrate

# Speed is measured elsewhere; here a slow machine must not fail a test that is right.
settings.register_profile("tollhouse", deadline=None)
settings.load_profile("tollhouse")

TEMPLATE = "template_tollhouse"
FIRST = ("faults", "docs", "examples", "infra", "api", "application", "projections", "domain")
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts whole servers first: several processes share the files of tests, and long ones
    at the end would keep one of them busy while the others have nothing left."""
    here = Path(__file__).parent

    def turn(item: pytest.Item) -> int:
        room = item.path.relative_to(here).parts[0]
        return FIRST.index(room) if room in FIRST else len(FIRST)

    items.sort(key=turn)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests (`pytest.mark.anyio`) run on asyncio, as the server does."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[RunningPostgres]:
    """The embedded Postgres, as `up` starts it; stopped when the run ends."""
    with tempfile.TemporaryDirectory(prefix="tollhouse-tests-") as folder:
        os.chmod(folder, 0o755)  # Postgres's user has to enter it
        server = start_postgres(Path(folder) / "data", lambda line: None)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def _template(postgres_server: RunningPostgres) -> str:
    """The migrated database that the others are copies of."""
    return _made_template(postgres_server.url)


@cache
def _made_template(url: str) -> str:
    _run(url, f"CREATE DATABASE {TEMPLATE}")
    migrate(database_at(url, TEMPLATE))
    return TEMPLATE


@pytest.fixture
def database_url(postgres_server: RunningPostgres) -> Iterator[str]:
    """A database that nobody else uses, migrated to this version."""
    with fresh_database(postgres_server) as url:
        yield url


@contextmanager
def fresh_database(server: RunningPostgres) -> Iterator[str]:
    """A copy of the migrated template, dropped at the end whoever is connected still."""
    name = f"test_{next(_numbers)}"
    _run(server.url, f"CREATE DATABASE {name} TEMPLATE {_made_template(server.url)}")
    try:
        yield database_at(server.url, name)
    finally:
        if not server.process.running():  # a test ended it and failed before its restart
            server.restart()
        _run(server.url, f"DROP DATABASE {name} WITH (FORCE)")


def database_at(url: str, name: str) -> str:
    """The same server's other database."""
    return f"{url.rpartition('/')[0]}/{name}"


def _run(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())
