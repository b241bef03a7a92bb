"""Analytics over HTTP: who may ask what, in which format, and what a refusal looks like."""

import asyncio
import csv
import io
import os
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pyarrow
import pytest

from api.http.analytics_shapes import QueryAnswer, UsageAnswer, wanted_format
from api.http.app import create_app
from application.ports import Analytics
from house import House
from infra.analytics.queries import Limits, SandboxedQueries
from tests.analytics_lake import Key, write_lake
from tests.api.conftest import FixedProbe, People, refused
from tests.api.serving import request, serving

pytestmark = pytest.mark.anyio

QUERY, USAGE = "/v1/analytics/query", "/v1/analytics/usage"
ALL_DAYS = {"since": "2026-03-01", "until": "2026-03-04"}
ENDLESS = "SELECT count(*) FROM range(1000000000000)"


@asynccontextmanager
async def asked_at(
    house: House, probe: FixedProbe, analytics: Analytics | None
) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(
        house.ports,
        house.verifier,
        probe,
        version="1",
        environment="test",
        production=False,
        analytics=analytics,
    )
    async with serving(app) as port:
        base = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=30) as client:
            yield client


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lake")
    write_lake(root)
    return root


@pytest.fixture(scope="module")
async def client(house: House, probe: FixedProbe, root: Path) -> AsyncIterator[httpx.AsyncClient]:
    limits = Limits(seconds=3, rows=1000)
    queries = SandboxedQueries(root / "analytics.duckdb", str(root), limits=limits)
    async with asked_at(house, probe, queries) as client:
        yield client
    queries.close()


@pytest.fixture
async def brief(house: House, probe: FixedProbe, root: Path) -> AsyncIterator[httpx.AsyncClient]:
    """For what takes every second that it is given."""
    queries = SandboxedQueries(root / "analytics.duckdb", str(root), limits=Limits(seconds=2))
    async with asked_at(house, probe, queries) as client:
        yield client
    queries.close()


async def ask(
    client: httpx.AsyncClient, headers: dict[str, str], sql: object, **body: object
) -> httpx.Response:
    return await client.post(QUERY, json={"sql": sql, **body}, headers=headers)


# POST /v1/analytics/query


async def test_200_query_json(client: httpx.AsyncClient, people: People) -> None:
    reply = await ask(client, await people.staff(), "SELECT 1 AS a, 'x' AS b")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    answer = reply.json()
    assert answer["columns"] == [{"name": "a", "type": "INTEGER"}, {"name": "b", "type": "VARCHAR"}]
    assert answer["rows"] == [[1, "x"]]
    assert answer["snapshot"]["usage_position"] == 48210
    msgspec.convert(answer, QueryAnswer, strict=True)
    assert set(answer) == set(QueryAnswer.__struct_fields__)


async def test_200_query_in_the_format_of_accept_or_body(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.staff()
    reply = await ask(client, {**headers, "accept": "text/csv"}, "SELECT 1 AS a")
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert reply.text == "a\r\n1\r\n"
    arrow = "application/vnd.apache.arrow.stream"
    reply = await ask(client, {**headers, "accept": f"text/csv;q=0.5, {arrow}"}, "SELECT 1 AS a")
    assert reply.headers["content-type"] == arrow
    assert pyarrow.ipc.open_stream(reply.content).read_all().to_pylist() == [{"a": 1}]
    reply = await ask(client, {**headers, "accept": arrow}, "SELECT 1 AS a", format="csv")
    assert reply.text == "a\r\n1\r\n"


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("text/html", "json"),
        ("TEXT/CSV", "csv"),
        ("text/csv;q=0.1, application/json;q=0.9", "json"),
        ("text/csv;q=x", "json"),
        ("text/csv;q=0", "json"),
        ("text/html, application/vnd.apache.arrow.stream;q=0.2", "arrow"),
        (";;;,,,", "json"),
    ],
)
def test_accept_is_understood(accept: str, format: str) -> None:
    assert wanted_format(accept) == format


async def test_401_and_403_query_is_for_staff(client: httpx.AsyncClient, people: People) -> None:
    refused(await ask(client, {}, "SELECT 1"), 401, "UNAUTHENTICATED")
    user = await people.user()
    refused(await ask(client, user, "SELECT 1"), 403, "FORBIDDEN")
    key = await people.key(user)
    refused(await ask(client, {"x-api-key": key["key"]}, "SELECT 1"), 403, "FORBIDDEN")
    refused(await ask(client, await people.service("keys.verify"), "SELECT 1"), 403, "FORBIDDEN")


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "INVALID_REQUEST", "sql"),
        ({"sql": ""}, "INVALID_REQUEST", "sql"),
        ({"sql": 1}, "INVALID_REQUEST", "sql"),
        ({"sql": "SELECT 1\0"}, "INVALID_REQUEST", "sql"),
        ({"sql": "SELECT 1", "format": "xml"}, "INVALID_REQUEST", "format"),
        ({"sql": "SELECT 1", "limit": 1}, "UNKNOWN_FIELD", "limit"),
        ({"sql": "SELEC 1"}, "INVALID_REQUEST", "sql"),
        ({"sql": "SELECT nothing FROM keys"}, "INVALID_REQUEST", "sql"),
        ({"sql": "DROP TABLE keys"}, "QUERY_REFUSED", "sql"),
        ({"sql": "SELECT 1; SELECT 2"}, "QUERY_REFUSED", "sql"),
        ({"sql": "FROM read_text('/etc/passwd')"}, "QUERY_REFUSED", "sql"),
    ],
)
async def test_400_query(
    client: httpx.AsyncClient, people: People, body: dict[str, Any], code: str, param: str
) -> None:
    reply = await client.post(QUERY, json=body, headers=await people.staff())
    refused(reply, 400, code, param)
    if code == "QUERY_REFUSED" and ";" not in body["sql"]:
        assert reply.json()["hint"]


