"""Plans over HTTP: on offer, side by side; made and changed by staff; taken by owners."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.api.conftest import People, refused

pytestmark = pytest.mark.anyio
OWN_HOUSE = True  # plans are everybody's

NOBODY = "acct_01kamzq3v0b6f7n8w9x2y4z5ac"
COSTS = {
    "post": "1.00",
    "post_with_media": "1.50",
    "thread": "0.50",
    "ai": "2.00",
    "image": "2.50",
    "analysis": "0.50",
    "api_call": "0.10",
}


async def published(
    client: httpx.AsyncClient, people: People, name: str, **fields: Any
) -> dict[str, Any]:
    body = {"name": name, "title": name.title(), **fields}
    reply = await client.post("/v1/plans", json=body, headers=await people.staff())
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


async def test_plans_are_public_and_the_staffs_is_not_among_them(client: httpx.AsyncClient) -> None:
    reply = await client.get("/v1/plans")
    assert reply.status_code == 200
    plans = {plan["name"]: plan for plan in reply.json()["items"]}
    assert list(plans)[:3] == ["free", "pro", "enterprise"]
    assert "internal" not in plans
    assert plans["free"]["entitlements"] == {
        "keys": 5,
        "quota": {
            "limit": 10,
            "period": "day",
            "scope": "shared",
            "carry_over_max": 0,
            "anchor": None,
            "time_zone": "UTC",
        },
        "rate_limits": [],
        "monthly_credits": "5.00",
        "features": [],
        "operation_costs": COSTS,
    }
    assert reply.json()["next_cursor"] is None
    assert (await client.get("/v1/plans/free")).json() == plans["free"]
    for unknown in ("internal", "gold", "a%00"):
        refused(await client.get(f"/v1/plans/{unknown}"), 404, "NOT_FOUND")


async def test_the_current_plan_is_the_callers(client: httpx.AsyncClient, people: People) -> None:
    own = await client.get("/v1/plans/current", headers=await people.user())
    assert (own.status_code, own.json()["name"], own.json()["next"]) == (200, "free", None)
    staff = await client.get("/v1/plans/current", headers=await people.staff())
    assert staff.json()["name"] == "internal"
    assert staff.json()["entitlements"]["quota"] is None
    refused(await client.get("/v1/plans/current"), 401, "UNAUTHENTICATED")


async def test_published_plan_is_on_offer_as_it_was_given(
    client: httpx.AsyncClient, people: People
) -> None:
    entitlements = {
        "keys": 20,
        "quota": {
            "limit": 50_000,
            "period": "month",
            "carry_over_max": 10_000,
            "anchor": "2026-01-15T08:00:00Z",
            "time_zone": "Europe/Berlin",
        },
        "rate_limits": [{"name": "burst", "limit": 50, "period": "second", "cost": 2}],
        "monthly_credits": "40.5",
        "features": ["webhooks", "sso"],
        "operation_costs": {"image": "2.50", "ping": "0.00"},
    }
    body = {"name": "team", "tier": "business", "title": " Team ", "entitlements": entitlements}
    once = {**await people.staff(), "idempotency-key": "publish-team"}
    reply = await client.post("/v1/plans", json=body, headers=once)
    assert (reply.status_code, reply.headers["location"]) == (201, "/v1/plans/team")
    quota: Any = entitlements["quota"]
    assert reply.json() == {
        "name": "team",
        "tier": "business",
        "title": "Team",
        "self_service": False,
        "retired": False,
        "revision": 1,
        "entitlements": {
            **entitlements,
            "quota": {**quota, "scope": "shared"},
            "monthly_credits": "40.50",
        },
    }
    again = await client.post("/v1/plans", json=body, headers=once)
    assert (again.json(), again.headers["idempotent-replayed"]) == (reply.json(), "true")
    assert reply.json() in (await client.get("/v1/plans")).json()["items"]
    taken = await client.post("/v1/plans", json=body, headers=await people.staff())
    refused(taken, 409, "ALREADY_TAKEN")


async def test_plans_side_by_side_have_a_value_for_each_plan(
    client: httpx.AsyncClient, people: People
) -> None:
    await published(
        client,
        people,
        "compared",
        entitlements={"features": ["telepathy"], "operation_costs": {"read_mind": "9.00"}},
    )
    reply = await client.get("/v1/plans/comparison")
    assert reply.status_code == 200
    table = reply.json()
    names = [plan["name"] for plan in table["plans"]]
    assert {"free", "pro", "enterprise", "compared"} <= set(names)
    for row in ("keys", "quota", "rate_limits", "monthly_credits"):
        assert list(table[row]) == names
    assert (table["keys"]["free"], table["keys"]["compared"]) == (5, None)
    assert table["features"]["telepathy"] == {name: name == "compared" for name in names}
    assert table["operation_costs"]["read_mind"]["free"] is None
    assert table["operation_costs"]["read_mind"]["compared"] == "9.00"
    assert table["operation_costs"]["image"]["free"] == "2.50"


async def test_a_feature_is_included_or_not(client: httpx.AsyncClient, people: People) -> None:
    await published(client, people, "featured", entitlements={"features": ["sso"]})
    for feature, included in (("sso", True), ("saml", False)):
        reply = await client.get(f"/v1/plans/featured/features/{feature}")
        assert reply.json() == {"plan": "featured", "feature": feature, "included": included}
    refused(await client.get("/v1/plans/gold/features/sso"), 404, "NOT_FOUND")


async def test_a_changed_plan_holds_at_once_for_whoever_is_on_it(
    client: httpx.AsyncClient, people: People
) -> None:
    staff = await people.staff()
    quota = {"limit": 1, "period": "day"}
    await published(
        client, people, "small", self_service=True, entitlements={"keys": 1, "quota": quota}
    )
    headers = await people.user()
    await client.post("/v1/plans/upgrade", json={"plan": "small"}, headers=headers)
    key = await people.key(headers)
    mine = {"x-api-key": key["key"]}
    codes = [
        (await client.post("/v1/keys/verify", json={}, headers=mine)).json()["code"]
        for _ in range(2)
    ]
    assert codes == ["VALID", "USAGE_EXCEEDED"]
    reply = await client.post("/v1/keys", json={"name": "one more"}, headers=headers)
    refused(reply, 403, "PLAN_LIMIT_REACHED")

    change = {"entitlements": {"keys": 2, "quota": {**quota, "limit": 2}, "features": ["sso"]}}
    reply = await client.patch("/v1/plans/small", json=change, headers=staff)
    assert (reply.status_code, reply.json()["revision"]) == (200, 2)
    assert reply.json()["title"] == "Small"
    assert reply.headers["tollhouse-position"]
    codes = [
        (await client.post("/v1/keys/verify", json={}, headers=mine)).json()["code"]
        for _ in range(2)
    ]
    assert codes == ["VALID", "USAGE_EXCEEDED"]
    await people.key(headers)

    change = {"entitlements": {"quota": None}}
    await client.patch("/v1/plans/small", json=change, headers=staff)
    verdict = (await client.post("/v1/keys/verify", json={}, headers=mine)).json()
    assert (verdict["code"], verdict["quotas"]) == ("VALID", [])


async def test_a_retired_plan_is_off_the_list_and_takes_nobody(
    client: httpx.AsyncClient, people: People
) -> None:
    staff = await people.staff()
    await published(client, people, "fading", self_service=True)
    headers = await people.user()
    await client.post("/v1/plans/upgrade", json={"plan": "fading"}, headers=headers)
    reply = await client.post("/v1/plans/fading/retire", headers=staff)
    assert (reply.status_code, reply.json()["retired"]) == (200, True)
    assert (await client.post("/v1/plans/fading/retire", headers=staff)).status_code == 200
    listed = (await client.get("/v1/plans")).json()["items"]
    assert "fading" not in [plan["name"] for plan in listed]
    assert "fading" not in (await client.get("/v1/plans/comparison")).json()["keys"]
    assert (await client.get("/v1/plans/current", headers=headers)).json()["name"] == "fading"
    await people.key(headers)
    reply = await client.post(
        "/v1/plans/upgrade", json={"plan": "fading"}, headers=await people.user()
    )
    refused(reply, 409, "PLAN_RETIRED", "plan")
    for kept in ("free", "internal"):
        reply = await client.post(f"/v1/plans/{kept}/retire", headers=staff)
        refused(reply, 409, "PLAN_IN_USE")
    refused(await client.post("/v1/plans/gold/retire", headers=staff), 404, "NOT_FOUND")


async def test_only_staff_makes_changes_retires_and_assigns(
    client: httpx.AsyncClient, people: People
) -> None:
    for headers in (await people.user(), await people.service("accounts.manage")):
        replies = [
            await client.post("/v1/plans", json={"name": "x", "title": "X"}, headers=headers),
            await client.patch("/v1/plans/free", json={"title": "X"}, headers=headers),
            await client.post("/v1/plans/pro/retire", headers=headers),
            await client.put(f"/v1/accounts/{NOBODY}/plan", json={"plan": "pro"}, headers=headers),
        ]
        for reply in replies:
            refused(reply, 403, "FORBIDDEN")
    refused(
        await client.post("/v1/plans", json={"name": "x", "title": "X"}), 401, "UNAUTHENTICATED"
    )


async def test_owners_take_self_service_plans_only(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.user()
    for plan, status, code in (
        ("enterprise", 403, "NOT_SELF_SERVICE"),
        ("internal", 403, "NOT_SELF_SERVICE"),
        ("gold", 400, "UNKNOWN_PLAN"),
    ):
        reply = await client.post("/v1/plans/upgrade", json={"plan": plan}, headers=headers)
        refused(reply, status, code, "plan")
    reply = await client.post("/v1/plans/upgrade", json={"plan": "free"}, headers=headers)
    assert (reply.status_code, reply.json()["plan"]) == (200, "free")
    key = await people.key(headers)
    mine = {"x-api-key": key["key"]}
    reply = await client.post("/v1/plans/upgrade", json={"plan": "free"}, headers=mine)
    refused(reply, 403, "FORBIDDEN")


async def test_a_smaller_plan_says_what_there_is_too_much_of(
    client: httpx.AsyncClient, people: People
) -> None:
    staff = await people.staff()
    made = await people.register()
    headers = await people.sign_in(made["email"])
    path = f"/v1/accounts/{made['id']}/plan"
    reply = await client.put(path, json={"plan": "pro", "reason": "paid"}, headers=staff)
    assert reply.json() == {"account_id": made["id"], "plan": "pro", "next": None, "over": {}}
    for _ in range(6):
        await people.key(headers)
    reply = await client.put(path, json={"plan": "free", "reason": "unpaid"}, headers=staff)
    assert reply.json()["over"] == {"keys": {"have": 6, "allowed": 5}}
    reply = await client.post("/v1/keys", json={"name": "one more"}, headers=headers)
    refused(reply, 403, "PLAN_LIMIT_REACHED")


async def test_a_change_at_renewal_is_shown_and_can_be_taken_back(
    client: httpx.AsyncClient, people: People
) -> None:
    staff = await people.staff()
    made = await people.register()
    headers = await people.sign_in(made["email"])
    path = f"/v1/accounts/{made['id']}/plan"
    body = {"plan": "pro", "when": "at_renewal", "reason": "for a test"}
    reply = await client.put(path, json=body, headers=staff)
    assert (reply.json()["plan"], reply.json()["next"]["plan"]) == ("free", "pro")
    due_at = datetime.fromisoformat(reply.json()["next"]["due_at"])
    assert (due_at.day, due_at.hour, due_at.utcoffset()) == (1, 0, UTC.utcoffset(None))
    assert due_at > datetime.now(UTC)
    current = (await client.get("/v1/plans/current", headers=headers)).json()
    assert (current["name"], current["next"]) == ("free", reply.json()["next"])

    refused(await client.delete(f"{path}/next", headers=await people.user()), 404, "NOT_FOUND")
    for _ in range(2):
        reply = await client.delete(f"{path}/next", headers=headers)
        assert (reply.status_code, reply.content) == (204, b"")
        assert reply.headers["tollhouse-position"]
    current = (await client.get("/v1/plans/current", headers=headers)).json()
    assert current["next"] is None
    for unknown in (NOBODY, "acct_x"):
        reply = await client.delete(f"/v1/accounts/{unknown}/plan/next", headers=staff)
        refused(reply, 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"name": "Gold!"}, "INVALID_REQUEST", "name"),
        ({"name": "current"}, "INVALID_REQUEST", "name"),
        ({"title": ""}, "INVALID_REQUEST", "title"),
        ({"entitlements": {"keys": -1}}, "INVALID_REQUEST", "entitlements.keys"),
        ({"entitlements": {"keys": 1.5}}, "INVALID_REQUEST", "entitlements.keys"),
        ({"entitlements": {"keys": 10**20}}, "INVALID_REQUEST", "entitlements.keys"),
        (
            {"entitlements": {"quota": {"limit": -1, "period": "day"}}},
            "INVALID_REQUEST",
            "entitlements.quota.limit",
        ),
        (
            {"entitlements": {"quota": {"limit": 1, "period": "day", "time_zone": "Moon"}}},
            "INVALID_REQUEST",
            "entitlements.quota.time_zone",
        ),
        (
            {"entitlements": {"quota": {"limit": 1, "period": "day", "scope": "own"}}},
            "UNKNOWN_FIELD",
            "entitlements.quota.scope",
        ),
        (
            {"entitlements": {"rate_limits": [{"name": "a", "limit": 1, "period": "month"}]}},
            "INVALID_REQUEST",
            "entitlements.rate_limits[0].period",
        ),
        (
            {"entitlements": {"rate_limits": [{"name": "a", "limit": 1, "period": "hour"}] * 2}},
            "INVALID_REQUEST",
            "entitlements.rate_limits[1].name",
        ),
        (
            {"entitlements": {"monthly_credits": 5}},
            "INVALID_REQUEST",
            "entitlements.monthly_credits",
        ),
        (
            {"entitlements": {"monthly_credits": "-5.00"}},
            "INVALID_AMOUNT",
            "entitlements.monthly_credits",
        ),
        (
            {"entitlements": {"operation_costs": {"ai": "1.005"}}},
            "INVALID_AMOUNT",
            "entitlements.operation_costs.ai",
        ),
        (
            {"entitlements": {"operation_costs": {"ai": "1e9"}}},
            "INVALID_AMOUNT",
            "entitlements.operation_costs.ai",
        ),
        (
            {"entitlements": {"operation_costs": {"a i": "1.00"}}},
            "INVALID_REQUEST",
            "entitlements.operation_costs",
        ),
        ({"entitlements": {"features": ["a", "a"]}}, "INVALID_REQUEST", "entitlements.features[1]"),
        ({"entitlements": {"keyz": 1}}, "UNKNOWN_FIELD", "entitlements.keyz"),
    ],
)
async def test_a_plan_that_cant_be_kept_is_refused_by_its_field(
    client: httpx.AsyncClient, people: People, fields: dict[str, Any], code: str, param: str
) -> None:
    staff = await people.staff()
    body = {"name": "refused", "title": "Refused", **fields}
    refused(await client.post("/v1/plans", json=body, headers=staff), 400, code, param)
    if "name" not in fields:
        reply = await client.patch("/v1/plans/pro", json=fields, headers=staff)
        refused(reply, 400, code, param)
        assert (await client.get("/v1/plans/pro")).json()["revision"] == 1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "plan"),
        ({"plan": 1}, "plan"),
        ({"plan": "pro", "when": "tomorrow"}, "when"),
        ({"plan": "pro", "when": None}, "when"),
        ({"plan": "pro", "reason": "\u0000"}, "reason"),
    ],
)
async def test_an_assignment_that_cant_be_is_refused_by_its_field(
    client: httpx.AsyncClient, people: People, body: dict[str, Any], param: str
) -> None:
    path = f"/v1/accounts/{NOBODY}/plan"
    reply = await client.put(path, json=body, headers=await people.staff())
    refused(reply, 400, "INVALID_REQUEST", param)
