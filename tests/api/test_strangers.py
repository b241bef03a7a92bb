"""Every operation, and whoever has no business there: foreign things are not found (SECURITY 20),
and nothing that a body may hold is a 5xx."""

import json
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints
from urllib.parse import quote

import httpx
import msgspec
import pytest
from litestar import Litestar, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from litestar.testing import TestClient

from api.http.access import AnyConnection, gate, judge
from api.http.app import CONTROLLERS
from api.http.operation import Operation
from api.http.problems import EXCEPTION_HANDLERS
from application.accounts import RegisterAccount, make_account
from application.api_keys import issue
from application.deciding import OPERATOR, Principal
from domain.api_key_rules import SERVICE_PERMISSIONS
from domain.api_keys import IssueApiKey
from domain.errors import NotPermitted
from domain.staff import Level, Right, rights_of
from house import House
from tests.api.conftest import People, refused
from tests.api.test_openapi import operations
from tests.application.house import context, owner
from tests.factories import an_id

pytestmark = pytest.mark.anyio
OWN_HOUSE = True  # every operation there is is asked for

BY_KEY = {"whoami", "verify_key", "verify_keys"}
"""About the key that calls: there is nothing else to name."""

MISSING = {
    "key_id": "key_01kamzq9h4t7c2m5r8v1x3z6bd",
    "account_id": "acct_01kamzq3v0b6f7n8w9x2y4z5ac",
    "staff_id": "acct_01kamzq3v0b6f7n8w9x2y4z5ac",
    "purchase_id": "pur_01kamzq3v0b6f7n8w9x2y4z5ac",
    "hold_id": "hold_01kb2m9k2q4s6v8x0z2b4d6f8h",
    "session_id": "sess_01kb0q2m5r8v1x3z6bd9h4t7c2",
    "passkey_id": "pk_01kb0q2m5r8v1x3z6bd9h4t7c2",
    "verification_id": "ver_01kb0q2m5r8v1x3z6bd9h4t7c2",
    "position": "1",
    "name": "free",
    "feature": "webhooks",
    "provider": "stripe",
}


_NAMED = ("key_id", "account_id")
"""What bodies name things by."""


def own_only(path: str, operation: dict[str, Any]) -> bool:
    """Whether it is about the caller alone: there is no way to name anything foreign."""
    access = operation["x-access"]
    return access["who"] in ("user", "actor") and "right" not in access and "{" not in path


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
            if "reason" in operation["x-access"]:
                body["reason"] = "for a test"
            for each in [body, *body.get("items", [])]:
                each.update({name: self.ids[name] for name in _NAMED if name in each})
                if "email" in each:
                    each["email"] = f"{an_id('new')}@example.com"
                for claimed in ("username", "external_id"):
                    if each.get(claimed):
                        each[claimed] = an_id("new")[-30:]
            if operation["operationId"] == "appoint_staff":
                body["account"] = self.ids["account_id"]
            if operation["operationId"] in ("issue_key", "check_credits"):
                body["account_id"] = self.ids["account_id"]
        return method, path.format(**self.ids), query, body


async def send(
    client: httpx.AsyncClient,
    request: tuple[str, str, dict[str, str], Any],
    headers: dict[str, str],
    *,
    form: bool = False,
) -> httpx.Response:
    method, path, query, body = request
    if form:
        return await client.request(method, path, params=query, headers=headers, data=body)
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
        name, who = operation["operationId"], operation["x-access"]["who"]
        if who == "public" or name in BY_KEY:
            continue
        request = theirs.request(method, path, operation)
        assert (await send(client, request, {})).status_code == 401, name
        assert (await send(client, request, standard)).status_code == 403, name
        if own_only(path, operation) and who == "actor":
            continue
        assert (await send(client, request, powerless)).status_code in (403, 404), name
        if own_only(path, operation):
            continue
        foreign = await send(client, request, stranger)
        refused = 403 if who in ("staff", "service") else 404
        assert foreign.status_code == refused, (name, foreign.text)
        absent = await send(client, nobodys.request(method, path, operation), stranger)
        assert (absent.status_code, absent.json()["code"]) == (
            foreign.status_code,
            foreign.json()["code"],
        ), name
    assert await things_of(client, owner, key) == before


