"""Keys over HTTP: who may do what with whose, and what is refused how."""

from typing import Any

import httpx
import pytest

from api.http.api_key_shapes import IssueRequest
from tests.api.conftest import People, refused

pytestmark = pytest.mark.anyio

KEYS = "/v1/keys"
NOWHERE = "key_01kamzq9h4t7c2m5r8v1x3z6bd"
NO_ACCOUNT = "acct_01kamzq9h4t7c2m5r8v1x3z6bd"


def shown_quota(limit: int, period: str) -> dict[str, Any]:
    """A quota of which nothing else was said, as answers have it."""
    plain = {"carry_over_max": 0, "anchor": None, "time_zone": "UTC"}
    return {"limit": limit, "period": period, "scope": "own", **plain}


async def test_201_a_key_is_shown_once_and_works(client: httpx.AsyncClient, people: People) -> None:
    headers = await people.user()
    body = {
        "name": " shop ",
        "environment": "test",
        "prefix": "acme",
        "audience": "shop",
        "permissions": ["orders.read", "orders.read"],
        "expires_at": "2090-01-31T01:00:00+01:00",
        "metadata": {"team": "checkout", "n": 1, "f": 1.5, "b": True, "z": None},
        "tags": ["a"],
        "external_id": "x-1",
        "quota": {"limit": 3, "period": "day"},
    }
    reply = await client.post(KEYS, json=body, headers=headers)
    assert reply.status_code == 201
    made = reply.json()
    assert made["key"].startswith("acme_test_")
    assert reply.headers["location"] == f"/v1/keys/{made['id']}"
    assert (made["name"], made["permissions"]) == ("shop", ["orders.read"])
    assert made["expires_at"] == "2090-01-31T00:00:00Z"
    assert made["metadata"] == body["metadata"]
    assert made["quota"] == shown_quota(3, "day")
    assert (made["enabled"], made["generation"], made["revoked_at"]) == (True, 1, None)
    assert made["issued_at"].endswith("Z")

    position = {"tollhouse-min-position": reply.headers["tollhouse-position"]}
    read = await client.get(reply.headers["location"], headers={**headers, **position})
    secret = made.pop("key")
    assert read.json() == made
    assert secret not in read.text
    assert "digest" not in read.text
    mine = {"x-api-key": secret, **position}
    verdict = (await client.post("/v1/keys/verify", json={"audience": "shop"}, headers=mine)).json()
    assert (verdict["valid"], verdict["key_id"]) == (True, made["id"])


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"name": ""}, "INVALID_REQUEST", "name"),
        ({"name": 5}, "INVALID_REQUEST", "name"),
        ({"name": None}, "INVALID_REQUEST", "name"),
        ({"name": "a\nb"}, "INVALID_REQUEST", "name"),
        ({"name": "a\u0000b"}, "INVALID_REQUEST", "name"),
        ({"kind": "golden"}, "INVALID_REQUEST", "kind"),
        ({"environment": "prod"}, "INVALID_REQUEST", "environment"),
        ({"prefix": "Not This"}, "INVALID_REQUEST", "prefix"),
        ({"audience": ""}, "INVALID_REQUEST", "audience"),
        ({"audience": "a\u0000"}, "INVALID_REQUEST", "audience"),
        ({"permissions": "read"}, "INVALID_REQUEST", "permissions"),
        ({"permissions": ["a", "No Way"]}, "INVALID_REQUEST", "permissions[1]"),
        ({"permissions": [1]}, "INVALID_REQUEST", "permissions[0]"),
        ({"permissions": ["p"] * 101}, "INVALID_REQUEST", "permissions"),
        ({"expires_at": "soon"}, "INVALID_REQUEST", "expires_at"),
        ({"expires_at": 1}, "INVALID_REQUEST", "expires_at"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "INVALID_REQUEST", "expires_at"),
        ({"expires_at": "2090-01-01T00:00:00"}, "INVALID_REQUEST", "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59.999999Z"}, "INVALID_REQUEST", "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-12:00"}, "INVALID_REQUEST", "expires_at"),
        ({"expires_at": "0001-01-01T00:00:00+12:00"}, "INVALID_REQUEST", "expires_at"),
        ({"metadata": []}, "INVALID_REQUEST", "metadata"),
        ({"metadata": {"a": {}}}, "INVALID_REQUEST", "metadata[...]"),
        ({"metadata": {"a": "\u0000"}}, "INVALID_REQUEST", "metadata[...]"),
        ({"metadata": {"a": 2**60}}, "INVALID_REQUEST", "metadata.a"),
        ({"metadata": {"a": 10**30}}, "INVALID_REQUEST", "metadata.a"),
        ({"metadata": {"x" * 41: 1}}, "INVALID_REQUEST", "metadata"),
        ({"tags": ["\u0000"]}, "INVALID_REQUEST", "tags[0]"),
        ({"tags": [""]}, "INVALID_REQUEST", "tags"),
        ({"external_id": ""}, "INVALID_REQUEST", "external_id"),
        ({"enabled": 1}, "INVALID_REQUEST", "enabled"),
        ({"quota": 5}, "INVALID_REQUEST", "quota"),
        ({"quota": {"limit": -1, "period": "day"}}, "INVALID_REQUEST", "quota.limit"),
        ({"quota": {"limit": 2**53, "period": "day"}}, "INVALID_REQUEST", "quota.limit"),
        ({"quota": {"limit": "1", "period": "day"}}, "INVALID_REQUEST", "quota.limit"),
        ({"quota": {"limit": 1.5, "period": "day"}}, "INVALID_REQUEST", "quota.limit"),
        ({"quota": {"limit": 1, "period": "year"}}, "INVALID_REQUEST", "quota.period"),
        ({"quota": {"limit": 1}}, "INVALID_REQUEST", "quota.period"),
        ({"quota": {"limit": 1, "period": "day", "x": 1}}, "UNKNOWN_FIELD", "quota.x"),
        (
            {"quota": {"limit": 1, "period": "day", "scope": "shared"}},
            "INVALID_REQUEST",
            "quota.scope",
        ),
        ({"digest": "x"}, "UNKNOWN_FIELD", "digest"),
    ],
)
async def test_400_the_field_at_fault_is_named(
    client: httpx.AsyncClient, people: People, change: dict[str, Any], code: str, param: str
) -> None:
    headers = await people.staff()
    refused(
        await client.post(KEYS, json={"name": "k", **change}, headers=headers), 400, code, param
    )


