"""Staff over HTTP: what each level sees and does, why, and what the person learns of it."""

import csv
import io
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from application.account_reading import REACHED_BY
from domain.staff import LEVELS
from house import House
from infra.event_mapper import EventMapper
from infra.vault import MasterKeyVault
from tests.api.conftest import PASSWORD, People, refused
from tests.api.test_strangers import document_of, send, somebody
from tests.infra.following import kept
from tests.mailbox import Mailed, mail_to

pytestmark = pytest.mark.anyio

SEEING_ALL = ("support", "advanced", "admin")
REASON = {"reason": "asked for on the telephone"}


@pytest.fixture(scope="module", autouse=True)
async def following(house: House) -> AsyncIterator[None]:
    """The followers of read models run."""
    mapper = EventMapper(vault=MasterKeyVault(b"m" * 32))
    async with kept(str(house.lookups._pool.conninfo), mapper=mapper):
        yield


@pytest.fixture(scope="module")
async def levels(people: People) -> dict[str, dict[str, str]]:
    """The headers of one member of staff of each level."""
    return {level: await people.level(level) for level in sorted(LEVELS)}


async def person(people: People, **fields: Any) -> dict[str, Any]:
    said = {"name": "Ada Lovelace", "phone": "+44 20 7946 0000", "about": "engines"}
    return await people.register(**{**said, **fields})


async def account(client: httpx.AsyncClient, headers: dict[str, str], name: str) -> Any:
    reply = await client.get(f"/v1/accounts/{name}", headers=headers)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def newest(house: House, address: str) -> Mailed:
    return (await mail_to(house.ports, address))[-1]


async def history(
    client: httpx.AsyncClient, headers: dict[str, str], id: str, after: httpx.Response
) -> list[Any]:
    seen = {**headers, "tollhouse-min-position": after.headers["tollhouse-position"]}
    reply = await client.get(f"/v1/accounts/{id}/history", headers=seen)
    assert reply.status_code == 200, reply.text
    items: list[Any] = reply.json()["items"]
    return items


async def test_a_level_sees_the_fields_that_are_its_own(
    client: httpx.AsyncClient, people: People, levels: dict[str, dict[str, str]]
) -> None:
    ada = await person(people)
    path = f"/v1/accounts/{ada['id']}"
    note = {**REASON, "note": "pays late"}
    assert (await client.patch(path, json=note, headers=levels["support"])).status_code == 200
    for level in ("viewer", "auditor"):
        seen = await account(client, levels[level], ada["id"])
        assert not (REACHED_BY | {"note"}) & set(seen)
        assert seen["name"] == "Ada Lovelace"
    for level in SEEING_ALL:
        seen = await account(client, levels[level], f"@{ada['username']}")
        assert (seen["email"], seen["note"]) == (ada["email"], "pays late")
    assert (await client.get(path, headers=levels["analyst"])).status_code == 404
    own = await account(client, await people.sign_in(ada["email"]), ada["id"])
    assert own["phone"] == ada["phone"]
    assert "note" not in own


async def test_a_change_by_staff_carries_a_reason_and_stands_in_the_history(
    client: httpx.AsyncClient, people: People, levels: dict[str, dict[str, str]]
) -> None:
    ada = await person(people)
    path = f"/v1/accounts/{ada['id']}"
    changes = {"name": "Countess", "username": people.name(), "phone": None}
    reply = await client.patch(path, json=changes, headers=levels["support"])
    assert (reply.status_code, reply.json()["param"]) == (400, "reason")
    reply = await client.patch(path, json={**changes, **REASON}, headers=levels["support"])
    assert reply.status_code == 200, reply.text
    assert {name: reply.json()[name] for name in changes} == changes
    told = await history(client, await people.sign_in(ada["email"]), ada["id"], reply)
    made = [each for each in told if each["reason"] == REASON["reason"]]
    assert {each["type"] for each in made} == {
        "account.profile_changed.v1",
        "account.username_changed.v1",
    }
    assert {each["actor"] for each in made} == {(await me(client, levels["support"]))["id"]}
    taken = {"email": "x@example.com", "username": ada["username"], **REASON}
    await people.register(username=ada["username"])  # given up, so it is free
    reply = await client.patch(path, json=taken, headers=levels["support"])
    assert reply.json()["code"] == "USERNAME_TAKEN"
    assert (await account(client, levels["support"], ada["id"]))["email"] == ada["email"]


