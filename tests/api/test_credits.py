"""Credits over HTTP: shapes, codes, and who may do what."""

from typing import Any

import httpx
import pytest

from house import House
from tests.api.conftest import People, refused
from tests.factories import an_id
from tests.infra.following import followed

pytestmark = pytest.mark.anyio

GRANTS, HOLDS, SPEND = "/v1/credits/grants", "/v1/credits/holds", "/v1/credits/spend"


async def an_account(people: People) -> tuple[str, dict[str, str]]:
    made = await people.register()
    return made["id"], await people.sign_in(made["email"])


async def credits_of(client: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, Any]:
    reply = await client.get("/v1/credits", headers=headers)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def test_200_an_owner_sees_what_there_is(client: httpx.AsyncClient, people: People) -> None:
    account_id, owner = await an_account(people)
    found = await credits_of(client, owner)
    [expiring] = found["expiring"]
    assert expiring["amount"] == "5.00"
    assert expiring["expires_at"].endswith("-01T00:00:00Z")
    assert {name: found[name] for name in ("account_id", "available", "held", "currency")} == {
        "account_id": account_id,
        "available": "5.00",
        "held": "0.00",
        "currency": "credits",
    }


async def test_a_hold_is_captured_in_part_and_the_rest_is_free(
    client: httpx.AsyncClient, people: People
) -> None:
    account_id, owner = await an_account(people)
    service = await people.service("credits.spend")
    body = {"account_id": account_id, "amount": "4.00", "expires_in": 60}
    reply = await client.post(HOLDS, json=body, headers=service)
    assert reply.status_code == 201, reply.text
    held = reply.json()
    assert (held["status"], held["amount"], held["available"]) == ("held", "4.00", "1.00")
    assert ":" in reply.headers["tollhouse-position"]
    assert (await credits_of(client, owner))["held"] == "4.00"
    path = f"{HOLDS}/{held['id']}"
    reply = await client.post(f"{path}/capture", json={"amount": "1.50"}, headers=service)
    assert reply.status_code == 200, reply.text
    ended = reply.json()
    assert (ended["status"], ended["captured"], ended["available"]) == ("captured", "1.50", "3.50")
    refused(await client.post(f"{path}/capture", headers=service), 409, "HOLD_CAPTURED")
    refused(await client.post(f"{path}/release", headers=service), 409, "HOLD_CAPTURED")
    reply = await client.post(HOLDS, json=body | {"amount": "1.00"}, headers=service)
    path = f"{HOLDS}/{reply.json()['id']}"
    reply = await client.post(f"{path}/release", headers=service)
    assert (reply.status_code, reply.json()["status"]) == (200, "released")
    refused(await client.post(f"{path}/capture", headers=service), 409, "HOLD_RELEASED")
    reply = await client.post(f"{HOLDS}/{an_id('hold')}/release", headers=service)
    refused(reply, 404, "NOT_FOUND")
    refused(await client.post(f"{HOLDS}/x/capture", headers=service), 404, "NOT_FOUND")


async def test_an_idempotency_key_spends_once(client: httpx.AsyncClient, people: People) -> None:
    account_id, owner = await an_account(people)
    headers = {**await people.service("credits.spend"), "idempotency-key": an_id("once")}
    body = {"account_id": account_id, "operation": "ai"}
    first = await client.post(SPEND, json=body, headers=headers)
    again = await client.post(SPEND, json=body, headers=headers)
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert (first.json()["amount"], first.json()["available"]) == ("2.00", "3.00")
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["tollhouse-position"] == first.headers["tollhouse-position"]
    assert (await credits_of(client, owner))["available"] == "3.00"
    reply = await client.post(SPEND, json=body | {"operation": "post"}, headers=headers)
    refused(reply, 422, "IDEMPOTENCY_KEY_REUSED", "Idempotency-Key")