async def test_400_changes_are_judged_like_creation(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.user()
    path = f"{KEYS}/{(await people.key(headers))['id']}"
    for change, code, param in (
        ({"name": None}, "INVALID_REQUEST", "name"),
        ({"name": ""}, "INVALID_REQUEST", "name"),
        ({"enabled": "yes"}, "INVALID_REQUEST", "enabled"),
        ({"expires_at": "9999-12-31T23:59:59-12:00"}, "INVALID_REQUEST", "expires_at"),
        ({"tags": ["\u0000"]}, "INVALID_REQUEST", "tags[0]"),
        (
            {"quota": {"limit": 1, "period": "day", "scope": "shared"}},
            "INVALID_REQUEST",
            "quota.scope",
        ),
        ({"key": "x"}, "UNKNOWN_FIELD", "key"),
        ({"kind": "service"}, "UNKNOWN_FIELD", "kind"),
    ):
        refused(await client.patch(path, json=change, headers=headers), 400, code, param)
    refused(await client.patch(path, headers=headers), 400, "INVALID_REQUEST")


async def test_200_what_is_absent_stays_and_null_clears(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.user()
    made = await people.key(
        headers,
        expires_at="2090-01-01T00:00:00Z",
        external_id="x",
        tags=["a"],
        quota={"limit": 5, "period": "day"},
    )
    path = f"{KEYS}/{made['id']}"
    renamed = await client.patch(path, json={"name": "other"}, headers=headers)
    made.pop("key")
    assert renamed.status_code == 200
    assert renamed.json() == {**made, "name": "other"}
    assert "tollhouse-position" in renamed.headers
    cleared = {"expires_at": None, "external_id": None, "quota": None, "enabled": False}
    reply = await client.patch(path, json=cleared, headers=headers)
    assert reply.json() == {**made, "name": "other", **cleared}
    assert (await client.patch(path, json={}, headers=headers)).json() == reply.json()
    again = {"quota": {"limit": 7, "period": "hour"}}
    await client.patch(path, json=again, headers=headers)
    read = (await client.get(path, headers=headers)).json()
    assert read["quota"] == shown_quota(7, "hour")


async def test_204_a_revoked_key_never_works_or_changes_again(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.user()
    made = await people.key(headers)
    path = f"{KEYS}/{made['id']}"
    reply = await client.post(f"{path}/revoke", json={"reason": "leaked"}, headers=headers)
    assert (reply.status_code, reply.content) == (204, b"")
    assert "content-type" not in reply.headers
    assert "tollhouse-position" in reply.headers
    assert (await client.post(f"{path}/revoke", headers=headers)).status_code == 204
    mine = {"x-api-key": made["key"]}
    refused(await client.get(f"{KEYS}/whoami", headers=mine), 401, "UNAUTHENTICATED")
    refused(await client.patch(path, json={"name": "n"}, headers=headers), 409, "KEY_REVOKED")
    assert (await client.get(path, headers=headers)).json()["revoked_at"] is not None
    for body, code, param in (
        ({"reason": 1}, "INVALID_REQUEST", "reason"),
        ({"reason": "x" * 501}, "INVALID_REQUEST", "reason"),
        ({"why": "x"}, "UNKNOWN_FIELD", "why"),
    ):
        refused(await client.post(f"{path}/revoke", json=body, headers=headers), 400, code, param)


async def test_404_foreign_and_missing_are_the_same(
    client: httpx.AsyncClient, people: People
) -> None:
    mine, theirs = await people.user(), await people.user()
    foreign = await people.key(theirs)
    answers = set()
    for key_id in (foreign["id"], NOWHERE, "verify", "acct_1", "%00", "key_%00", "..%2f"):
        path = f"{KEYS}/{key_id}"
        for reply in (
            await client.get(path, headers=mine),
            await client.patch(path, json={"name": "n"}, headers=mine),
            await client.post(f"{path}/revoke", headers=mine),
        ):
            refused(reply, 404, "NOT_FOUND")
            if key_id in (foreign["id"], NOWHERE):
                answers.add(reply.json()["detail"])
    assert len(answers) == 1
    for account_id in (foreign["account_id"], NO_ACCOUNT, "me", "%00"):
        path = f"{KEYS}?account_id={account_id}"
        refused(await client.get(path, headers=mine), 404, "NOT_FOUND")
    for account_id in (foreign["account_id"], NO_ACCOUNT, "\u0000"):
        body = {"name": "k", "account_id": account_id}
        refused(await client.post(KEYS, json=body, headers=mine), 404, "NOT_FOUND")
    staff = await people.staff()
    refused(await client.get(f"{KEYS}?account_id={NO_ACCOUNT}", headers=staff), 404, "NOT_FOUND")


async def test_lists_come_in_pages_that_miss_and_repeat_nothing(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.user()
    ids = [(await people.key(headers, name=f"k{n}"))["id"] for n in range(5)]
    seen: list[str] = []
    query = "?limit=2"
    while True:
        page = (await client.get(f"{KEYS}{query}", headers=headers)).json()
        assert 1 <= len(page["items"]) <= 2
        assert all("key" not in item for item in page["items"])
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query = f"?limit=2&cursor={page['next_cursor']}"
    assert seen == ids
    exactly = (await client.get(f"{KEYS}?limit=5", headers=headers)).json()
    assert exactly["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("limit=", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("cursor=nonsense", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=%C3%A9", "cursor"),
        ("cursor=" + "a" * 201, "cursor"),
    ],
)
async def test_400_pages_that_nobody_offered(
    client: httpx.AsyncClient, people: People, query: str, param: str
) -> None:
    headers = await people.staff()
    for path in (KEYS, "/v1/quotas"):
        reply = await client.get(f"{path}?{query}", headers=headers)
        refused(reply, 400, "INVALID_REQUEST", param)


async def test_403_the_plan_limits_keys(client: httpx.AsyncClient, people: People) -> None:
    headers = await people.user()
    for _ in range(5):
        made = await people.key(headers)
    body = {"name": "one too many"}
    refused(await client.post(KEYS, json=body, headers=headers), 403, "PLAN_LIMIT_REACHED")
    await client.post(f"{KEYS}/{made['id']}/revoke", headers=headers)
    assert (await client.post(KEYS, json=body, headers=headers)).status_code == 201


async def test_401_and_403_by_who_calls(client: httpx.AsyncClient, people: People) -> None:
    headers = await people.user()
    key = await people.key(headers)
    mine = {"x-api-key": key["key"]}
    path = f"{KEYS}/{key['id']}"
    for given, status, code in (({}, 401, "UNAUTHENTICATED"), (mine, 403, "FORBIDDEN")):
        for reply in (
            await client.post(KEYS, json={"name": "k"}, headers=given),
            await client.get(KEYS, headers=given),
            await client.get(path, headers=given),
            await client.patch(path, json={"enabled": False}, headers=given),
            await client.post(f"{path}/revoke", headers=given),
        ):
            refused(reply, status, code)
    service = {"name": "s", "kind": "service", "permissions": ["keys.verify"]}
    refused(await client.post(KEYS, json=service, headers=headers), 403, "FORBIDDEN")
    refused(await client.get(f"{KEYS}/whoami", headers=headers), 403, "FORBIDDEN")


async def test_a_service_does_what_its_key_permits_and_no_more(
    client: httpx.AsyncClient, people: People
) -> None:
    owner = await people.register()
    issuer, manager = await people.service("keys.issue"), await people.service("keys.manage")
    body = {"name": "k", "account_id": owner["id"]}
    made = await client.post(KEYS, json=body, headers=issuer)
    assert (made.status_code, made.json()["account_id"]) == (201, owner["id"])
    refused(await client.post(KEYS, json=body, headers=manager), 403, "FORBIDDEN")
    listing = f"{KEYS}?account_id={owner['id']}"
    path = f"{KEYS}/{made.json()['id']}"
    for right, outcome in ((issuer, 403), (manager, 200)):
        assert (await client.get(listing, headers=right)).status_code == outcome
        assert (await client.get(path, headers=right)).status_code == outcome
        change = await client.patch(path, json={"name": "n"}, headers=right)
        assert change.status_code == outcome
    # Without the right, there is nothing to be learnt about what exists.
    refused(await client.get(f"{KEYS}/{NOWHERE}", headers=issuer), 403, "FORBIDDEN")
    assert (await client.post(f"{path}/revoke", headers=manager)).status_code == 204


async def test_403_a_service_can_not_raise_its_own_rights(
    client: httpx.AsyncClient, people: People
) -> None:
    manager = await people.service("keys.manage")
    me = (await client.get(f"{KEYS}/whoami", headers=manager)).json()
    path = f"{KEYS}/{me['id']}"
    more = {"permissions": ["keys.issue", "keys.manage"]}
    refused(await client.patch(path, json=more, headers=manager), 403, "FORBIDDEN")
    refused(await client.post(f"{path}/revoke", headers=manager), 403, "FORBIDDEN")
    staff = await people.staff()
    assert (await client.patch(path, json=more, headers=staff)).status_code == 200


async def test_whoami_says_what_is_left_and_spends_nothing(
    client: httpx.AsyncClient, people: People
) -> None:
    made = await people.key(await people.user(), quota={"limit": 4, "period": "lifetime"})
    mine = {"x-api-key": made["key"]}
    await client.post("/v1/keys/verify", json={"cost": 3}, headers=mine)
    for _ in range(2):
        reply = await client.get(f"{KEYS}/whoami", headers=mine)
        assert reply.status_code == 200
        assert reply.json()["id"] == made["id"]
        quotas = {each["scope"]: each for each in reply.json()["quotas"]}
        assert (quotas["own"]["used"], quotas["own"]["remaining"]) == (3, 1)
        assert (quotas["own"]["key_name"], quotas["own"]["resets_at"]) == ("a key", None)
        assert (quotas["shared"]["used"], quotas["shared"]["limit"]) == (3, 10)
        assert made["key"] not in reply.text


async def test_405_names_what_is_allowed(client: httpx.AsyncClient) -> None:
    reply = await client.put(KEYS)
    refused(reply, 405, "METHOD_NOT_ALLOWED")
    assert "POST" in reply.headers["allow"]


ODD: list[object] = [
    None,
    True,
    0,
    -1,
    1e308,
    2**70,
    "",
    " ",
    "\u0000",
    "\uffff",
    "é" * 9000,
    [],
    {},
    [[]],
    [""],
]


@pytest.mark.slow
async def test_nothing_that_a_field_may_hold_is_a_5xx(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.staff()
    path = f"{KEYS}/{(await people.key(headers))['id']}"
    for field in IssueRequest.__struct_fields__:
        for odd in [*ODD, {"a": "\uffff"}, {"": 1}, {"limit": 0, "period": "month"}]:
            made = await client.post(KEYS, json={"name": "k", field: odd}, headers=headers)
            changed = await client.patch(path, json={field: odd}, headers=headers)
            for reply in (made, changed):
                assert reply.status_code < 500, (field, odd, reply.text)
    # What was taken can be read, and stands in nobody's way.
    assert (await client.get(f"{KEYS}?limit=200", headers=headers)).status_code == 200
    await people.key(await people.user())