async def me(client: httpx.AsyncClient, headers: dict[str, str]) -> Any:
    return (await client.get("/v1/me", headers=headers)).json()


async def test_another_address_by_staff_is_told_to_the_old_one_and_is_not_verified(
    client: httpx.AsyncClient,
    people: People,
    levels: dict[str, dict[str, str]],
    house: House,
) -> None:
    ada = await person(people)
    new = f"{people.name()}@example.com"
    reply = await client.patch(
        f"/v1/accounts/{ada['id']}", json={"email": new, **REASON}, headers=levels["support"]
    )
    assert reply.status_code == 200, reply.text
    assert (reply.json()["email"], reply.json()["email_verified"]) == (new, False)
    assert (await newest(house, ada["email"])).template == "email_changed"
    assert await people.sign_in(new)
    await people.register(email=ada["email"])  # the old address is free


async def test_who_is_staff_is_touched_only_by_who_manages_staff(
    client: httpx.AsyncClient, people: People, levels: dict[str, dict[str, str]]
) -> None:
    """Else support would take over an admin by another address and a reset."""
    boss = await me(client, levels["advanced"])
    path = f"/v1/accounts/{boss['id']}"
    for headers in (levels["support"], levels["advanced"]):
        for method, where, body in (
            ("PATCH", "", {"email": "mine@example.com", **REASON}),
            ("POST", "/password/reset", REASON),
            ("POST", "/suspend", REASON),
            ("POST", "/sessions/end", REASON),
        ):
            reply = await client.request(method, path + where, json=body, headers=headers)
            assert reply.status_code == 403, (where, reply.text)
    reply = await client.patch(path, json={"note": "good", **REASON}, headers=levels["admin"])
    assert reply.status_code == 200
    reply = await client.post(path + "/impersonation", json=REASON, headers=levels["admin"])
    assert reply.json()["code"] == "ACCOUNT_IS_STAFF"
    own = (await me(client, levels["admin"]))["id"]
    reply = await client.post(f"/v1/accounts/{own}/suspend", json=REASON, headers=levels["admin"])
    assert reply.json()["code"] == "ON_ONESELF"


async def test_what_staff_has_is_touched_only_by_who_manages_staff(
    client: httpx.AsyncClient, people: People, levels: dict[str, dict[str, str]]
) -> None:
    """Else support would hold a key without limits, and nobody gives themselves anything."""
    boss, own = [(await me(client, levels[level]))["id"] for level in ("admin", "advanced")]
    key = f"/v1/keys/{(await people.key(levels['admin']))['id']}"
    imported = {"account_id": boss, "name": "mine", "hash": "ab" * 32, "algorithm": "sha256"}
    for account_id in (boss, own):
        for method, path, body in (
            ("PUT", f"/v1/accounts/{account_id}/plan", {"plan": "enterprise"}),
            ("PUT", f"/v1/accounts/{account_id}/quota", {"limit": 1, "period": "day"}),
            ("POST", "/v1/credits/grants", {"account_id": account_id, "amount": "5.00"}),
            ("POST", "/v1/keys", {"account_id": boss, "name": "mine"}),
            ("POST", "/v1/keys/import", {"items": [imported]}),
            ("PATCH", key, {"name": "mine"}),
            ("POST", f"{key}/rotate", {}),
        ):
            reply = await client.request(method, path, json=body, headers=levels["advanced"])
            assert reply.status_code == 403, (path, reply.text)
            assert "staff.manage" in reply.json()["detail"]
    await people.key(levels["advanced"])  # their own they have
    ada = await person(people)
    plan = f"/v1/accounts/{ada['id']}/plan"
    reply = await client.put(plan, json={"plan": "internal"}, headers=levels["advanced"])
    assert reply.status_code == 403, reply.text
    reply = await client.put(plan, json={"plan": "pro", **REASON}, headers=levels["support"])
    assert reply.status_code == 200, reply.text