async def test_201_staff_grants_in_lots(client: httpx.AsyncClient, people: People) -> None:
    account_id, owner = await an_account(people)
    body = {
        "account_id": account_id,
        "amount": "1.25",
        "priority": 3,
        "every": "month",
        "times": 3,
        "reason": "goodwill",
    }
    reply = await client.post(GRANTS, json=body, headers=await people.staff())
    assert reply.status_code == 201, reply.text
    granted = reply.json()
    assert (granted["amount"], len(granted["lots"]), granted["available"]) == ("1.25", 3, "6.25")
    found = await credits_of(client, owner)
    assert (found["available"], found["upcoming"]) == ("6.25", "2.50")


async def test_402_says_how_much_is_missing(client: httpx.AsyncClient, people: People) -> None:
    account_id, _ = await an_account(people)
    staff = await people.staff()
    for path in (SPEND, HOLDS):
        body = {"account_id": account_id, "amount": "5.01", "reason": "for a test"}
        reply = await client.post(path, json=body, headers=staff)
        refused(reply, 402, "CREDITS_EXHAUSTED")
        assert "5.01" in reply.json()["detail"]
        assert "5.00" in reply.json()["detail"]


@pytest.mark.parametrize("amount", ["-1", "0", "0.00", "1.001", "1e3", "", "NaN", "9" * 19])
async def test_400_amounts_that_are_none(
    client: httpx.AsyncClient, people: People, amount: str
) -> None:
    account_id, _ = await an_account(people)
    body = {"account_id": account_id, "amount": amount}
    for path in (SPEND, HOLDS, GRANTS):
        reply = await client.post(path, json=body, headers=await people.staff())
        refused(reply, 400, "INVALID_AMOUNT", "amount")


@pytest.mark.parametrize(
    ("path", "body", "code", "param"),
    [
        (SPEND, {"amount": 1}, "INVALID_REQUEST", "amount"),
        (SPEND, {"amount": 1.5}, "INVALID_REQUEST", "amount"),
        (SPEND, {}, "INVALID_REQUEST", "amount"),
        (SPEND, {"amount": "1", "operation": "ai"}, "INVALID_REQUEST", "amount"),
        (SPEND, {"operation": "flight"}, "UNKNOWN_OPERATION", "operation"),
        (SPEND, {"amount": "1", "sum": "1"}, "UNKNOWN_FIELD", "sum"),
        (HOLDS, {"amount": "1", "expires_in": 0}, "INVALID_REQUEST", "expires_in"),
        (HOLDS, {"amount": "1", "expires_in": 2_592_001}, "INVALID_REQUEST", "expires_in"),
        (GRANTS, {"amount": "1", "priority": 0}, "INVALID_REQUEST", "priority"),
        (GRANTS, {"amount": "1", "times": 3}, "INVALID_REQUEST", "every"),
        (GRANTS, {"amount": "1", "times": 25, "every": "day"}, "INVALID_REQUEST", "times"),
        (
            GRANTS,
            {"amount": "1", "expires_at": "2020-01-01T00:00:00Z"},
            "INVALID_REQUEST",
            "expires_at",
        ),
    ],
)
async def test_400_what_makes_no_sense(
    client: httpx.AsyncClient,
    people: People,
    path: str,
    body: dict[str, Any],
    code: str,
    param: str,
) -> None:
    account_id, _ = await an_account(people)
    said = {"account_id": account_id, "reason": "for a test", **body}
    reply = await client.post(path, json=said, headers=await people.staff())
    refused(reply, 400, code, param)