async def test_413_query_of_a_megabyte(client: httpx.AsyncClient, people: People) -> None:
    reply = await ask(client, await people.staff(), "SELECT '" + "x" * 1_000_000 + "'")
    refused(reply, 413, "BODY_TOO_LARGE")


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        (ENDLESS, "QUERY_TOO_LONG"),
        ("FROM range(1001)", "QUERY_TOO_LARGE"),
        ("SELECT length(repeat('x', 4000000000))", "QUERY_TOO_LARGE"),
    ],
)
async def test_422_query(client: httpx.AsyncClient, people: People, sql: str, code: str) -> None:
    reply = await ask(client, await people.staff(), sql)
    refused(reply, 422, code, "sql")
    assert reply.json()["hint"]


async def test_503_query_when_too_many_ask(brief: httpx.AsyncClient, people: People) -> None:
    headers = await people.staff()
    replies = await asyncio.gather(*(ask(brief, headers, ENDLESS) for _ in range(9)))
    codes = [reply.json()["code"] for reply in replies]
    assert set(codes) == {"QUERY_TOO_LONG", "OVERLOADED"}
    for reply in replies:
        if reply.status_code == 503:
            refused(reply, 503, "OVERLOADED")
            assert int(reply.headers["retry-after"]) >= 1
    assert (await ask(brief, headers, "SELECT 1")).status_code == 200


async def test_503_without_a_lake(
    house: House, probe: FixedProbe, people: People, tmp_path: Path
) -> None:
    missing = SandboxedQueries(tmp_path / "analytics.duckdb", str(tmp_path))
    for analytics in (None, missing):
        async with asked_at(house, probe, analytics) as client:
            for reply in (
                await ask(client, await people.staff(), "SELECT 1"),
                await client.get(USAGE, headers=await people.user()),
            ):
                refused(reply, 503, "ANALYTICS_UNAVAILABLE")
                assert "work" in reply.json()["hint"]
                assert int(reply.headers["retry-after"]) >= 1


async def test_a_query_ends_with_the_connection_that_asked(
    client: httpx.AsyncClient, people: People
) -> None:
    """A client that is gone for good: a reset, as from a process that was killed mid-read."""
    port = client.base_url.port
    assert port is not None
    headers = await people.staff()
    body = msgspec.json.encode({"sql": ENDLESS})
    lines = ["Content-Type: application/json", f"Authorization: {headers['authorization']}"]
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request("POST", QUERY, lines, body))
    await writer.drain()
    await _until(lambda: _running() == 1)
    began = time.monotonic()
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    await _until(lambda: _running() == 0)
    assert time.monotonic() - began < 8  # by itself it ends after ten


def _running() -> int:
    listed = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return sum(b"query_process" in Path(f"/proc/{each}/cmdline").read_bytes() for each in listed)


async def _until(holds: Any) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


# GET /v1/analytics/usage


@asynccontextmanager
async def with_uses(
    house: House, probe: FixedProbe, people: People, root: Path
) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, Any], dict[str, str]]]:
    """A lake in which a new account, and somebody else, used keys."""
    person = await people.register()
    headers = await people.sign_in(person["email"])
    keys = (Key("key_own", person["id"], "=own", 4), Key("key_other", "acct_other", "other", 10))
    snapshot = write_lake(root, keys)
    queries = SandboxedQueries(snapshot, str(root))
    async with asked_at(house, probe, queries) as client:
        yield client, person, headers
    queries.close()