async def test_a_reason_is_more_than_blanks(
    client: httpx.AsyncClient, people: People, levels: dict[str, dict[str, str]]
) -> None:
    ada = await person(people)
    new = {"email": f"{people.name()}@example.com"}
    for path, body in (
        (f"/v1/accounts/{ada['id']}/suspend", {}),
        ("/v1/accounts", new),
        ("/v1/accounts/import", {"items": [new]}),
    ):
        for reason in ("", " \t\n "):
            reply = await client.post(
                path, json={**body, "reason": reason}, headers=levels["admin"]
            )
            assert (reply.status_code, reply.json().get("param")) == (400, "reason"), reply.text


@pytest.mark.parametrize("query", ["search", "plan", "role", "search=external:"])
async def test_what_no_text_of_ours_has_finds_no_account(
    client: httpx.AsyncClient, levels: dict[str, dict[str, str]], query: str
) -> None:
    path = f"/v1/accounts?{query}{'' if '=' in query else '='}%00"
    assert (await client.get(path, headers=levels["viewer"])).status_code == 400


async def test_staff_start_a_reset_and_never_choose_a_password(
    client: httpx.AsyncClient,
    people: People,
    levels: dict[str, dict[str, str]],
    house: House,
) -> None:
    ada = await person(people)
    headers = await people.sign_in(ada["email"])
    path = f"/v1/accounts/{ada['id']}"
    for body in ({"password": "chosen for her", **REASON}, {"new_password": "x", **REASON}):
        reply = await client.patch(path, json=body, headers=levels["admin"])
        assert reply.json()["code"] == "UNKNOWN_FIELD"
    reply = await client.post(path + "/password/reset", json=REASON, headers=levels["support"])
    assert (reply.status_code, reply.content) == (204, b"")
    assert (await client.get("/v1/me", headers=headers)).status_code == 401
    login = {"email": ada["email"], "password": PASSWORD}
    assert (await client.post("/v1/auth/login", json=login)).status_code == 401
    mail = await newest(house, ada["email"])
    assert mail.template == "reset_started"
    body = {"email": ada["email"], "purpose": "reset_password", "code": mail.values["code"]}
    token = (await client.post("/v1/auth/otp/verify", json=body)).json()["verification_token"]
    chosen = "another horse and its battery"
    body = {"verification_token": token, "new_password": chosen}
    assert (await client.post("/v1/auth/password/reset", json=body)).status_code == 204
    assert await people.sign_in(ada["email"], chosen)


async def test_impersonation_is_short_marked_and_told_to_the_person(
    client: httpx.AsyncClient,
    people: People,
    levels: dict[str, dict[str, str]],
    house: House,
) -> None:
    ada = await person(people)
    path = f"/v1/accounts/{ada['id']}/impersonation"
    assert (await client.post(path, json={}, headers=levels["advanced"])).status_code == 400
    assert (await client.post(path, json=REASON, headers=levels["support"])).status_code == 403
    reply = await client.post(path, json=REASON, headers=levels["advanced"])
    assert reply.status_code == 201, reply.text
    assert reply.json()["expires_in"] == 900
    assert "refresh_token" not in reply.json()
    acting = {"authorization": f"Bearer {reply.json()['access_token']}"}
    mail = await newest(house, ada["email"])
    assert (mail.template, mail.values["reason"]) == ("impersonated", REASON["reason"])

    key = await people.key(await people.sign_in(ada["email"]))
    staff_id = (await me(client, levels["advanced"]))["id"]
    reply = await client.patch(f"/v1/keys/{key['id']}", json={"name": "x"}, headers=acting)
    told = await history(client, await people.sign_in(ada["email"]), ada["id"], reply)
    made = next(each for each in told if each["type"] == "api_key.renamed.v1")
    assert (made["actor"], made["impersonator"]) == (ada["id"], staff_id)
    begun = next(each for each in told if each["type"] == "account.impersonated.v1")
    assert (begun["actor"], begun["reason"]) == (staff_id, REASON["reason"])
    assert (await client.get("/v1/accounts", headers=acting)).status_code == 403