async def test_who_may_do_what(client: httpx.AsyncClient, people: People) -> None:
    account_id, owner = await an_account(people)
    _, stranger = await an_account(people)
    wrong = await people.service("keys.verify")
    body = {"account_id": account_id, "amount": "1.00"}
    for path in (SPEND, HOLDS, GRANTS, f"{HOLDS}/{an_id('hold')}/release"):
        json = None if path.endswith("release") else body
        for headers in (owner, stranger, wrong):
            refused(await client.post(path, json=json, headers=headers), 403, "FORBIDDEN")
    for path in ("/v1/credits", "/v1/credits/history", "/v1/credits/costs"):
        whose = {"account_id": account_id}
        reply = await client.get(path, params=whose, headers=stranger)
        refused(reply, 404, "NOT_FOUND")
        refused(await client.get(path, params=whose, headers=wrong), 403, "FORBIDDEN")
        refused(await client.get(path, headers={}), 401, "UNAUTHENTICATED")
        unknown = {"account_id": an_id("acct")}
        if path != "/v1/credits/history":
            reply = await client.get(path, params=unknown, headers=await people.staff())
            refused(reply, 404, "NOT_FOUND")
        for headers in (owner, await people.staff(), await people.service("credits.spend")):
            reply = await client.get(path, params=whose, headers=headers)
            assert reply.status_code == 200, reply.text


async def test_check_and_costs_spend_nothing(client: httpx.AsyncClient, people: People) -> None:
    _, owner = await an_account(people)
    costs = (await client.get("/v1/credits/costs", headers=owner)).json()
    assert (costs["plan"], costs["monthly_credits"]) == ("free", "5.00")
    assert costs["costs"]["post_with_media"] == "1.50"
    reply = await client.post("/v1/credits/check", json={"operation": "ai"}, headers=owner)
    assert reply.status_code == 200
    assert reply.json()["allowed"] is True
    reply = await client.post("/v1/credits/check", json={"amount": "5.01"}, headers=owner)
    assert (reply.json()["allowed"], reply.json()["available"]) == (False, "5.00")
    assert (await credits_of(client, owner))["available"] == "5.00"


async def test_history_has_every_entry_once_and_the_past_is_what_it_was(
    client: httpx.AsyncClient, people: People, house: House
) -> None:
    account_id, owner = await an_account(people)
    key = await people.key(owner)
    staff = await people.staff()
    body = {"account_id": account_id, "amount": "1.00", "reason": "for a test"}
    first = await client.post(GRANTS, json=body, headers=staff)
    then = (await credits_of(client, owner))["as_of"]
    asked = {"operation": "image"}
    reply = await client.post("/v1/keys/verify", json=asked, headers={"x-api-key": key["key"]})
    assert (reply.json()["code"], reply.json()["credits"]) == ("VALID", {"remaining": "3.50"})
    await client.post(SPEND, json=body, headers=staff)
    await followed(str(house.lookups._pool.conninfo))
    items: list[dict[str, Any]] = []
    cursor = None
    while cursor is not None or not items:
        params = {"limit": 1} if cursor is None else {"limit": 1, "cursor": cursor}
        page = (await client.get("/v1/credits/history", params=params, headers=owner)).json()
        items += page["items"]
        cursor = page["next_cursor"]
    assert [(each["kind"], each["amount"], each["after"]) for each in items] == [
        ("spent", "1.00", "2.50"),
        ("verification", "2.50", "3.50"),
        ("granted", "1.00", "6.00"),
        ("granted", "5.00", "5.00"),
    ]
    assert items[1]["verification_id"] == reply.json()["verification_id"]
    assert items[1]["operation"] == "image"
    for moment in (then, first.headers["tollhouse-position"]):
        params = {"as_of": moment}
        found = await client.get("/v1/credits", params=params, headers=owner)
        assert found.json()["available"] == "6.00", found.text
        page = (await client.get("/v1/credits/history", params=params, headers=owner)).json()
        assert [each["kind"] for each in page["items"]] == ["granted", "granted"]
    for moment in ("yesterday", "2026-01-01", "2026-01-01T00:00:00", "log:x"):
        reply = await client.get("/v1/credits", params={"as_of": moment}, headers=owner)
        refused(reply, 400, "INVALID_REQUEST", "as_of")
    reply = await client.get("/v1/credits", params={"as_of": "logx:1"}, headers=owner)
    refused(reply, 400, "FOREIGN_LOG", "as_of")
