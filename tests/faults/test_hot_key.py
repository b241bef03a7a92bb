"""One key that everybody uses, and more than one serve process on one database."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from bench.client import Reply, Verifying
from bench.counts import counts
from infra.postgres.connection import conninfo
from tests.faults.running import ADMIN, SERVICE_KEY, Up

CLIENTS = 64


@pytest.mark.parametrize(
    ("processes", "limit"), [(2, 400), pytest.param(4, 20_000, marks=pytest.mark.long)]
)
def test_hot_key_is_valid_as_often_as_its_limit_however_many_processes_serve(
    folder: Path, processes: int, limit: int
) -> None:
    with Up(folder, SERVE_PROCESSES=str(processes)) as up, up.client() as client:
        login = client.post("/v1/auth/login", json={"email": ADMIN[0], "password": ADMIN[1]})
        made = client.post(
            "/v1/keys",
            json={"name": "hot", "quota": {"limit": limit, "period": "lifetime"}},
            headers={"Authorization": f"Bearer {login.json()['access_token']}"},
        )
        assert made.status_code == 201, made.text
        position = made.headers["Tollhouse-Position"]
        facts = up.facts
        serving = [psutil.Process(pid) for pid in facts["serve_pids"]]
        assert len(serving) == processes
        hot = _until_denied(facts["http_url"], serving, made.json()["key"], position)
        replies = asyncio.run(hot)
        database_url = facts["database_url"]
        counted = counts(database_url)
        with psycopg.connect(conninfo(database_url)) as connection:
            row = connection.execute("SELECT count(DISTINCT originator_id) FROM usage").fetchone()
    codes = [reply.code for reply in replies]
    assert codes.count("VALID") == limit
    assert set(codes) == {"VALID", "USAGE_EXCEEDED"}
    assert counted.valid_by_key == {made.json()["id"]: limit}
    assert counted.disagreeing == 0
    assert row is not None
    assert row[0] > 1, "one process alone has counted everything"


async def _until_denied(
    url: str, serving: list[psutil.Process], secret: str, position: str
) -> list[Reply]:
    """64 connections, each process with its share of them, each asking again until it is denied."""
    clients = [Verifying(url, SERVICE_KEY, timeout_seconds=60) for _ in range(CLIENTS)]
    first: list[Reply] = []
    for number, taking in enumerate(serving):
        share = clients[number :: len(serving)]
        with _stopped(each for each in serving if each != taking):  # or one may take all
            first += await asyncio.gather(*(each.verify(secret, 1, position) for each in share))

    async def ask(client: Verifying) -> list[Reply]:
        replies = [await client.verify(secret, 1)]
        while replies[-1].valid:
            replies.append(await client.verify(secret, 1))
        client.close()
        return replies

    asked = await asyncio.gather(*(ask(client) for client in clients))
    return [*first, *(reply for each in asked for reply in each)]


@contextmanager
def _stopped(processes: Iterable[psutil.Process]) -> Iterator[None]:
    """These do nothing meanwhile."""
    with ExitStack() as stack:
        for each in processes:
            each.suspend()
            stack.callback(each.resume)
        yield