REFUSED = ("FORBIDDEN", "NOT_FOUND")
ABSENT = {"capture_hold", "release_hold", "get_purchase", "explain_verification", "move_staff"} | {
    "dismiss_staff"
}
"""What they are about isn't made here: who may is told that there is none."""


LOWEST: tuple[Level, ...] = ("analyst", "viewer", "auditor", "support", "advanced", "admin")


async def test_a_level_of_staff_does_what_its_rights_say_and_nothing_else(
    client: httpx.AsyncClient, people: People, house: House
) -> None:
    """Each operation that reaches other people's things x each level without its right, and the
    lowest level with it. (That the others with it may as well, the gate's own test shows.)"""
    document = await document_of(client)
    reaching = {place: each for place, each in document.items() if "right" in each["x-access"]}
    assert len(reaching) > 40
    untouched = await somebody(house)
    served = set()
    for level in LOWEST:
        headers = await people.level(level)
        for (method, path), operation in reaching.items():
            name, right = operation["operationId"], operation["x-access"]["right"]
            may = right in rights_of(frozenset((level,)))
            if may and name in served:
                continue
            about = await somebody(house) if may and method != "get" else untouched
            reply = await send(client, about.request(method, path, operation), headers)
            code = reply.json().get("code") if reply.content[:1] == b"{" else None
            if not may:
                assert code in REFUSED, (level, name, reply.text)
                continue
            served.add(name)
            expected = name in ABSENT and code == "NOT_FOUND"
            assert expected or code not in REFUSED, (level, name, reply.text)
            if reply.status_code >= 500:
                assert code == "ANALYTICS_UNAVAILABLE", (level, name, reply.text)
    assert served == {operation["operationId"] for operation in reaching.values()}


@pytest.mark.parametrize("level", LOWEST)
def test_the_gate_lets_a_level_in_exactly_where_it_has_the_right(level: Level) -> None:
    caller = Principal(kind="account", id="acct_1", account_id="acct_1", roles=frozenset((level,)))
    for each in declared():
        if each.who == "staff" and each.right is not None:
            if each.right in rights_of(caller.roles):
                judge(each, caller)
            else:
                with pytest.raises(NotPermitted):
                    judge(each, caller)


def test_higher_levels_may_do_what_lower_ones_may() -> None:
    viewer, support, advanced, admin = (
        rights_of(frozenset((level,))) for level in ("viewer", "support", "advanced", "admin")
    )
    assert viewer < support < advanced < admin
    assert admin == frozenset(get_args(Right))
    assert not rights_of(frozenset(("editor",)))


async def test_a_service_does_what_its_permissions_say_and_nothing_else(
    client: httpx.AsyncClient, people: People, house: House
) -> None:
    """Each operation that a service may have a permission for, with that alone and with all
    others."""
    document = await document_of(client)
    for_services = {at: each for at, each in document.items() if "permission" in each["x-access"]}
    wanted = {each["x-access"]["permission"] for each in for_services.values()}
    alone = {each: await people.service(each) for each in wanted}
    others = {each: await people.service(*(SERVICE_PERMISSIONS - {each})) for each in wanted}
    for (method, path), operation in for_services.items():
        name, permission = operation["operationId"], operation["x-access"]["permission"]
        request = (await somebody(house)).request(method, path, operation)
        form = "application/x-www-form-urlencoded" in operation.get("requestBody", {}).get(
            "content", {}
        )
        refused = await send(client, request, others[permission], form=form)
        assert refused.json()["code"] in REFUSED, (name, refused.text)
        done = await send(client, request, alone[permission], form=form)
        code = done.json().get("code") if done.content[:1] == b"{" else None
        assert code not in REFUSED or name in ABSENT, (name, done.text)
        assert done.status_code < 500, (name, done.text)


