"""The grants that docs/operations.md gives to a serving role are enough, and not too much."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from application.asks import NOBODY, Ask
from application.ending import ended
from application.mail import Mail, forgotten, mail_row
from application.mailing import send_due, sweep
from application.ports import Follower
from house import House, opened
from infra.followers import keep
from infra.mail.sending import mailing
from infra.postgres.connection import conninfo
from infra.settings import Settings
from infra.working import jobs_of
from main import prepare
from tests.infra.following import run, taking, until
from tests.infra.publishing import a_nats

pytestmark = pytest.mark.anyio

OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"
PASSWORD = "only-in-this-test"


@pytest.fixture
def app_url(database_url: str) -> Iterator[str]:
    """The database as a role sees it that has the grants of the page, and no more."""
    grants = re.search(r"```sql\n(GRANT .*?)```", OPERATIONS.read_text(), re.DOTALL)
    assert grants is not None
    run(database_url, f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'")
    try:
        run(database_url, grants[1])
        parts = urlsplit(database_url)
        place = f"app:{PASSWORD}@{parts.netloc.rpartition('@')[2]}"
        yield urlunsplit(parts._replace(netloc=place))
    finally:
        run(database_url, "DROP OWNED BY app")
        run(database_url, "DROP ROLE app")


async def test_a_serving_role_with_the_grants_of_the_page_serves_and_follows(
    app_url: str, tmp_path: Path
) -> None:
    settings = Settings(
        environment="test",
        data_dir=tmp_path,
        master_key=b"m" * 32,
        key_pepper=b"p" * 32,
        argon2_memory_kib=7168,
        argon2_time=1,
        directory_max_staleness_ms=30_000,
    )
    with a_nats() as nats:
        async with opened(settings, app_url, verifying=True) as house:
            await prepare(settings, house, lambda line: None, first=True)
            await until(lambda: house.directory.fresh(30))
            await house.verifier.verify(Ask(NOBODY), "req_1")
            await mailed_and_forgotten(settings, house)
            jobs = jobs_of(settings, app_url, nats.url, house.ports.store.log_id)
            following = [asyncio.create_task(keep(job, taking(app_url))) for job in jobs]

            async def followers() -> list[Follower]:
                return await house.lookups.followers()

            try:
                for _ in range(400):
                    found = await followers()
                    if all(each.position and not each.behind for each in found):
                        break
                    await asyncio.sleep(0.1)
                assert [each for each in found if each.behind or not each.position] == []
                assert len(found) == len(jobs) == 10
            finally:
                await ended(*following)


async def mailed_and_forgotten(settings: Settings, house: House) -> None:
    """A mail goes, and goes away, as `serve` and `work` have it do."""
    mail = Mail("account_closed", "ada@example.org")
    await house.lookups.write([mail_row(house.ports, mail, house.ports.clock())])
    assert await send_due(mailing(settings, house.lookups)) == 1
    await house.lookups.write([forgotten(house.ports, "acct_1", [mail.to])])
    assert await sweep(mailing(settings, house.lookups)) == 1


@pytest.mark.parametrize("log", ["decisions", "usage"])
@pytest.mark.parametrize(
    "statement",
    ["UPDATE {} SET topic = 'x'", "DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}"],
)
def test_a_serving_role_cannot_change_history(app_url: str, log: str, statement: str) -> None:
    with (
        psycopg.connect(conninfo(app_url)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.format(log).encode())