async def test_nobody_uses_the_owners_own_hand_while_impersonating(
    client: httpx.AsyncClient, people: People, levels: dict[str, dict[str, str]]
) -> None:
    ada = await person(people)
    path = f"/v1/accounts/{ada['id']}/impersonation"
    token = (await client.post(path, json=REASON, headers=levels["admin"])).json()["access_token"]
    acting = {"authorization": f"Bearer {token}"}
    document = (await client.get("/openapi.json")).json()
    refused = []
    for where, methods in document["paths"].items():
        for method, operation in methods.items():
            if not operation["x-access"].get("own_hand"):
                continue
            content = operation.get("requestBody", {}).get("content", {})
            body = content["application/json"]["example"] if content else None
            url = re.sub(r"{\w+}", ada["id"], where)
            reply = await client.request(method, url, json=body, headers=acting)
            assert reply.json()["code"] == "NOT_WHILE_IMPERSONATING", (where, reply.text)
            refused.append(operation["operationId"])
    assert {"close_me", "change_password", "change_email", "issue_key"} <= set(refused)


async def test_accounts_are_found_by_id_address_name_plan_status_and_role(
    client: httpx.AsyncClient, people: People, levels: dict[str, dict[str, str]]
) -> None:
    made = [await people.register(username=f"findme.{each}{people.name()}") for each in "abc"]
    ids = [each["id"] for each in made]

    async def found(level: str = "support", **query: str) -> list[str]:
        reply = await client.get("/v1/accounts", params=query, headers=levels[level])
        assert reply.status_code == 200, reply.text
        return [each["id"] for each in reply.json()["items"]]

    suspended = await client.post(
        f"/v1/accounts/{ids[1]}/suspend", json=REASON, headers=levels["support"]
    )
    seen = {"tollhouse-min-position": suspended.headers["tollhouse-position"]}
    reply = await client.get(
        "/v1/accounts", params={"search": "FINDME."}, headers={**levels["viewer"], **seen}
    )
    assert [each["id"] for each in reply.json()["items"]] == ids
    assert not any("@" in str(value) for each in reply.json()["items"] for value in each.values())
    assert await found(search=ids[2]) == [ids[2]]
    assert await found(search=made[0]["email"].upper()) == [ids[0]]
    assert await found(search=f"@{made[1]['username']}") == [ids[1]]
    assert await found(search="nobody@example.com") == []
    assert await found(search="findme.", status="suspended") == [ids[1]]
    assert await found(search="findme.", plan="pro") == []
    assert (await me(client, levels["admin"]))["id"] in await found(role="admin")
    address = {"search": made[0]["email"]}
    reply = await client.get("/v1/accounts", params=address, headers=levels["viewer"])
    assert reply.status_code == 403


