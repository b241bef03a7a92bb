"""Keys through their lives over HTTP: rights and limits, rotation, import, leaks."""

import hashlib
from typing import Any

import httpx
import pytest

from house import House
from tests.api.conftest import People, refused

pytestmark = pytest.mark.anyio

KEYS = "/v1/keys"
NOWHERE = "key_01kamzq9h4t7c2m5r8v1x3z6bd"
RIGHTS = {
    "roles": ["editor"],
    "ip_allow": ["::ffff:127.0.0.0/104", "2001:DB8::/32"],
    "rate_limits": [{"name": "burst", "limit": 3, "period": "minute"}],
    "permissions": ["documents.*"],
}
SHOWN = {
    "roles": ["editor"],
    "ip_allow": ["127.0.0.0/8", "2001:db8::/32"],
    "rate_limits": [{"name": "burst", "limit": 3, "period": "minute", "cost": 1}],
    "permissions": ["documents.*"],
}


def sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


async def verdict(client: httpx.AsyncClient, secret: str, **asked: Any) -> dict[str, Any]:
    """What a key that calls for itself is told."""
    reply = await client.post("/v1/keys/verify", json=asked, headers={"x-api-key": secret})
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def test_rights_and_limits_are_given_changed_and_shown(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.user()
    made = await people.key(headers, **RIGHTS)
    assert {field: made[field] for field in SHOWN} == SHOWN
    assert (made["generation"], made["previous_valid_until"]) == (1, None)
    mine = {"x-api-key": made["key"]}
    who = (await client.get(f"{KEYS}/whoami", headers=mine)).json()
    assert {field: who[field] for field in SHOWN} == SHOWN
    asked = {"permissions": "documents.read AND (role:editor OR NOT documents.*)"}
    assert (await verdict(client, made["key"], **asked))["code"] == "VALID"
    denied = await verdict(client, made["key"], permissions="NOT role:editor")
    assert (denied["valid"], denied["code"]) == (False, "INSUFFICIENT_PERMISSIONS")
    path = f"{KEYS}/{made['id']}"
    nowhere = {"ip_allow": ["192.0.2.1"], "roles": [], "rate_limits": []}
    changed = await client.patch(path, json=nowhere, headers=headers)
    assert changed.json()["ip_allow"] == ["192.0.2.1/32"]
    assert (changed.json()["roles"], changed.json()["rate_limits"]) == ([], [])
    assert (await verdict(client, made["key"]))["code"] == "IP_NOT_ALLOWED"
    refused(await client.get(f"{KEYS}/whoami", headers=mine), 401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"roles": "editor"}, "INVALID_REQUEST", "roles"),
        ({"roles": ["No Way"]}, "INVALID_REQUEST", "roles[0]"),
        ({"ip_allow": ["10.0.0.1/8"]}, "INVALID_REQUEST", "ip_allow[0]"),
        ({"ip_allow": ["localhost"]}, "INVALID_REQUEST", "ip_allow[0]"),
        ({"ip_allow": ["\u0000"]}, "INVALID_REQUEST", "ip_allow[0]"),
        ({"permissions": ["role:x"]}, "INVALID_REQUEST", "permissions[0]"),
        ({"rate_limits": [{"name": "a"}]}, "INVALID_REQUEST", "rate_limits[0].limit"),
        (
            {"rate_limits": [{"name": "a", "limit": 1, "period": "week"}]},
            "INVALID_REQUEST",
            "rate_limits[0].period",
        ),
        (
            {"rate_limits": [{"name": "a", "limit": 1, "period": "day", "burst": 1}]},
            "UNKNOWN_FIELD",
            "rate_limits[0].burst",
        ),
    ],
)
async def test_400_rights_and_limits_name_the_field_at_fault(
    client: httpx.AsyncClient, people: People, change: dict[str, Any], code: str, param: str
) -> None:
    headers = await people.staff()
    body = {"name": "k", **change}
    refused(await client.post(KEYS, json=body, headers=headers), 400, code, param)


