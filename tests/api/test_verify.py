"""Verification over HTTP: permissions, addresses, operations, batches; by the database."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.api.conftest import People, refused

pytestmark = pytest.mark.anyio

VERIFY = "/v1/keys/verify"
BATCH = "/v1/keys/verify-batch"


async def plan_of(client: httpx.AsyncClient, people: People, **entitlements: Any) -> str:
    """A new plan that gives this."""
    name = people.name()
    body = {"name": name, "tier": "pro", "title": "A plan", "entitlements": entitlements}
    reply = await client.post("/v1/plans", json=body, headers=await people.staff())
    assert reply.status_code == 201, reply.text
    return name


async def on_plan(client: httpx.AsyncClient, people: People, account_id: str, plan: str) -> None:
    body = {"plan": plan, "reason": "for a test"}
    path = f"/v1/accounts/{account_id}/plan"
    reply = await client.put(path, json=body, headers=await people.staff())
    assert reply.status_code == 200, reply.text


async def a_key_on(
    client: httpx.AsyncClient, people: People, entitlements: dict[str, Any], **fields: Any
) -> dict[str, Any]:
    """A new key of a new account on a plan of its own."""
    person = await people.register()
    plan = await plan_of(client, people, **entitlements)
    await on_plan(client, people, person["id"], plan)
    return await people.key(await people.sign_in(person["email"]), **fields)


async def verify(
    client: httpx.AsyncClient, service: dict[str, str], key: str, **fields: Any
) -> dict[str, Any]:
    reply = await client.post(VERIFY, json={"key": key, **fields}, headers=service)
    assert reply.status_code == 200, reply.text
    verdict: dict[str, Any] = reply.json()
    return verdict


async def test_200_permissions_roles_and_addresses_decide(
    client: httpx.AsyncClient, people: People
) -> None:
    key = await people.key(
        await people.user(),
        permissions=["documents.*"],
        roles=["editor"],
        ip_allow=["192.0.2.0/24", "2001:db8::/32"],
    )
    service = await people.service("keys.verify")
    asked = {"ip": "::ffff:192.0.2.9", "permissions": "documents.read AND role:editor"}
    good = await verify(client, service, key["key"], **asked)
    assert (good["code"], good["permissions"], good["roles"]) == (
        "VALID",
        ["documents.*"],
        ["editor"],
    )
    for ip in ("198.51.100.1", "2001:db9::1", "not an address", None):
        verdict = await verify(client, service, key["key"], **{**asked, "ip": ip})
        assert verdict["code"] == "IP_NOT_ALLOWED"
    verdict = await verify(client, service, key["key"], **{**asked, "permissions": "billing.read"})
    assert (verdict["valid"], verdict["code"]) == (False, "INSUFFICIENT_PERMISSIONS")


async def test_200_a_key_that_calls_for_itself_is_judged_by_where_it_calls_from(
    client: httpx.AsyncClient, people: People
) -> None:
    here, elsewhere = "127.0.0.1/32", "192.0.2.0/24"
    user = await people.user()
    for allowed, code in ((here, "VALID"), (elsewhere, "IP_NOT_ALLOWED")):
        key = await people.key(user, ip_allow=[allowed])
        reply = await client.post(
            VERIFY, json={"ip": "192.0.2.1"}, headers={"x-api-key": key["key"]}
        )
        assert reply.json()["code"] == code


@pytest.mark.parametrize(
    ("query", "column"),
    [
        ("a AND", 6),
        ("a b", 3),
        ("(a", 3),
        ("a" * 10_000, 1_001),
        ("(" * 1_000 + "a" + ")" * 1_000, None),
        ("", 1),
        ("a AND %", 7),
    ],
)
async def test_400_a_query_that_can_t_be_read_names_the_column(
    client: httpx.AsyncClient, people: People, query: str, column: int | None
) -> None:
    headers = await people.user()
    key = await people.key(headers)
    reply = await client.post(
        VERIFY, json={"permissions": query}, headers={"x-api-key": key["key"]}
    )
    refused(reply, 400, "INVALID_PERMISSION_QUERY", "permissions")
    if column is not None:
        assert f"column {column}" in reply.json()["detail"].lower()


async def test_200_an_operation_is_priced_by_the_plan_and_spent_with_the_quota(
    client: httpx.AsyncClient, people: People
) -> None:
    entitlements = {
        "quota": {"limit": 100, "period": "day"},
        "monthly_credits": "5.00",
        "operation_costs": {"render": "2.00"},
    }
    key = await a_key_on(client, people, entitlements, quota={"limit": 50, "period": "day"})
    service = await people.service("keys.verify")
    verdicts = [await verify(client, service, key["key"], operation="render") for _ in range(3)]
    assert [each["code"] for each in verdicts] == ["VALID", "VALID", "CREDITS_EXHAUSTED"]
    assert [each["credits"]["remaining"] for each in verdicts] == ["3.00", "1.00", "1.00"]
    assert [[q["used"] for q in each["quotas"]] for each in verdicts] == [[1, 1], [2, 2], [2, 2]]
    free = await verify(client, service, key["key"], operation="render", cost=0)
    assert (free["code"], free["credits"]["remaining"]) == ("VALID", "1.00")
    plain = await verify(client, service, key["key"])
    assert (plain["code"], plain["credits"]) == ("VALID", None)
    reply = await client.post(
        VERIFY, json={"key": key["key"], "operation": "unheard-of"}, headers=service
    )
    refused(reply, 400, "UNKNOWN_OPERATION", "operation")


async def test_200_64_at_once_on_50_credits_spend_exactly_50(
    client: httpx.AsyncClient, people: People
) -> None:
    entitlements = {"monthly_credits": "0.50", "operation_costs": {"call": "0.01"}}
    key = await a_key_on(client, people, entitlements)
    service = await people.service("keys.verify")
    verdicts = await asyncio.gather(
        *(verify(client, service, key["key"], operation="call") for _ in range(64))
    )
    codes = [each["code"] for each in verdicts]
    assert (codes.count("VALID"), codes.count("CREDITS_EXHAUSTED")) == (50, 14)


async def test_200_rate_limits_of_key_and_plan_hold_together(
    client: httpx.AsyncClient, people: People
) -> None:
    entitlements = {"rate_limits": [{"name": "plan", "limit": 3, "period": "day"}]}
    limits = [{"name": "key", "limit": 4, "period": "day", "cost": 2}]
    key = await a_key_on(client, people, entitlements, rate_limits=limits)
    service = await people.service("keys.verify")
    verdicts = [await verify(client, service, key["key"]) for _ in range(3)]
    assert [each["code"] for each in verdicts] == ["VALID", "VALID", "RATE_LIMITED"]
    last = {each["name"]: each for each in verdicts[-1]["rate_limits"]}
    assert (last["key"]["remaining"], last["key"]["exceeded"]) == (0, True)
    assert (last["plan"]["remaining"], last["plan"]["exceeded"]) == (1, False)
    assert last["plan"]["resets_at"].endswith("T00:00:00Z")


async def test_200_test_keys_count_apart(client: httpx.AsyncClient, people: People) -> None:
    person = await people.register()
    plan = await plan_of(
        client,
        people,
        quota={"limit": 1, "period": "day"},
        operation_costs={"call": "1.00"},
    )
    await on_plan(client, people, person["id"], plan)
    headers = await people.sign_in(person["email"])
    live, test = await people.key(headers), await people.key(headers, environment="test")
    service = await people.service("keys.verify")
    assert (await verify(client, service, test["key"], operation="call"))["valid"]
    spent = await verify(client, service, test["key"], operation="call")
    assert (spent["code"], spent["credits"]) == ("USAGE_EXCEEDED", None)
    assert (await verify(client, service, live["key"]))["valid"]


async def test_200_batch_answers_in_order(client: httpx.AsyncClient, people: People) -> None:
    headers = await people.user()
    keys = [await people.key(headers, quota={"limit": 1, "period": "day"}) for _ in range(2)]
    items = [{"key": keys[at]["key"]} for at in (0, 1, 0)] + [{"key": "nobody's"}]
    service = await people.service("keys.verify")
    reply = await client.post(BATCH, json={"items": items}, headers=service)
    assert reply.status_code == 200, reply.text
    verdicts = reply.json()["items"]
    codes = [each["code"] for each in verdicts]
    assert codes == ["VALID", "VALID", "USAGE_EXCEEDED", "NOT_FOUND"]
    assert [each["key_id"] for each in verdicts[:3]] == [keys[at]["id"] for at in (0, 1, 0)]
    full = await client.post(BATCH, json={"items": [items[-1]] * 200}, headers=service)
    assert len(full.json()["items"]) == 200


@pytest.mark.parametrize(
    ("items", "code", "param"),
    [
        ([], "INVALID_REQUEST", "items"),
        ([{"key": "k"}] * 201, "INVALID_REQUEST", "items"),
        ([{"key": "k"}, {"cost": 1}], "INVALID_REQUEST", "items[1].key"),
        ([{"key": "k", "permissions": "a b"}], "INVALID_PERMISSION_QUERY", "items[0].permissions"),
        ([{"key": "k", "cost": -1}], "INVALID_REQUEST", "items[...].cost"),
        ([{"key": "k", "colour": 1}], "UNKNOWN_FIELD", "items[...].colour"),
    ],
)
async def test_400_one_bad_item_refuses_the_batch(
    client: httpx.AsyncClient, people: People, items: list[Any], code: str, param: str
) -> None:
    service = await people.service("keys.verify")
    reply = await client.post(BATCH, json={"items": items}, headers=service)
    problem = reply.json()
    assert (reply.status_code, problem["code"]) == (400, code)
    assert problem["param"].replace("[0]", "[...]") == param.replace("[0]", "[...]")


async def test_401_403_a_batch_takes_a_service(client: httpx.AsyncClient, people: People) -> None:
    body = {"items": [{"key": "k"}]}
    assert (await client.post(BATCH, json=body)).status_code == 401
    headers = await people.user()
    key = await people.key(headers)
    reply = await client.post(BATCH, json=body, headers={"x-api-key": key["key"]})
    assert reply.status_code == 403
    reply = await client.post(BATCH, json=body, headers=await people.service("keys.issue"))
    assert reply.status_code == 403


@pytest.mark.parametrize("cost", [-1, 1.5, "1", 2**53, 1e400, None, True])
async def test_400_costs_that_are_no_amount(
    client: httpx.AsyncClient, people: People, cost: object
) -> None:
    key = await people.key(await people.user())
    content = f'{{"cost": {"1e400" if cost == 1e400 else repr(cost).replace(chr(39), chr(34))}}}'
    content = content.replace("None", "null").replace("True", "true")
    headers = {"x-api-key": key["key"], "content-type": "application/json"}
    reply = await client.post(VERIFY, content=content, headers=headers)
    assert reply.status_code == 400
    assert reply.json()["code"] in ("INVALID_REQUEST", "MALFORMED_JSON")