async def test_pages_of_accounts_go_on_where_the_last_one_ended(
    client: httpx.AsyncClient, people: People, levels: dict[str, dict[str, str]]
) -> None:
    prefix = people.name()
    names = [f"{prefix}.{number}" for number in range(5)]
    last = [await people.register(username=name) for name in names][-1]
    path = f"/v1/accounts/{last['id']}"
    reply = await client.patch(path, json={"note": "x", **REASON}, headers=levels["support"])
    shown = {"tollhouse-min-position": reply.headers["tollhouse-position"]}
    await client.get("/v1/accounts", headers={**levels["viewer"], **shown})
    seen: list[str] = []
    query = {"search": f"{prefix}.", "limit": "2"}
    while True:
        reply = (await client.get("/v1/accounts", params=query, headers=levels["viewer"])).json()
        seen += [each["username"] for each in reply["items"]]
        if reply["next_cursor"] is None:
            break
        query["cursor"] = reply["next_cursor"]
    assert seen == names
    for cursor in ("x", "AAAA", "not ours"):
        query["cursor"] = cursor
        reply = await client.get("/v1/accounts", params=query, headers=levels["viewer"])
        assert (reply.status_code, reply.json()["param"]) == (400, "cursor")


async def test_an_exported_list_has_everything_and_no_formula(
    client: httpx.AsyncClient, people: People, levels: dict[str, dict[str, str]]
) -> None:
    prefix = people.name()
    for number, external in enumerate(("=1+1", "+a", "-a", "@a", 'say "x", y', "plain")):
        body = {
            "email": f"{prefix}-{number}@example.com",
            "username": f"{prefix}.{number}",
            "external_id": f"{external}",
            **REASON,
        }
        reply = await client.post("/v1/accounts", json=body, headers=levels["admin"])
        assert reply.status_code == 201, reply.text
    seen = {"tollhouse-min-position": reply.headers["tollhouse-position"]}
    query = {"search": f"{prefix}."}
    await client.get("/v1/accounts", params=query, headers={**levels["viewer"], **seen})
    reply = await client.get(
        "/v1/accounts", params=query, headers={**levels["viewer"], "accept": "text/csv"}
    )
    assert reply.headers["content-type"] == "text/csv; header=present; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    assert [row["external_id"] for row in rows] == [
        "'=1+1",
        "'+a",
        "'-a",
        "'@a",
        'say "x", y',
        "plain",
    ]
    assert "example.com" not in reply.text


async def test_an_account_that_is_made_for_somebody_has_no_password_and_one_external_id(
    client: httpx.AsyncClient, people: People, levels: dict[str, dict[str, str]]
) -> None:
    service = await people.service("accounts.manage")
    body = {"email": f"{people.name()}@example.com", "external_id": f"crm-{people.name()}"}
    reply = await client.post("/v1/accounts", json=body, headers=service)
    assert reply.status_code == 201, reply.text
    assert reply.json()["external_id"] == body["external_id"]
    again = {**body, "email": f"{people.name()}@example.com"}
    reply = await client.post("/v1/accounts", json=again, headers=service)
    assert reply.json()["code"] == "ALREADY_TAKEN"
    with_password = {**body, "email": "y@example.com", "password": PASSWORD}
    reply = await client.post("/v1/accounts", json=with_password, headers=service)
    assert reply.json()["code"] == "UNKNOWN_FIELD"
    reply = await client.post("/v1/accounts", json=again, headers=levels["admin"])
    assert (reply.status_code, reply.json()["param"]) == (400, "reason")
    for level in ("viewer", "support", "auditor"):
        reply = await client.post("/v1/accounts", json=again, headers=levels[level])
        assert reply.status_code == 403


