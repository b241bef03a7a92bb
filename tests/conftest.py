"""One real Postgres for the whole run, and a migrated database of its own for each test.

postgres_server  the running server; a test may kill and restart it, and leaves it up
database_url     a fresh database with the schema of this version; gone after the test

What tests write is kept in memory where there is room: see `pytest_configure`.
"""

import itertools
import os
import shutil
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

# Speed is measured elsewhere; here a slow machine must not fail a test that is right. Nor must
# chance: each run tries the same examples. `just explore` tries others, and twenty times as many.
settings.register_profile("tollhouse", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tollhouse"))

MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 * 2**30  # four times what a run was seen to need
TEMPLATE = "template_tollhouse"
FIRST = ("faults", "docs", "examples", "infra", "api", "application", "projections", "domain")
_numbers = itertools.count(1)


def pytest_configure() -> None:
    """Put what tests write into memory where there is room, unless TMPDIR names another place.

    Hundreds of databases are made and dropped, and on a disk that takes more of the processor than
    all else. Nothing here cuts the power, so no test sees a difference: what a killed program has
    written is there afterwards in either place.
    """
    if "TMPDIR" not in os.environ and has_room(MEMORY):
        os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)


def has_room(memory: Path) -> bool:
    """Whether this folder is there and could take all that a run writes."""
    return os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM_BYTES


def pytest_report_header() -> str:
    return f"what tests write: {tempfile.gettempdir()}"


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
    with passable_folder() as folder:
        server = start_postgres(folder / "data", lambda line: None)
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
    template = _made_template(server.url)
    # Copying files ends with a checkpoint, which costs nothing where there is no disk.
    strategy = "FILE_COPY" if tempfile.gettempdir() == str(MEMORY) else "WAL_LOG"
    _run(server.url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY {strategy}")
    try:
        yield database_at(server.url, name)
    finally:
        if not server.process.running():  # a test ended it and failed before its restart
            server.restart()
        _run(server.url, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def passable_folder() -> Iterator[Path]:
    """A folder that Postgres's user may enter. pytest's own are for their owner alone, and each
    start of pytest makes sure of that, also while another one runs."""
    with tempfile.TemporaryDirectory(prefix="tollhouse-tests-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def database_at(url: str, name: str) -> str:
    """The same server's other database."""
    return f"{url.rpartition('/')[0]}/{name}"


def _run(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())
