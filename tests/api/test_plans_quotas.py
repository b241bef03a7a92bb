"""Quotas over HTTP: what is left, when it will be gone, who may set and reset what."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from domain.event import stored_name
from house import House
from tests.api.conftest import People, refused

pytestmark = pytest.mark.anyio
OWN_HOUSE = True  # the admin's keys are looked at

BIG = 2**53 - 1
JSON = {"content-type": "application/json"}


async def the_quotas(client: httpx.AsyncClient, headers: dict[str, str]) -> list[dict[str, Any]]:
    reply = await client.get("/v1/quotas", headers=headers)
    assert reply.status_code == 200, reply.text
    items: list[dict[str, Any]] = reply.json()["items"]
    return items


async def spend(client: httpx.AsyncClient, key: dict[str, Any], cost: int = 1) -> str:
    reply = await client.post(
        "/v1/keys/verify", json={"cost": cost}, headers={"x-api-key": key["key"]}
    )
    code: str = reply.json()["code"]
    return code


async def an_account(people: People) -> tuple[str, dict[str, str]]:
    made = await people.register()
    return made["id"], await people.sign_in(made["email"])


async def test_quotas_are_those_of_the_account_and_its_living_keys(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.user()
    metered = await people.key(headers, name="metered", quota={"limit": 4, "period": "hour"})
    await people.key(headers, name="unmetered")
    ended = await people.key(headers, name="ended", quota={"limit": 9, "period": "day"})
    await client.post(f"/v1/keys/{ended['id']}/revoke", headers=headers)
    assert await spend(client, metered, 3) == "VALID"

    live, test, own = await the_quotas(client, headers)
    assert (live["scope"], live["environment"], live["owner"]) == (
        "shared",
        "live",
        metered["account_id"],
    )
    assert (live["limit"], live["used"], live["remaining"]) == (10, 3, 7)
    assert (test["scope"], test["environment"], test["used"]) == ("shared", "test", 0)
    assert (own["scope"], own["owner"], own["key_name"]) == ("own", metered["id"], "metered")
    assert (own["limit"], own["used"], own["remaining"], own["period"]) == (4, 3, 1, "hour")
    assert own["resets_at"].endswith(":00:00Z")

    pages = []
    cursor = ""
    while True:
        page = (await client.get(f"/v1/quotas?limit=1{cursor}", headers=headers)).json()
        pages += [each["owner"] + each["environment"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert pages == [each["owner"] + each["environment"] for each in (live, test, own)]


async def test_pages_of_quotas_continue_within_the_rules_of_one_key(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.staff()
    rates = [{"name": f"r{n}", "limit": 5, "period": "minute"} for n in range(3)]
    key = await people.key(headers, rate_limits=rates, quota={"limit": 5, "period": "day"})
    names = []
    cursor = ""
    while True:
        page = (await client.get(f"/v1/quotas?limit=2{cursor}", headers=headers)).json()
        names += [each["name"] for each in page["items"] if each["owner"] == key["id"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert names == ["r0", "r1", "r2", "day"]
    await client.post(f"/v1/keys/{key['id']}/revoke", headers=headers)


async def test_who_has_no_limits_has_no_quotas(client: httpx.AsyncClient, people: People) -> None:
    reply = await client.get("/v1/quotas", headers=await people.staff())
    assert reply.json() == {"items": [], "next_cursor": None}
    refused(await client.get("/v1/quotas"), 401, "UNAUTHENTICATED")


@pytest.mark.parametrize("cursor", ["x", "YWNjdF8x", "YWNjdF8xLzk"])
async def test_a_cursor_of_somebody_elses_making_is_refused(
    client: httpx.AsyncClient, people: People, cursor: str
) -> None:
    reply = await client.get(f"/v1/quotas?cursor={cursor}", headers=await people.user())
    refused(reply, 400, "INVALID_REQUEST", "cursor")


async def test_forecast_says_when_the_rest_is_gone_at_this_pace(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.user()
    key = await people.key(headers, quota={"limit": 1_000_000, "period": "lifetime"})
    assert await spend(client, key, 5) == "VALID"
    live, test, own = await the_quotas(client, headers)
    now = datetime.now(UTC)
    # Five in the few seconds that this account exists: the other five will be gone in a few more.
    assert live["pace_per_hour"] > 60
    assert 0 <= (datetime.fromisoformat(live["exhausts_at"]) - now).total_seconds() + 2 < 600
    assert (test["pace_per_hour"], test["exhausts_at"]) == (0.0, None)
    assert own["resets_at"] is None
    assert datetime.fromisoformat(own["exhausts_at"]) > now


async def test_staff_and_services_with_the_right_read_the_quotas_of_others(
    client: httpx.AsyncClient, people: People
) -> None:
    account_id, _ = await an_account(people)
    path = f"/v1/quotas?account_id={account_id}"
    for headers in (await people.staff(), await people.service("quotas.read")):
        reply = await client.get(path, headers=headers)
        assert reply.json()["items"][0]["owner"] == account_id
    refused(await client.get(path, headers=await people.user()), 404, "NOT_FOUND")
    service = await people.service("keys.verify")
    refused(await client.get(path, headers=service), 403, "FORBIDDEN")


async def test_quota_that_staff_sets_is_in_the_place_of_the_plans_until_null(
    client: httpx.AsyncClient, people: People
) -> None:
    staff = await people.staff()
    account_id, headers = await an_account(people)
    key = await people.key(headers)
    path = f"/v1/accounts/{account_id}/quota"
    assert await spend(client, key, 10) == "VALID"
    assert await spend(client, key) == "USAGE_EXCEEDED"

    given = {"limit": 12, "period": "day", "reason": "asked nicely"}
    reply = await client.put(path, json=given, headers=staff)
    assert reply.status_code == 200, reply.text
    assert reply.json()["set"] == reply.json()["in_force"]
    assert (reply.json()["set"]["limit"], reply.json()["set"]["scope"]) == (12, "shared")
    assert "tollhouse-position" in reply.headers
    assert await spend(client, key, 2) == "VALID"
    assert await spend(client, key) == "USAGE_EXCEEDED"

    none = {"limit": None, "reason": "for a test"}
    reply = await client.put(path, json=none, headers=staff)
    assert (reply.json()["set"], reply.json()["in_force"]["limit"]) == (None, 10)
    live = (await the_quotas(client, headers))[0]
    assert (live["limit"], live["used"], live["remaining"]) == (10, 12, 0)
    assert await spend(client, key) == "USAGE_EXCEEDED"


async def test_only_staff_sets_an_accounts_quota_and_resets(
    client: httpx.AsyncClient, people: People
) -> None:
    account_id, headers = await an_account(people)
    service = await people.service("keys.manage", "accounts.manage")
    rule = {"limit": 99, "period": "day"}
    for who in (headers, service):
        path = f"/v1/accounts/{account_id}/quota"
        refused(await client.put(path, json=rule, headers=who), 403, "FORBIDDEN")
        body = {"account_id": account_id}
        refused(await client.post("/v1/quotas/reset", json=body, headers=who), 403, "FORBIDDEN")
    staff = await people.staff()
    for unknown in ("acct_01kamzq3v0b6f7n8w9x2y4z5ac", "acct_x", "key_x"):
        path = f"/v1/accounts/{unknown}/quota"
        refused(await client.put(path, json=rule, headers=staff), 404, "NOT_FOUND")


async def test_owner_sets_a_keys_quota_below_the_accounts_and_staff_above(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.user()
    key = await people.key(headers)
    path = f"/v1/keys/{key['id']}/quota"
    reply = await client.put(path, json={"limit": 10, "period": "day"}, headers=headers)
    assert (reply.status_code, reply.json()["quota"]["limit"]) == (200, 10)
    reply = await client.put(path, json={"limit": 11, "period": "day"}, headers=headers)
    refused(reply, 403, "PLAN_LIMIT_REACHED")
    # Another period is no more than the account's: both count.
    reply = await client.put(path, json={"limit": 5_000, "period": "month"}, headers=headers)
    assert reply.status_code == 200
    above = {"limit": 11, "period": "day"}
    said = {**above, "reason": "for a test"}
    assert (await client.put(path, json=said, headers=await people.staff())).status_code == 200
    refused(await client.put(path, json=above, headers=await people.user()), 404, "NOT_FOUND")
    assert (await client.put(path, content=b"null", headers={**headers, **JSON})).json()[
        "quota"
    ] is None
    await client.post(f"/v1/keys/{key['id']}/revoke", headers=headers)
    refused(await client.put(path, json=above, headers=headers), 409, "KEY_REVOKED")


async def test_owner_gets_no_larger_key_quota_with_the_key_or_a_change_of_it(
    client: httpx.AsyncClient, people: People
) -> None:
    account_id, headers = await an_account(people)
    body = {"name": "greedy", "account_id": account_id, "quota": {"limit": 11, "period": "day"}}
    refused(await client.post("/v1/keys", json=body, headers=headers), 403, "PLAN_LIMIT_REACHED")
    service = await people.service("keys.issue")
    refused(await client.post("/v1/keys", json=body, headers=service), 403, "PLAN_LIMIT_REACHED")
    said = {**body, "reason": "for a test"}
    made = await client.post("/v1/keys", json=said, headers=await people.staff())
    assert made.status_code == 201
    change = {"quota": {"limit": 12, "period": "day"}}
    path = f"/v1/keys/{made.json()['id']}"
    refused(await client.patch(path, json=change, headers=headers), 403, "PLAN_LIMIT_REACHED")
    change = {"quota": {"limit": 10, "period": "day"}}
    assert (await client.patch(path, json=change, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"limit": -1}, "INVALID_REQUEST", "limit"),
        ({"limit": 2**53}, "INVALID_REQUEST", "limit"),
        ({"limit": 10**30}, "INVALID_REQUEST", "limit"),
        ({"limit": 1.5}, "INVALID_REQUEST", "limit"),
        ({"limit": 1.0}, "INVALID_REQUEST", "limit"),
        ({"limit": "10"}, "INVALID_REQUEST", "limit"),
        ({"limit": True}, "INVALID_REQUEST", "limit"),
        ({"limit": None}, "UNKNOWN_FIELD", "period"),
        ({"period": "fortnight"}, "INVALID_REQUEST", "period"),
        ({"period": "second"}, "INVALID_REQUEST", "period"),
        ({"carry_over_max": -1}, "INVALID_REQUEST", "carry_over_max"),
        ({"carry_over_max": 2**53}, "INVALID_REQUEST", "carry_over_max"),
        ({"period": "lifetime", "carry_over_max": 1}, "INVALID_REQUEST", "carry_over_max"),
        ({"time_zone": "Mars/Olympus"}, "INVALID_REQUEST", "time_zone"),
        ({"time_zone": ""}, "INVALID_REQUEST", "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "INVALID_REQUEST", "time_zone"),
        ({"time_zone": "x" * 5_000}, "INVALID_REQUEST", "time_zone"),
        ({"anchor": "2026-01-01T00:00:00"}, "INVALID_REQUEST", "anchor"),
        ({"anchor": "yesterday"}, "INVALID_REQUEST", "anchor"),
        ({"anchor": "0001-01-01T00:00:00Z"}, "INVALID_REQUEST", "anchor"),
        ({"anchor": "9999-01-01T00:00:00Z"}, "INVALID_REQUEST", "anchor"),
        ({"qouta": 1}, "UNKNOWN_FIELD", "qouta"),
        ({"reason": "x" * 501}, "INVALID_REQUEST", "reason"),
    ],
)
async def test_a_quota_that_cant_be_counted_is_refused_by_its_field(
    client: httpx.AsyncClient, people: People, change: dict[str, Any], code: str, param: str
) -> None:
    staff = await people.staff()
    account_id, key_id = await _somebody(people)
    body = {"limit": 10, "period": "day", **change}
    for path in (f"/v1/accounts/{account_id}/quota", f"/v1/keys/{key_id}/quota"):
        refused(await client.put(path, json=body, headers=staff), 400, code, param)


_made: dict[int, tuple[str, str]] = {}


async def _somebody(people: People) -> tuple[str, str]:
    """An account and a key of it, made once for all those who only try to change them."""
    if id(people) not in _made:
        account_id, headers = await an_account(people)
        _made[id(people)] = (account_id, (await people.key(headers))["id"])
    return _made[id(people)]


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'"null"', b"nul", b"0"])
async def test_what_is_no_quota_and_not_null_changes_nothing(
    client: httpx.AsyncClient, people: People, body: bytes
) -> None:
    account_id, key_id = await _somebody(people)
    for path in (f"/v1/accounts/{account_id}/quota", f"/v1/keys/{key_id}/quota"):
        reply = await client.put(
            path,
            content=body,
            headers={**await people.staff(), **JSON},
        )
        assert reply.status_code == 400
        assert reply.json()["code"] in ("INVALID_REQUEST", "MALFORMED_JSON")


async def test_scope_must_agree_with_the_route(client: httpx.AsyncClient, people: People) -> None:
    staff = await people.staff()
    account_id, key_id = await _somebody(people)
    rule = {"limit": 1, "period": "day"}
    reply = await client.put(
        f"/v1/accounts/{account_id}/quota", json={**rule, "scope": "own"}, headers=staff
    )
    refused(reply, 400, "INVALID_REQUEST", "scope")
    reply = await client.put(
        f"/v1/keys/{key_id}/quota", json={**rule, "scope": "shared"}, headers=staff
    )
    refused(reply, 400, "INVALID_REQUEST", "scope")


async def test_zero_and_the_largest_limits_are_limits(
    client: httpx.AsyncClient, people: People
) -> None:
    staff = await people.staff()
    account_id, headers = await an_account(people)
    key = await people.key(headers)
    for limit, cost, code in ((0, 1, "USAGE_EXCEEDED"), (BIG, 1, "VALID"), (BIG, BIG, None)):
        reply = await client.put(
            f"/v1/accounts/{account_id}/quota",
            json={"limit": limit, "period": "lifetime", "reason": "for a test"},
            headers=staff,
        )
        assert reply.status_code == 200
        found = await spend(client, key, cost)
        assert found == (code or "USAGE_EXCEEDED")
    (live, *_) = await the_quotas(client, headers)
    assert (live["used"], live["remaining"]) == (1, BIG - 1)


async def test_a_limit_below_what_is_used_leaves_nothing_and_no_debt(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.user()
    key = await people.key(headers, quota={"limit": 8, "period": "day"})
    assert await spend(client, key, 6) == "VALID"
    path = f"/v1/keys/{key['id']}/quota"
    await client.put(path, json={"limit": 2, "period": "day"}, headers=headers)
    own = (await the_quotas(client, headers))[-1]
    assert (own["limit"], own["used"], own["remaining"]) == (2, 6, 0)
    assert own["exhausts_at"] is not None
    assert await spend(client, key) == "USAGE_EXCEEDED"
    await client.put(path, json={"limit": 7, "period": "day"}, headers=headers)
    assert await spend(client, key) == "VALID"
    assert await spend(client, key) == "USAGE_EXCEEDED"


async def test_another_period_in_mid_window_keeps_what_was_used_in_the_window_that_is_now(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.user()
    key = await people.key(headers, quota={"limit": 8, "period": "day"})
    assert await spend(client, key, 6) == "VALID"
    path = f"/v1/keys/{key['id']}/quota"
    for period in ("month", "week", "lifetime"):
        await client.put(path, json={"limit": 6, "period": period}, headers=headers)
        own = (await the_quotas(client, headers))[-1]
        assert (own["period"], own["used"], own["remaining"]) == (period, 6, 0)
        assert await spend(client, key) == "USAGE_EXCEEDED"


async def test_windows_follow_the_anchor_and_the_time_zone(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.user()
    key = await people.key(headers)
    path = f"/v1/keys/{key['id']}/quota"
    rule = {"limit": 5, "period": "day", "time_zone": "Asia/Kathmandu", "carry_over_max": 3}
    reply = await client.put(path, json=rule, headers=headers)
    assert reply.json()["quota"] == {**rule, "scope": "own", "anchor": None}
    own = (await the_quotas(client, headers))[-1]
    assert own["resets_at"].endswith("T18:15:00Z")  # midnight there, 5:45 ahead of UTC
    rule = {"limit": 5, "period": "month", "anchor": "2026-01-31T08:30:00+02:00"}
    reply = await client.put(path, json=rule, headers=headers)
    assert reply.json()["quota"]["anchor"] == "2026-01-31T06:30:00Z"
    resets_at = datetime.fromisoformat((await the_quotas(client, headers))[-1]["resets_at"])
    assert (resets_at.hour, resets_at.minute) == (6, 30)
    assert resets_at.day == 31 or (resets_at.day >= 28 and resets_at.month in (2, 4, 6, 9, 11))


async def test_reset_of_one_begins_its_window_now_and_leaves_the_others(
    client: httpx.AsyncClient, people: People, house: House
) -> None:
    staff = await people.staff()
    account_id, headers = await an_account(people)
    key = await people.key(headers, quota={"limit": 4, "period": "day"})
    other = await people.key(headers)
    assert await spend(client, key, 4) == "VALID"
    assert await spend(client, key) == "USAGE_EXCEEDED"

    body = {"key_id": key["id"], "reason": "our mistake"}
    reply = await client.post("/v1/quotas/reset", json=body, headers=staff)
    assert (reply.status_code, reply.json()["reset"]) == (200, 1)
    assert reply.headers["tollhouse-position"]
    live, _, own = await the_quotas(client, headers)
    assert (own["used"], own["remaining"], live["used"]) == (0, 4, 4)
    assert await spend(client, key, 4) == "VALID"
    assert await spend(client, key) == "USAGE_EXCEEDED"

    assert await spend(client, other, 3) == "USAGE_EXCEEDED"  # eight of the shared ten are used
    body = {"account_id": account_id, "reason": "our mistake"}
    reply = await client.post("/v1/quotas/reset", json=body, headers=staff)
    assert reply.json()["reset"] == 1
    assert await spend(client, other, 3) == "VALID"
    assert await spend(client, key) == "USAGE_EXCEEDED"  # its own is still used up
    events = await house.ports.store.read(f"alw_{account_id.partition('_')[2]}", personal=True)
    assert [stored_name(type(each.event)) for each in events] == ["allowance.reset.v1"]


async def test_reset_of_many_is_all_or_none(client: httpx.AsyncClient, people: People) -> None:
    staff = await people.staff()
    account_id, headers = await an_account(people)
    key = await people.key(headers, quota={"limit": 2, "period": "day"})
    assert await spend(client, key, 2) == "VALID"
    nobody = "key_01kamzq9h4t7c2m5r8v1x3z6bd"
    body = {"ids": [key["id"], nobody]}
    reply = await client.post("/v1/quotas/reset", json=body, headers=staff)
    refused(reply, 400, "INVALID_REQUEST", "ids[1]")
    assert await spend(client, key) == "USAGE_EXCEEDED"
    said = {"ids": [key["id"], account_id, key["id"]], "reason": "for a test"}
    reply = await client.post("/v1/quotas/reset", json=said, headers=staff)
    assert reply.json()["reset"] == 2
    live, _, own = await the_quotas(client, headers)
    assert (live["used"], own["used"]) == (0, 0)


async def test_reset_of_all_is_one_event_and_holds_for_everybody(
    client: httpx.AsyncClient, people: People
) -> None:
    staff = await people.staff()
    somebody, other = await people.user(), await people.user()
    keys = [await people.key(each) for each in (somebody, other)]
    for key in keys:
        assert await spend(client, key, 10) == "VALID"
    once = {**staff, "idempotency-key": "reset-all-1"}
    first = await client.post("/v1/quotas/reset", json={"all": True}, headers=once)
    assert (first.status_code, first.json()["reset"]) == (200, None)
    for key in keys:
        assert await spend(client, key, 10) == "VALID"
    again = await client.post("/v1/quotas/reset", json={"all": True}, headers=once)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    for key in keys:
        assert await spend(client, key) == "USAGE_EXCEEDED"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "INVALID_REQUEST", None),
        ({"all": True, "key_id": "key_x"}, "INVALID_REQUEST", None),
        ({"all": True, "reason": "an outage"}, "INVALID_REQUEST", "reason"),
        ({"ids": []}, "INVALID_REQUEST", "ids"),
        ({"ids": ["key_x"]}, "INVALID_REQUEST", "ids[0]"),
        ({"ids": ["\u0000"]}, "INVALID_REQUEST", "ids[0]"),
        ({"ids": ["key_x"] * 201}, "INVALID_REQUEST", "ids"),
        ({"all": 1}, "INVALID_REQUEST", "all"),
        ({"everybody": True}, "UNKNOWN_FIELD", "everybody"),
    ],
)
async def test_a_reset_of_nobody_in_particular_is_refused(
    client: httpx.AsyncClient,
    people: People,
    body: dict[str, Any],
    code: str,
    param: str | None,
) -> None:
    reply = await client.post("/v1/quotas/reset", json=body, headers=await people.staff())
    refused(reply, 400, code, param)


async def test_a_reset_of_somebody_unknown_is_not_found(
    client: httpx.AsyncClient, people: People
) -> None:
    staff = await people.staff()
    for body in ({"key_id": "key_x"}, {"account_id": "key_01kamzq9h4t7c2m5r8v1x3z6bd"}):
        reply = await client.post("/v1/quotas/reset", json=body, headers=staff)
        refused(reply, 404, "NOT_FOUND")