async def test_staff_is_appointed_moved_and_dismissed_with_tokens_that_end(
    client: httpx.AsyncClient, people: People, levels: dict[str, dict[str, str]]
) -> None:
    ada = await person(people)
    old = await people.sign_in(ada["email"])
    admin = levels["admin"]
    body = {"account": ada["email"], "level": "support", **REASON}
    assert (
        await client.post("/v1/staff", json=body, headers=levels["advanced"])
    ).status_code == 403
    reply = await client.post("/v1/staff", json=body, headers=admin)
    assert reply.status_code == 201, reply.text
    assert (reply.json()["level"], reply.json()["plan"]) == ("support", "internal")
    assert (await client.get("/v1/me", headers=old)).status_code == 401
    path = f"/v1/staff/{ada['id']}"
    reply = await client.patch(path, json={"level": "viewer", **REASON}, headers=admin)
    assert reply.json()["roles"] == ["viewer"]
    seen = {**admin, "tollhouse-min-position": reply.headers["tollhouse-position"]}
    listed = (await client.get("/v1/staff?level=viewer", headers=seen)).json()["items"]
    assert ada["id"] in [each["id"] for each in listed]
    acting = await people.sign_in(ada["email"])
    assert (await client.get("/v1/accounts", headers=acting)).status_code == 200
    reply = await client.request("DELETE", path, json=REASON, headers=admin)
    assert (reply.json()["level"], reply.json()["plan"]) == (None, "free")
    assert (await client.get("/v1/accounts", headers=acting)).status_code == 401
    assert (await client.request("DELETE", path, json=REASON, headers=admin)).status_code == 404
    own = (await me(client, admin))["id"]
    reply = await client.request("DELETE", f"/v1/staff/{own}", json=REASON, headers=admin)
    assert reply.json()["code"] == "ON_ONESELF"


async def test_support_rotates_suspends_reinstates_and_signs_out(
    client: httpx.AsyncClient, people: People, levels: dict[str, dict[str, str]]
) -> None:
    ada = await person(people)
    headers = await people.sign_in(ada["email"])
    key = await people.key(headers)
    path, support = f"/v1/accounts/{ada['id']}", levels["support"]
    where = f"{path}/keys/{key['id']}/rotate"
    rotated = await client.post(where, json=REASON, headers=support)
    assert rotated.status_code == 200, rotated.text
    for secret, valid in ((rotated.json()["key"], True), (key["key"], False)):
        reply = await client.post("/v1/keys/verify", json={}, headers={"x-api-key": secret})
        assert (reply.status_code == 200 and reply.json()["valid"]) is valid
    foreign = (await people.key(await people.user()))["id"]
    reply = await client.post(f"{path}/keys/{foreign}/rotate", json=REASON, headers=support)
    assert reply.status_code == 404
    assert (
        await client.post(f"{path}/sessions/end", json=REASON, headers=support)
    ).status_code == 204
    assert (await client.get("/v1/me", headers=headers)).status_code == 401
    headers = await people.sign_in(ada["email"])
    reply = await client.post(f"{path}/suspend", json=REASON, headers=support)
    assert reply.json()["status"] == "suspended"
    assert (await client.get("/v1/me", headers=headers)).status_code == 401
    reply = await client.post(f"{path}/reinstate", json=REASON, headers=support)
    assert reply.json()["status"] == "active"
    assert await people.sign_in(ada["email"])


async def test_what_staff_closed_staff_reinstates_who_may_close(
    client: httpx.AsyncClient, people: People, levels: dict[str, dict[str, str]]
) -> None:
    ada = await person(people)
    path = f"/v1/accounts/{ada['id']}"
    closed = await client.request("DELETE", path, json=REASON, headers=levels["advanced"])
    assert closed.status_code == 200, closed.text
    reply = await client.post(f"{path}/reinstate", json=REASON, headers=levels["support"])
    assert reply.status_code == 403, reply.text
    reply = await client.post(f"{path}/reinstate", json=REASON, headers=levels["advanced"])
    assert reply.status_code == 200, reply.text
    assert reply.json()["status"] == "active"
    items = await history(client, levels["admin"], ada["id"], reply)
    assert [items[0][name] for name in ("type", "reason")] == [
        "account.restored.v1",
        REASON["reason"],
    ]


async def test_a_role_that_cant_be_is_refused_by_its_field(
    client: httpx.AsyncClient, people: People, levels: dict[str, dict[str, str]]
) -> None:
    path = f"/v1/accounts/{(await person(people))['id']}"
    for role in ("The Emperor", "admin"):
        body = {"roles": [role], **REASON}
        refused(
            await client.patch(path, json=body, headers=levels["admin"]),
            400,
            "INVALID_REQUEST",
            "roles",
        )


