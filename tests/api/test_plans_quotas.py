"""Plans and quotas over HTTP: what is on offer, and what is left."""

import httpx
import pytest

from api.http.plans import credits
from tests.api.conftest import People, refused

pytestmark = pytest.mark.anyio


async def test_plans_are_public_and_the_staffs_is_not_among_them(client: httpx.AsyncClient) -> None:
    reply = await client.get("/v1/plans")
    assert reply.status_code == 200
    plans = {plan["name"]: plan for plan in reply.json()["items"]}
    assert list(plans) == ["free", "pro", "enterprise"]
    assert plans["free"]["entitlements"] == {
        "keys": 5,
        "quota": {"limit": 10, "period": "day"},
        "monthly_credits": "5.00",
        "features": [],
    }
    assert reply.json()["next_cursor"] is None


async def test_the_current_plan_is_the_callers(client: httpx.AsyncClient, people: People) -> None:
    own = await client.get("/v1/plans/current", headers=await people.user())
    assert (own.status_code, own.json()["name"]) == (200, "free")
    staff = await client.get("/v1/plans/current", headers=await people.staff())
    assert staff.json()["name"] == "internal"
    assert staff.json()["entitlements"]["quota"] is None
    refused(await client.get("/v1/plans/current"), 401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("hundredths", "text"), [(0, "0.00"), (5, "0.05"), (500, "5.00"), (-150, "-1.50")]
)
def test_credits_have_two_places(hundredths: int, text: str) -> None:
    assert credits(hundredths) == text


async def test_quotas_are_those_of_the_account_and_its_living_keys(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.user()
    metered = await people.key(headers, name="metered", quota={"limit": 4, "period": "hour"})
    await people.key(headers, name="unmetered")
    ended = await people.key(headers, name="ended", quota={"limit": 9, "period": "day"})
    await client.post(f"/v1/keys/{ended['id']}/revoke", headers=headers)
    mine = {"x-api-key": metered["key"]}
    verdict = await client.post("/v1/keys/verify", json={"cost": 3}, headers=mine)
    assert verdict.json()["valid"]

    reply = await client.get("/v1/quotas", headers=headers)
    assert reply.status_code == 200
    shared, own = reply.json()["items"]
    assert (shared["scope"], shared["owner"]) == ("shared", metered["account_id"])
    assert (shared["limit"], shared["used"], shared["remaining"]) == (10, 3, 7)
    assert (own["scope"], own["owner"], own["key_name"]) == ("own", metered["id"], "metered")
    assert (own["limit"], own["used"], own["remaining"], own["period"]) == (4, 3, 1, "hour")
    assert own["resets_at"].endswith(":00:00Z")

    first = (await client.get("/v1/quotas?limit=1", headers=headers)).json()
    assert first["items"] == [shared]
    query = f"/v1/quotas?limit=1&cursor={first['next_cursor']}"
    second = (await client.get(query, headers=headers)).json()
    assert second == {"items": [own], "next_cursor": None}


async def test_who_has_no_limits_has_no_quotas(client: httpx.AsyncClient, people: People) -> None:
    reply = await client.get("/v1/quotas", headers=await people.staff())
    assert reply.json() == {"items": [], "next_cursor": None}
    refused(await client.get("/v1/quotas"), 401, "UNAUTHENTICATED")