async def somebody(house: House) -> "Things":
    """A new account with a key, made without a password: many are needed."""
    email = f"{an_id('somebody')}@example.com"
    command = RegisterAccount(email=email, password=None)
    made, _ = await make_account(house.ports, context(), command)
    asked = IssueApiKey(account_id=made.account.id, name="a key")
    issued, _ = await issue(house.ports, context(owner(made.account)), asked)
    return Things({"account_id": made.account.id, "key_id": issued.key.id})


def test_an_operation_for_staff_or_services_names_what_they_need() -> None:
    for each in declared():
        if each.who == "staff":
            assert each.right is not None, each.id
        if each.who == "service":
            assert each.permission is not None, each.id
        assert each.permission in (None, *SERVICE_PERMISSIONS), each.id


async def test_a_parameter_that_isnt_known_is_refused_wherever_it_is_sent(
    client: httpx.AsyncClient, people: People
) -> None:
    """A misspelt `as_of` or filter, ignored, would answer another question. Only what a standard
    has ignore them does."""
    staff, nobodys = await people.staff(), Things({})
    user = await people.user()
    asked = 0
    for (method, path), operation in (await document_of(client)).items():
        name, access = operation["operationId"], operation["x-access"]
        if name in OPEN or access["who"] in ("service", "key"):
            continue
        headers = user if access["who"] in ("public", "user") and "right" not in access else staff
        known = [each["name"] for each in operation["parameters"] if each["in"] == "query"]
        verb, url, query, body = nobodys.request(method, path, operation)
        for misspelt in ("as_off", "limt"):
            reply = await send(client, (verb, url, {**query, misspelt: "5"}, body), headers)
            refused(reply, 400, "INVALID_REQUEST", misspelt)
            assert all(each in reply.json()["hint"] for each in known or ["none"]), reply.text
        asked += 1
    assert asked > 60
    reply = await client.get("/v1/keys?limt", headers=staff)
    refused(reply, 400, "INVALID_REQUEST", "limt")
    reply = await client.get("/v1/keys?as_off=1")
    refused(reply, 401, "UNAUTHENTICATED")


OPEN = {
    "introspect",
    "revoke_token",
    "jwks",
    "metadata",
    "refresh",
    "payment_webhook",
    "verify_key",
}
OPEN |= {"live", "ready", "health"}
"""What ignores parameters that it doesn't know."""


def test_the_parameters_of_a_route_are_those_that_it_declares() -> None:
    for handler in handlers():
        operation = handler.opt["operation"]
        taken = set()
        for each, hint in get_type_hints(handler.fn, include_extras=True).items():
            marks = getattr(hint, "__metadata__", ())
            for mark in marks:
                if isinstance(mark, QueryParameter):
                    taken.add(mark.name or each)
        declared = {each.name for each in operation.parameters if each.place == "query"}
        assert taken == declared, operation.id


def test_a_route_that_declares_nobody_lets_nobody_in() -> None:
    """Not even who may do everything elsewhere."""

    @get("/open")
    async def undeclared() -> str:
        return "in"

    async def anybody(connection: AnyConnection) -> Principal:
        return OPERATOR

    app = Litestar(
        [undeclared],
        guards=[gate(anybody)],
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
    )
    with TestClient(app) as client:
        reply = client.get("/open")
    assert (reply.status_code, reply.json()["code"]) == (403, "FORBIDDEN")


def test_every_route_behind_the_gate_declares_who_may_call_it() -> None:
    assert len(declared()) == sum(1 for _ in handlers())


def handlers() -> Iterator[HTTPRouteHandler]:
    for controller in CONTROLLERS:
        for each in vars(controller).values():
            if isinstance(each, HTTPRouteHandler):
                yield each


def declared() -> list[Operation]:
    found = (each.opt.get("operation") for each in handlers())
    return [each for each in found if isinstance(each, Operation)]


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