async def test_a_username_is_good_wherever_a_path_takes_an_account(
    client: httpx.AsyncClient, people: People, levels: dict[str, dict[str, str]]
) -> None:
    ada, admin = await person(people), levels["admin"]
    path = f"/v1/accounts/@{ada['username']}"
    stranger = await people.user()
    for method, rest, body in (
        ("PUT", "/plan", {"plan": "pro", "reason": "asked"}),
        ("PUT", "/quota", {"limit": 5, "period": "day", **REASON}),
        ("GET", "/history", None),
    ):
        reply = await client.request(method, path + rest, json=body, headers=admin)
        assert reply.status_code == 200, (rest, reply.text)
        assert reply.text.count(ada["id"]) or reply.json()["plan"] == "pro"
        nobody = f"{path}-nobody{rest}"
        assert (await client.request(method, nobody, json=body, headers=admin)).status_code == 404
        told = [
            (await client.request(method, each, json=body, headers=stranger)).json()["code"]
            for each in (path + rest, nobody)
        ]
        assert told in (["FORBIDDEN"] * 2, ["NOT_FOUND"] * 2), rest
    assert (await account(client, admin, ada["id"]))["plan"] == "pro"
    body = {"account": f"@{ada['username']}", "level": "viewer", **REASON}
    assert (await client.post("/v1/staff", json=body, headers=admin)).status_code == 201
    member = f"/v1/staff/@{ada['username']}"
    body = {"level": "support", **REASON}
    assert (await client.patch(member, json=body, headers=admin)).json()["level"] == "support"
    reply = await client.request("DELETE", member, json=REASON, headers=admin)
    assert (reply.status_code, reply.json()["id"]) == (200, ada["id"])


async def test_closing_is_for_advanced_and_erasing_for_admin(
    client: httpx.AsyncClient, people: People, levels: dict[str, dict[str, str]], house: House
) -> None:
    ada = await person(people)
    path = f"/v1/accounts/@{ada['username']}"
    for level, mode, status in (
        ("support", "close", 403),
        ("advanced", "erase", 403),
        ("advanced", "close", 200),
        ("admin", "erase", 200),
    ):
        body = {**REASON, "mode": mode}
        reply = await client.request("DELETE", path, json=body, headers=levels[level])
        assert reply.status_code == status, (level, mode, reply.text)
    assert reply.json()["mode"] == "erase"


ABOUT_NO_ACCOUNT = {"publish_plan", "change_plan", "retire_plan"}
"""What staff does that no account's history could tell."""

FIRST: dict[str, tuple[tuple[str, str, dict[str, Any]], ...]] = {
    "reinstate_account": (("POST", "/v1/accounts/{account_id}/suspend", {}),),
    "cancel_plan_change": (
        ("PUT", "/v1/accounts/{account_id}/plan", {"plan": "pro", "when": "at_renewal"}),
    ),
    "assign_plan": (("PUT", "/v1/accounts/{account_id}/plan", {"plan": "pro"}),),
    "move_staff": (("POST", "/v1/staff", {"account": "{account_id}", "level": "viewer"}),),
    "dismiss_staff": (("POST", "/v1/staff", {"account": "{account_id}", "level": "viewer"}),),
    **dict.fromkeys(
        ("spend_credits", "hold_credits", "capture_hold", "release_hold"),
        (("POST", "/v1/credits/grants", {"account_id": "{account_id}", "amount": "50.00"}),),
    ),
}
"""What has to be so before an operation changes anything."""

HELD = {"account_id": "{account_id}", "amount": "20.00"}


