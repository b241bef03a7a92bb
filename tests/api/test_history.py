"""GET /v1/keys/{id}/history and /v1/accounts/{id}/history; and what keys say of their use."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import psycopg
import pytest

from house import House
from infra.followers.read_models import ReadModelJob
from tests.api.conftest import People, refused
from tests.factories import an_id
from tests.infra.following import MODELS, kept

pytestmark = pytest.mark.anyio

NEVER = {"valid": 0, "denied": 0}


@pytest.fixture
def url(house: House) -> str:
    """The module's database."""
    return str(house.lookups._pool.conninfo)


@pytest.fixture
async def following(url: str) -> AsyncIterator[str]:
    """The followers of read models run."""
    async with kept(url):
        yield url


async def history(
    client: httpx.AsyncClient, headers: dict[str, str], path: str, after: httpx.Response | None
) -> list[dict[str, Any]]:
    """The first page, as of what that answer made."""
    if after is not None:
        headers = {**headers, "tollhouse-min-position": after.headers["tollhouse-position"]}
    reply = await client.get(path, headers=headers)
    assert reply.status_code == 200, reply.text
    assert set(reply.json()) == {"items", "next_cursor"}
    items: list[dict[str, Any]] = reply.json()["items"]
    return items


async def test_200_what_happened_to_a_key_newest_first_with_whom_and_why(
    client: httpx.AsyncClient, people: People, following: str
) -> None:
    person = await people.register()
    headers = await people.sign_in(person["email"])
    key = await people.key(headers, quota={"limit": 5, "period": "day"})
    path = f"/v1/keys/{key['id']}"
    await client.patch(path, json={"name": "other"}, headers={**headers, "request-id": "req-7"})
    staff = await people.staff()
    ended = await client.post(f"{path}/revoke", json={"reason": "it leaked"}, headers=staff)
    items = await history(client, headers, f"{path}/history", ended)
    assert [item["type"] for item in items] == [
        "api_key.revoked.v1",
        "api_key.renamed.v1",
        "allowance.set.v1",
        "api_key.issued.v1",
    ]
    admin = (await client.get("/v1/me", headers=staff)).json()["id"]
    assert [item["actor"] for item in items] == [admin, *[person["id"]] * 3]
    assert [item["reason"] for item in items] == ["it leaked", None, None, None]
    assert items[0]["position"] == ended.headers["tollhouse-position"]
    assert items[0]["request_id"] == ended.headers["request-id"]
    assert items[1]["data"] == {"name": "other"}
    assert items[3]["data"]["hint"] == key["hint"]
    assert not {"digest", "pepper_id"} & set(items[3]["data"])
    assert all(item["at"].endswith("Z") for item in items)
    assert await history(client, staff, f"{path}/history", None) == items


async def test_200_an_account_sees_all_that_is_its(
    client: httpx.AsyncClient, people: People, following: str
) -> None:
    person = await people.register()
    headers = await people.sign_in(person["email"])
    await people.key(headers)
    last = await client.post("/v1/keys", json={"name": "last"}, headers=headers)
    path = f"/v1/accounts/{person['id']}/history"
    items = await history(client, headers, path, last)
    assert [item["type"].rpartition(".")[0] for item in items] == [
        "api_key.issued",
        "api_key.issued",
        "session.started",
        "account.plan_assigned",
        "account.registered",
    ]
    assert items[-1]["data"]["username"] == person["username"]
    assert items[-1]["data"]["email"] == person["email"]  # one's own words
    assert await history(client, await people.staff(), path, last) == items


async def test_200_pages_follow_each_other_without_a_gap(
    client: httpx.AsyncClient, people: People, following: str
) -> None:
    headers = await people.user()
    key = await people.key(headers)
    path = f"/v1/keys/{key['id']}"
    for number in range(6):
        last = await client.patch(path, json={"name": f"name {number}"}, headers=headers)
    whole = await history(client, headers, f"{path}/history", last)
    assert len(whole) == 7
    for limit in (1, 3, 7):
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            query = {"limit": limit} | ({} if cursor is None else {"cursor": cursor})
            page = (await client.get(f"{path}/history", params=query, headers=headers)).json()
            assert len(page["items"]) <= limit
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert found == whole


async def test_404_for_everybody_else(
    client: httpx.AsyncClient, people: People, following: str
) -> None:
    person = await people.register()
    owner = await people.sign_in(person["email"])
    key = await people.key(owner)
    service = await people.service("keys.manage", "accounts.manage")
    for headers in (await people.user(), service):
        for path in (
            f"/v1/keys/{key['id']}/history",
            f"/v1/accounts/{person['id']}/history",
            f"/v1/keys/{an_id('key')}/history",
            f"/v1/accounts/{an_id('acct')}/history",
            "/v1/keys/nonsense/history",
            "/v1/accounts/nonsense/history",
        ):
            refused(await client.get(path, headers=headers), 404, "NOT_FOUND")
    for path in (f"/v1/keys/{an_id('key')}/history", f"/v1/accounts/{an_id('acct')}/history"):
        refused(await client.get(path, headers=await people.staff()), 404, "NOT_FOUND")


