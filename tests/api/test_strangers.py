"""Every operation, and whoever has no business there: foreign things are not found (SECURITY 20),
and nothing that a body may hold is a 5xx."""

import json
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
import pytest

from tests.api.conftest import People
from tests.api.test_openapi import operations

pytestmark = pytest.mark.anyio

STAFF_OR_RIGHT = {
    "assign_plan",
    "capture_hold",
    "change_plan",
    "grant_credits",
    "hold_credits",
    "import_keys",
    "publish_plan",
    "query_lake",
    "release_hold",
    "reset_quotas",
    "retire_plan",
    "set_account_quota",
    "spend_credits",
}
"""What an owner may not do to anything, own or foreign: 403 whatever it is about."""

OWN_ONLY = {"me", "current_plan", "upgrade_plan", "list_purchases", "start_purchase"}
"""About the caller alone: there is no way to name anything foreign."""

BY_KEY = {"whoami", "verify_key", "verify_keys"}
MISSING = {
    "key_id": "key_01kamzq9h4t7c2m5r8v1x3z6bd",
    "account_id": "acct_01kamzq3v0b6f7n8w9x2y4z5ac",
    "purchase_id": "pur_01kamzq3v0b6f7n8w9x2y4z5ac",
    "hold_id": "hold_01kb2m9k2q4s6v8x0z2b4d6f8h",
    "name": "free",
    "feature": "webhooks",
    "provider": "stripe",
}


async def document_of(client: httpx.AsyncClient) -> dict[tuple[str, str], dict[str, Any]]:
    return operations((await client.get("/openapi.json")).json())


class Things:
    """What somebody has, by the names that paths, queries and bodies have for it."""

    def __init__(self, ids: dict[str, str]) -> None:
        self.ids = {**MISSING, **ids}

    def request(
        self, method: str, path: str, operation: dict[str, Any]
    ) -> tuple[str, str, dict[str, str], Any]:
        """This operation's own example, about these things."""
        content = operation.get("requestBody", {}).get("content", {})
        body = content["application/json"]["example"] if content else None
        named = {each["name"] for each in operation.get("parameters", ())}
        query = {"account_id": self.ids["account_id"]} if "account_id" in named else {}
        if "{account_id}" in path:
            query = {}
        if isinstance(body, dict):
            body = json.loads(json.dumps(body))
            for each in [body, *body.get("items", [])]:
                each.update({name: self.ids[name] for name in self.ids if name in each})
            if operation["operationId"] in ("issue_key", "check_credits"):
                body["account_id"] = self.ids["account_id"]
        return method, path.format(**self.ids), query, body


async def send(
    client: httpx.AsyncClient,
    request: tuple[str, str, dict[str, str], Any],
    headers: dict[str, str],
) -> httpx.Response:
    method, path, query, body = request
    return await client.request(
        method, path, params=query, headers=headers, json=body if body is not None else None
    )


async def things_of(client: httpx.AsyncClient, headers: dict[str, str], key: Any) -> Any:
    """All that its owner sees of it."""
    paths = (f"/v1/keys/{key['id']}", "/v1/quotas", "/v1/plans/current", "/v1/credits")
    seen = [(await client.get(path, headers=headers)).json() for path in paths]
    seen[-1].pop("as_of")
    seen.append(len((await client.get("/v1/keys", headers=headers)).json()["items"]))
    return seen


async def test_nobody_reaches_what_is_somebody_elses(
    client: httpx.AsyncClient, people: People
) -> None:
    owner, stranger = await people.user(), await people.user()
    key = await people.key(owner, permissions=["a"])
    standard = {"x-api-key": (await people.key(stranger))["key"]}
    powerless = await people.service("messages.log")
    theirs = Things({"key_id": key["id"], "account_id": key["account_id"]})
    nobodys = Things({})
    before = await things_of(client, owner, key)
    for (method, path), operation in (await document_of(client)).items():
        name = operation["operationId"]
        if not operation["security"] or name in BY_KEY:
            continue
        request = theirs.request(method, path, operation)
        assert (await send(client, request, {})).status_code == 401, name
        if name in OWN_ONLY:
            continue
        assert (await send(client, request, standard)).status_code == 403, name
        assert (await send(client, request, powerless)).status_code in (403, 404), name
        foreign = await send(client, request, stranger)
        assert foreign.status_code == (403 if name in STAFF_OR_RIGHT else 404), (name, foreign.text)
        absent = await send(client, nobodys.request(method, path, operation), stranger)
        assert (absent.status_code, absent.json()["code"]) == (
            foreign.status_code,
            foreign.json()["code"],
        ), name
    assert await things_of(client, owner, key) == before