async def test_whatever_staff_does_takes_a_reason_and_the_accounts_history_shows_it(
    client: httpx.AsyncClient, people: People, levels: dict[str, dict[str, str]], house: House
) -> None:
    """Every operation of the document that a right of staff opens and that changes something."""
    staff = levels["admin"]
    said: dict[str, str] = {}
    for (method, path), operation in (await document_of(client)).items():
        name, access = operation["operationId"], operation["x-access"]
        changes = any(
            "Tollhouse-Position" in each.get("headers", {})
            for each in operation["responses"].values()
        )
        if "right" not in access or not changes or name in ABOUT_NO_ACCOUNT:
            assert "reason" not in access, name
            continue
        about = await somebody(house)
        first = FIRST.get(name, ())
        if name.endswith("_hold"):
            first = (*first, ("POST", "/v1/credits/holds", HELD))
        for verb, place, example in first:
            given = {each: str(value).format(**about.ids) for each, value in example.items()}
            where = place.format(**about.ids)
            reply = await client.request(verb, where, json={**given, **REASON}, headers=staff)
            assert reply.is_success, (name, reply.text)
            about.ids["hold_id"] = reply.json().get("id", "")
        about.ids["staff_id"] = about.ids["account_id"]
        verb, url, query, body = about.request(method, path, operation)
        body.pop("reason", None)
        for unsaid in ({}, {"reason": " "}):
            refused(
                await send(client, (verb, url, query, {**body, **unsaid}), staff),
                400,
                "INVALID_REQUEST",
                "reason",
            )
        why = f"because of {name}"
        reply = await send(client, (verb, url, query, {**body, "reason": why}), staff)
        assert reply.is_success, (name, reply.text)
        made = reply.json() if reply.content else {}
        if name in ("make_account", "import_accounts"):
            about.ids["account_id"] = made.get("id") or made["imported"][0]["id"]
        said[about.ids["account_id"]] = why
    assert len(said) > 25
    for account_id, why in said.items():
        told = await history(client, staff, account_id, reply)
        assert why in [each["reason"] for each in told], why


async def test_a_reason_may_be_left_out_by_owners_and_services(
    client: httpx.AsyncClient, people: People
) -> None:
    owner = await people.user()
    key = await people.key(owner)
    service = await people.service("keys.manage", "credits.spend")
    path = f"/v1/keys/{key['id']}"
    for headers, name in ((owner, "mine"), (service, "theirs")):
        reply = await client.patch(path, json={"name": name}, headers=headers)
        assert reply.status_code == 200, reply.text
    grant = {"account_id": key["account_id"], "amount": "5.00"}
    reply = await client.post("/v1/credits/grants", json=grant, headers=service)
    assert reply.status_code == 201, reply.text
    said = {"name": "said why", "reason": "tidied up"}
    reply = await client.patch(path, json=said, headers=owner)
    told = await history(client, owner, key["account_id"], reply)
    assert told[0]["reason"] == "tidied up"
    assert (await client.post(f"{path}/leak-response", headers=owner)).status_code == 200


async def test_a_quota_that_staff_set_is_ended_with_a_reason(
    client: httpx.AsyncClient, people: People, levels: dict[str, dict[str, str]]
) -> None:
    ada = await person(people)
    path = f"/v1/accounts/{ada['id']}/quota"
    staff = levels["support"]
    set_one = {"limit": 3, "period": "day", **REASON}
    assert (await client.put(path, json=set_one, headers=staff)).status_code == 200
    for unsaid in (b"null", b'{"limit":null}'):
        headers = {**staff, "content-type": "application/json"}
        reply = await client.put(path, content=unsaid, headers=headers)
        refused(reply, 400, "INVALID_REQUEST", "reason")
    twice = {"limit": None, "period": "day", **REASON}
    refused(await client.put(path, json=twice, headers=staff), 400, "UNKNOWN_FIELD", "period")
    reply = await client.put(path, json={"limit": None, "reason": "over"}, headers=staff)
    assert reply.json()["set"] is None, reply.text
    told = await history(client, staff, ada["id"], reply)
    assert told[0]["reason"] == "over"