async def test_401_and_403_without_somebody_who_acts(
    client: httpx.AsyncClient, people: People
) -> None:
    key = await people.key(await people.user())
    path = f"/v1/keys/{key['id']}/history"
    refused(await client.get(path), 401, "UNAUTHENTICATED")
    refused(await client.get(path, headers={"x-api-key": key["key"]}), 403, "FORBIDDEN")


@pytest.mark.parametrize("cursor", ["x", "a2V5XzAx", "LTE", "%00", "OTk5OTk5OTk5OTk5OTk5OTk5OTk"])
async def test_400_for_a_cursor_that_is_not_ours(
    client: httpx.AsyncClient, people: People, cursor: str
) -> None:
    headers = await people.user()
    key = await people.key(headers)
    path = f"/v1/keys/{key['id']}/history?cursor={cursor}"
    refused(await client.get(path, headers=headers), 400, "INVALID_REQUEST", "cursor")


async def test_503_while_the_follower_has_not_come_that_far_and_200_once_it_has(
    client: httpx.AsyncClient, people: People, url: str
) -> None:
    headers = await people.user()
    made = await client.post("/v1/keys", json={"name": "k"}, headers=headers)
    path = f"/v1/keys/{made.json()['id']}/history"
    see = {**headers, "tollhouse-min-position": made.headers["tollhouse-position"]}
    reply = await client.get(path, headers=see)
    refused(reply, 503, "POSITION_NOT_REACHED", "Tollhouse-Min-Position")
    assert int(reply.headers["retry-after"]) >= 1
    waiting = asyncio.create_task(client.get(path, headers=see))
    async with kept(url, ReadModelJob(MODELS["history"])):
        reply = await waiting
    assert reply.status_code == 200
    assert len(reply.json()["items"]) == 1


async def test_keys_say_how_often_they_were_used_and_when(
    client: httpx.AsyncClient, people: People, following: str
) -> None:
    headers = await people.user()
    key = await people.key(headers)
    path = f"/v1/keys/{key['id']}"
    assert (key["last_used_at"], key["uses"]) == (None, NEVER)
    mine = {"x-api-key": key["key"]}
    verdicts = [await client.post("/v1/keys/verify", headers=mine) for _ in range(3)]
    assert all(verdict.json()["valid"] for verdict in verdicts)
    await client.patch(path, json={"enabled": False}, headers=headers)
    denied = await client.post("/v1/keys/verify", headers=mine)
    assert denied.json()["code"] == "DISABLED"
    used: dict[str, Any] = {}
    for _ in range(100):
        used = (await client.get(path, headers=headers)).json()
        if used["uses"] == {"valid": 3, "denied": 1}:
            break
        await asyncio.sleep(0.1)
    assert used["uses"] == {"valid": 3, "denied": 1}
    assert used["issued_at"] < used["last_used_at"]
    assert used["last_used_at"].endswith("Z")
    listed = (await client.get("/v1/keys", headers=headers)).json()["items"]
    assert listed == [used]
    resumed = (await client.patch(path, json={"enabled": True}, headers=headers)).json()
    assert resumed == {**used, "enabled": True}
    whoami = (await client.get("/v1/keys/whoami", headers=mine)).json()
    assert (whoami["uses"], whoami["last_used_at"]) == (used["uses"], used["last_used_at"])


async def test_an_erased_reason_reads_as_null_and_the_rest_stays(
    client: httpx.AsyncClient, people: People, house: House, following: str
) -> None:
    person = await people.register()
    headers = await people.sign_in(person["email"])
    key = await people.key(headers)
    path = f"/v1/keys/{key['id']}"
    ended = await client.post(f"{path}/revoke", json={"reason": "secret words"}, headers=headers)
    items = await history(client, headers, f"{path}/history", ended)
    assert items[0]["reason"] == "secret words"
    await house.lookups.rows(
        "WITH gone AS (DELETE FROM data_keys WHERE account_id = %s RETURNING 1) SELECT * FROM gone",
        (person["id"],),
    )
    house.ports.store._vault._open.clear()  # type: ignore[attr-defined]
    again = await history(client, headers, f"{path}/history", ended)
    assert again == [{**items[0], "reason": None}, *items[1:]]


async def test_200_with_a_damaged_event_what_else_happened_is_still_told(
    client: httpx.AsyncClient, people: People, following: str
) -> None:
    person = await people.register()
    headers = await people.sign_in(person["email"])
    key = await people.key(headers)
    path = f"/v1/keys/{key['id']}"
    renamed = await client.patch(path, json={"name": "other"}, headers=headers)
    account = f"/v1/accounts/{person['id']}/history"
    before = await history(client, headers, account, renamed)
    async with await psycopg.AsyncConnection.connect(following) as connection:
        damaged = await connection.execute(
            "UPDATE tollhouse.decisions SET state = 'damaged' "
            "WHERE originator_id = %s AND originator_version = 2",
            (key["id"],),
        )
        assert damaged.rowcount == 1
    after = await history(client, headers, account, None)
    assert after == [{**before[0], "summary": after[0]["summary"]}, *before[1:]]
    assert "can't read" in after[0]["summary"]