ODD: list[Any] = [
    None,
    True,
    -1,
    2**63,
    10**400,
    1e308,
    "",
    "\u0000",
    "\uffff",
    "é" * 9000,
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "99999999999999999999.99",
    [],
    {},
    [None],
    [""],
    ["\u0000"],
    {"\u0000": "\u0000"},
]


@pytest.mark.long
async def test_nothing_that_a_body_may_hold_is_a_5xx(
    client: httpx.AsyncClient, people: People
) -> None:
    staff = await people.staff()
    document = (await client.get("/openapi.json")).json()
    failed = []
    for (method, path), operation in operations(document).items():
        content = operation.get("requestBody", {}).get("content", {})
        if not content or path.startswith(("/v1/auth", "/v1/analytics")):
            continue  # the lake isn't there
        user = await people.user()
        key = await people.key(user)
        service = await people.service("keys.verify")
        things = Things({"key_id": key["id"], "account_id": key["account_id"]})
        headers = service if operation["operationId"] in BY_KEY else staff
        method, url, query, body = things.request(method, path, operation)
        for changed in variants(body, _fields(document, content)):
            reply = await send(client, (method, url, query, changed), headers)
            if reply.status_code >= 500:
                failed.append((operation["operationId"], str(changed)[:600], reply.text))
        for raw in RAW:
            reply = await client.request(
                method, url, content=raw, headers={**headers, "content-type": "application/json"}
            )
            if not 400 <= reply.status_code < 500:
                failed.append((operation["operationId"], str(raw)[:100], reply.text))
        reply = await client.request(
            method, url, content=b"a=b", headers={**headers, "content-type": "text/plain"}
        )
        if reply.status_code not in (400, 415):
            failed.append((operation["operationId"], "text/plain", reply.text))
    assert not failed
    # What was taken stands in nobody's way.
    fresh = {"x-api-key": (await people.key(await people.user()))["key"]}
    assert (await client.post("/v1/keys/verify", json={}, headers=fresh)).json()["valid"]


ODD_TEXTS = (
    "",
    "\u0000",
    "\uffff",
    "-1",
    "1e400",
    "nan",
    "-inf",
    "9" * 30,
    "é" * 2000,
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "MDAw",
    "x:" + "9" * 25,
    "..",
    "acct_" + "z" * 26,
    "key_" + "7" * 26,
)


@pytest.mark.long
async def test_nothing_that_a_url_may_hold_is_a_5xx(
    client: httpx.AsyncClient, people: People
) -> None:
    staff, things = await people.staff(), Things({})
    failed = []
    for (method, path), operation in (await document_of(client)).items():
        if path.startswith(("/v1/analytics", "/health")):
            continue  # the lake isn't there
        method, url, query, body = things.request(method, path, operation)
        targets: list[tuple[str, dict[str, str]]] = []
        for each in operation.get("parameters", ()):
            for odd in ODD_TEXTS:
                if each["in"] == "query":
                    targets.append((url, {**query, each["name"]: odd}))
                elif each["in"] == "path":
                    named = {**things.ids, each["name"]: quote(odd, safe="")}
                    targets.append((path.format(**named), query))
        for target, given in targets:
            reply = await send(client, (method, target, given, body), staff)
            if reply.status_code >= 500:
                failed.append((operation["operationId"], target[:200], given, reply.text))
    assert not failed


RAW = (
    b"{",
    b'{"a":1,"a":2}',
    b'{"nobody_knows":1}',
    b'{"a":NaN}',
    b'{"a":"\\ud800"}',
    b"\xff\xfe",
    b"[" * 5000,
    b'{"cost":' + b"9" * 5000 + b"}",
)


def _fields(document: dict[str, Any], content: dict[str, Any]) -> set[str]:
    """The names that this body may have."""
    schema = content["application/json"]["schema"]
    while "properties" not in schema:
        reference = schema.get("$ref") or next(each["$ref"] for each in schema["anyOf"])
        schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    return set(schema["properties"])


def variants(body: Any, fields: set[str]) -> list[Any]:
    """The body with each of its fields, at any depth, and each that it may have, something odd."""
    found = []
    for place in [*_places(body), *((name,) for name in sorted(fields - set(body)))]:
        for odd in ODD:
            copy = msgspec.json.decode(msgspec.json.encode(body))
            inner = copy
            for step in place[:-1]:
                inner = inner[step]
            inner[place[-1]] = odd
            found.append(copy)
    return found


def _places(body: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = body.items() if isinstance(body, dict) else enumerate(body)
    found: list[tuple[Any, ...]] = []
    for step, value in inside:
        found.append((*here, step))
        if isinstance(value, dict | list):
            found += _places(value, (*here, step))
    return found