@pytest.mark.parametrize(
    ("query", "column"),
    [
        ("a AND OR b", 7),
        ("", 1),
        ("x" * 10_000, 1001),
        ("(" * 1000 + "a" + ")" * 1000, 1001),
        ("(" * 100 + "a" + ")" * 100, 33),
    ],
)
async def test_400_permission_query_names_its_column(
    client: httpx.AsyncClient, people: People, query: str, column: int
) -> None:
    headers = await people.service("keys.verify")
    reply = await client.post(
        "/v1/keys/verify", json={"key": "th_x", "permissions": query}, headers=headers
    )
    refused(reply, 400, "INVALID_PERMISSION_QUERY", "permissions")
    assert reply.json()["detail"].startswith(f"Column {column}: ")
    items = [{"key": "th_x"}, {"key": "th_x", "permissions": query}]
    batch = await client.post("/v1/keys/verify-batch", json={"items": items}, headers=headers)
    refused(batch, 400, "INVALID_PERMISSION_QUERY", "items[1].permissions")


async def test_200_rotation_keeps_the_key_and_one_budget(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.user()
    made = await people.key(headers, quota={"limit": 3, "period": "lifetime"})
    path = f"{KEYS}/{made['id']}"
    reply = await client.post(f"{path}/rotate", json={"overlap_seconds": 3600}, headers=headers)
    assert reply.status_code == 200
    assert "tollhouse-position" in reply.headers
    rotated = reply.json()
    assert rotated["key"] != made["key"]
    assert (rotated["id"], rotated["generation"]) == (made["id"], 2)
    assert rotated["previous_valid_until"].endswith("Z")
    assert rotated["quota"] == made["quota"]
    codes = [
        (await verdict(client, secret))["code"]
        for secret in (made["key"], rotated["key"], made["key"], rotated["key"])
    ]
    assert codes == ["VALID", "VALID", "VALID", "USAGE_EXCEEDED"]
    read = (await client.get(path, headers=headers)).json()
    assert read["previous_valid_until"] == rotated["previous_valid_until"]
    assert "key" not in read

    ended = (await client.post(f"{path}/rotate", headers=headers)).json()
    assert (ended["generation"], ended["previous_valid_until"]) == (3, None)
    staff = await people.service("keys.verify")
    told = [
        (
            await client.post("/v1/keys/verify", json={"key": secret, "cost": 0}, headers=staff)
        ).json()["code"]
        for secret in (made["key"], rotated["key"], ended["key"])
    ]
    assert told == ["NOT_FOUND", "EXPIRED", "VALID"]
    old = {"x-api-key": rotated["key"]}
    refused(await client.get(f"{KEYS}/whoami", headers=old), 401, "UNAUTHENTICATED")


async def test_rotation_with_an_idempotency_key_gives_one_secret(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = await people.user()
    made = await people.key(headers)
    path = f"{KEYS}/{made['id']}/rotate"
    once = {**headers, "idempotency-key": "rotate-once"}
    first = await client.post(path, json={"overlap_seconds": 5}, headers=once)
    again = await client.post(path, json={"overlap_seconds": 5}, headers=once)
    assert again.headers["idempotent-replayed"] == "true"
    assert first.json() == again.json()
    assert (await verdict(client, again.json()["key"]))["code"] == "VALID"


async def test_rotation_is_refused_by_name(client: httpx.AsyncClient, people: People) -> None:
    headers, other = await people.user(), await people.user()
    made = await people.key(headers)
    path = f"{KEYS}/{made['id']}/rotate"
    for body, code, param in (
        ({"overlap_seconds": -1}, "INVALID_REQUEST", "overlap_seconds"),
        ({"overlap_seconds": 2_592_001}, "INVALID_REQUEST", "overlap_seconds"),
        ({"overlap_seconds": 1.5}, "INVALID_REQUEST", "overlap_seconds"),
        ({"overlap": 1}, "UNKNOWN_FIELD", "overlap"),
    ):
        refused(await client.post(path, json=body, headers=headers), 400, code, param)
    refused(await client.post(path, headers=other), 404, "NOT_FOUND")
    refused(await client.post(f"{KEYS}/{NOWHERE}/rotate", headers=headers), 404, "NOT_FOUND")
    refused(await client.post(f"{KEYS}/acct_1/rotate", headers=headers), 404, "NOT_FOUND")
    refused(await client.post(path, headers={"x-api-key": made["key"]}), 403, "FORBIDDEN")
    manager = await people.service("keys.manage")
    refused(await client.post(path, headers=manager), 403, "FORBIDDEN")
    service = (await client.get(f"{KEYS}/whoami", headers=manager)).json()["id"]
    issuer = await people.service("keys.issue")
    refused(await client.post(f"{KEYS}/{service}/rotate", headers=issuer), 403, "FORBIDDEN")
    await client.post(f"{KEYS}/{made['id']}/revoke", headers=headers)
    refused(await client.post(path, headers=headers), 409, "KEY_REVOKED")


async def test_201_imported_key_works_and_is_rehashed_at_its_first_use(
    client: httpx.AsyncClient, people: People, house: House
) -> None:
    owner = await people.register()
    issuer = await people.service("keys.issue")
    secret = f"old-system-{owner['id']}"
    item = {
        "account_id": owner["id"],
        "name": "from elsewhere",
        "hash": sha256(secret),
        "algorithm": "sha256",
        "hint": "old…",
        "quota": {"limit": 2, "period": "lifetime"},
        **RIGHTS,
    }
    reply = await client.post(f"{KEYS}/import", json={"items": [item]}, headers=issuer)
    assert reply.status_code == 201, reply.text
    (made,) = reply.json()["items"]
    assert (made["name"], made["hint"]) == ("from elsewhere", "old…")
    first = await verdict(client, secret)
    assert (first["code"], first["key_id"]) == ("VALID", made["id"])
    position = int(reply.headers["tollhouse-position"].partition(":")[2])
    assert await house.directory.catch_up(position + 1, 5)  # the re-hash is the next event
    assert house.directory.find(house.ports.digests.candidates(secret)) is not None
    codes = [(await verdict(client, secret))["code"] for _ in range(2)]
    assert codes == ["VALID", "USAGE_EXCEEDED"]
    headers = await people.sign_in(owner["email"])
    shown = (await client.get(f"{KEYS}/{made['id']}", headers=headers)).json()
    assert {field: shown[field] for field in SHOWN} == SHOWN


async def test_the_hash_of_nothing_lets_nobody_in(
    client: httpx.AsyncClient, people: People
) -> None:
    """Some tables of keys hold it, for keys that were never made."""
    owner = await people.register()
    item = {"account_id": owner["id"], "name": "k", "hash": sha256(""), "algorithm": "sha256"}
    staff = await people.staff()
    body = {"items": [item], "reason": "for a test"}
    made = await client.post(f"{KEYS}/import", json=body, headers=staff)
    assert made.status_code == 201
    reply = await client.post(f"{KEYS}/verify", json={}, headers={"x-api-key": ""})
    refused(reply, 401, "UNAUTHENTICATED")
    service = await people.service("keys.verify")
    reply = await client.post(f"{KEYS}/verify", json={"key": ""}, headers=service)
    assert reply.json()["code"] == "NOT_FOUND"


async def test_import_is_refused_whole_with_a_reason_for_each_item(
    client: httpx.AsyncClient, people: People
) -> None:
    owner = await people.register()
    staff = await people.staff()
    good = {
        "account_id": owner["id"],
        "name": "k",
        "hash": sha256("fine"),
        "algorithm": "sha256",
    }
    items = [good, {**good, "hash": "abc"}, {**good, "hash": sha256("x"), "account_id": "acct_1"}]
    reply = await client.post(f"{KEYS}/import", json={"items": items}, headers=staff)
    refused(reply, 422, "IMPORT_REFUSED", "items[1].hash")
    assert reply.json()["detail"] == (
        "2 of 3 items can't be imported, and none was. items[1].hash: 32 bytes in hex or base64 "
        "for sha256; items[2].account_id: no such account."
    )
    for body, code, param in (
        ({"items": []}, "INVALID_REQUEST", "items"),
        ({"items": [good] * 1001}, "INVALID_REQUEST", "items"),
        ({"items": [{**good, "algorithm": "md5"}]}, "INVALID_REQUEST", "items[0].algorithm"),
        ({"items": [{**good, "secret": "x"}]}, "UNKNOWN_FIELD", "items[0].secret"),
        (
            {"items": [good, {**good, "expires_at": "9999-12-31T23:59:59Z"}]},
            "INVALID_REQUEST",
            "items[1].expires_at",
        ),
    ):
        reply = await client.post(f"{KEYS}/import", json=body, headers=staff)
        refused(reply, 400, code, param)
    for account_id in ("", "\u0000", owner["id"].upper()):
        item = {**good, "account_id": account_id}
        reply = await client.post(f"{KEYS}/import", json={"items": [item]}, headers=staff)
        refused(reply, 422, "IMPORT_REFUSED", "items[0].account_id")
    keyed = {**good, "algorithm": "hmac-sha256"}
    reply = await client.post(f"{KEYS}/import", json={"items": [keyed]}, headers=staff)
    refused(reply, 422, "IMPORT_REFUSED", "items[0].algorithm")
    assert "TOLLHOUSE_IMPORT_HMAC_KEY" in reply.json()["detail"]
    user = await people.sign_in(owner["email"])
    for headers in (user, await people.service("keys.manage")):
        reply = await client.post(f"{KEYS}/import", json={"items": [good]}, headers=headers)
        refused(reply, 403, "FORBIDDEN")


async def test_200_leak_response_ends_the_key_and_tells_what_it_can(
    client: httpx.AsyncClient, people: People
) -> None:
    headers, other = await people.user(), await people.user()
    made = await people.key(headers)
    path = f"{KEYS}/{made['id']}/leak-response"
    refused(await client.post(path, headers=other), 404, "NOT_FOUND")
    manager = await people.service("keys.manage")
    refused(await client.post(path, headers=manager), 403, "FORBIDDEN")
    for body, code in (
        ({"since": "2090-01-01T00:00:00Z"}, "INVALID_REQUEST"),
        ({"since": "2026-01-01T00:00:00"}, "INVALID_REQUEST"),
        ({"until": "2026-01-01T00:00:00Z"}, "UNKNOWN_FIELD"),
    ):
        reply = await client.post(path, json=body, headers=headers)
        refused(reply, 400, code, next(iter(body)))
    assert (await verdict(client, made["key"]))["code"] == "VALID"
    since = {"since": "2026-01-01T01:00:00+01:00"}
    reply = await client.post(path, json=since, headers=headers)
    assert reply.status_code == 200
    report = reply.json()
    assert (report["key_id"], report["since"]) == (made["id"], "2026-01-01T00:00:00Z")
    assert report["revoked_at"].endswith("Z")
    assert (report["days"], report["labels"], report["addresses"]) == (None, None, None)
    assert report["incomplete"] == "This server has no lake."
    mine = {"x-api-key": made["key"]}
    refused(await client.get(f"{KEYS}/whoami", headers=mine), 401, "UNAUTHENTICATED")
    again = await client.post(path, headers=headers)
    assert again.json()["revoked_at"] == report["revoked_at"]
    assert again.json()["since"] == made["issued_at"]
