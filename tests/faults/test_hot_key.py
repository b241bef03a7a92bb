"""One key that everybody uses, and more than one serve process on one database."""

import asyncio
from pathlib import Path

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
        replies = asyncio.run(_until_denied(up.facts["http_url"], made.json()["key"], position))
        database_url = up.facts["database_url"]
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


async def _until_denied(url: str, secret: str, position: str) -> list[Reply]:
    """64 connections, each asking again until it is denied."""
    clients = [Verifying(url, SERVICE_KEY, timeout_seconds=60) for _ in range(CLIENTS)]

    async def ask(client: Verifying) -> list[Reply]:
        replies = [await client.verify(secret, 1, position)]
        while replies[-1].valid:
            replies.append(await client.verify(secret, 1))
        client.close()
        return replies

    return [
        reply
        for each in await asyncio.gather(*(ask(client) for client in clients))
        for reply in each
    ]