async def test_200_usage_owner_sees_the_own_and_staff_all(
    house: House, probe: FixedProbe, people: People, tmp_path: Path
) -> None:
    staff = await people.staff()
    async with with_uses(house, probe, people, tmp_path) as (client, person, owner):
        params = {**ALL_DAYS, "group_by": "key,outcome"}
        reply = await client.get(USAGE, params=params, headers=owner)
        assert reply.status_code == 200
        answer = reply.json()
        own = [
            {"key_id": "key_own", "key_name": "=own", "outcome": outcome} | counts
            for outcome, counts in (
                ("QUOTA_EXCEEDED", {"verifications": 6, "cost": 0}),
                ("VALID", {"verifications": 6, "cost": 18}),
            )
        ]
        assert answer["items"] == own
        assert (answer["since"], answer["until"]) == (
            "2026-03-01T00:00:00Z",
            "2026-03-04T00:00:00Z",
        )
        assert answer["group_by"] == ["key", "outcome"]
        msgspec.convert(answer, UsageAnswer)
        assert set(answer) == set(UsageAnswer.__struct_fields__)
        params["account_id"] = person["id"]
        for headers in (owner, staff):
            reply = await client.get(USAGE, params=params, headers=headers)
            assert reply.json()["items"] == own
        reply = await client.get(USAGE, params=ALL_DAYS, headers=staff)
        assert [item["verifications"] for item in reply.json()["items"]] == [14, 14, 14]
        reply = await client.get(USAGE, headers=owner)
        assert reply.status_code == 200
        assert reply.json()["group_by"] == ["day"]


async def test_200_usage_csv_and_arrow(
    house: House, probe: FixedProbe, people: People, tmp_path: Path
) -> None:
    async with with_uses(house, probe, people, tmp_path) as (client, _, owner):
        params = {**ALL_DAYS, "group_by": "key", "format": "csv"}
        reply = await client.get(USAGE, params=params, headers=owner)
        assert reply.headers["content-type"].startswith("text/csv")
        rows = list(csv.reader(io.StringIO(reply.text)))
        assert rows == [
            ["key_id", "key_name", "verifications", "cost"],
            ["key_own", "'=own", "12", "18"],
        ]
        accept = {**owner, "accept": "application/vnd.apache.arrow.stream"}
        reply = await client.get(USAGE, params=ALL_DAYS, headers=accept)
        table = pyarrow.ipc.open_stream(reply.content).read_all()
        assert table.column("verifications").to_pylist() == [4, 4, 4]


async def test_404_usage_of_others_is_no_account_at_all(
    client: httpx.AsyncClient, people: People
) -> None:
    other = await people.register()
    user, staff = await people.user(), await people.staff()
    for headers, account_id in (
        (user, other["id"]),
        (user, "acct_01kamzq3v0b6f7n8w9x2y4z5ac"),
        (user, "' OR 1 = 1 --"),
        (user, ""),
        (staff, "acct_01kamzq3v0b6f7n8w9x2y4z5ac"),
    ):
        reply = await client.get(USAGE, params={"account_id": account_id}, headers=headers)
        refused(reply, 404, "NOT_FOUND")


async def test_401_and_403_usage(client: httpx.AsyncClient, people: People) -> None:
    refused(await client.get(USAGE), 401, "UNAUTHENTICATED")
    key = await people.key(await people.user())
    refused(await client.get(USAGE, headers={"x-api-key": key["key"]}), 403, "FORBIDDEN")


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("group_by", ""),
        ("group_by", "day,day"),
        ("group_by", "hour"),
        ("group_by", "day;DROP TABLE keys"),
        ("group_by", "day,"),
        ("group_by", "d" * 300),
        ("since", "yesterday"),
        ("since", "2026-02-30"),
        ("since", "2026-01-01T00:00:00"),
        ("since", "2026-01-01T00:00:00 02:00"),
        ("since", "9999-12-31"),
        ("since", "0001-01-01"),
        ("since", "9998-01-01"),
        ("until", "1770000000"),
        ("until", "2026-W01-1"),
        ("format", "xml"),
    ],
)
async def test_400_usage_names_the_parameter(
    client: httpx.AsyncClient, people: People, param: str, value: str
) -> None:
    reply = await client.get(USAGE, params={param: value}, headers=await people.user())
    refused(reply, 400, "INVALID_REQUEST", param)


async def test_400_usage_with_a_misspelt_parameter_is_not_everybodys(
    client: httpx.AsyncClient, people: People
) -> None:
    params = {**ALL_DAYS, "acount_id": "acct_01kamzq3v0b6f7n8w9x2y4z5ac"}
    reply = await client.get(USAGE, params=params, headers=await people.staff())
    refused(reply, 400, "INVALID_REQUEST", "acount_id")
    assert "account_id" in reply.json()["hint"]


@pytest.mark.parametrize("since", ["0001-01-01", "9999-01-01"])
async def test_400_usage_of_a_year_that_is_none_says_which_are(
    client: httpx.AsyncClient, people: People, since: str
) -> None:
    reply = await client.get(USAGE, params={"since": since}, headers=await people.user())
    refused(reply, 400, "INVALID_REQUEST", "since")
    assert reply.json()["detail"] == "Years 2 to 9998."


async def test_400_usage_from_late_to_early(client: httpx.AsyncClient, people: People) -> None:
    params = {"since": "2026-03-04", "until": "2026-03-04"}
    reply = await client.get(USAGE, params=params, headers=await people.user())
    refused(reply, 400, "INVALID_REQUEST", "since")
