"""Registration, codes, passwords and the own profile, over HTTP (SECURITY 1 to 3, 5, 6)."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from api.http.app import create_app
from house import House
from tests.api.conftest import PASSWORD, FixedProbe, People, refused
from tests.api.serving import serving
from tests.mailbox import last_code, mail_to

pytestmark = pytest.mark.anyio

NEW = "seven green bottles, one violin"
UNPROVEN = {"request-id", "date", "content-length"}


@pytest.fixture(scope="module")
async def strict(house: House, probe: FixedProbe) -> AsyncIterator[httpx.AsyncClient]:
    """The same house, where addresses must be proven."""
    policy = msgspec.structs.replace(house.ports.policy, require_verified_email=True)
    ports = msgspec.structs.replace(house.ports, policy=policy)
    app = create_app(
        ports, house.verifier, probe, version="1.2.3", environment="test", production=False
    )
    async with serving(app) as port:
        base = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=20) as client:
            yield client


def alike(one: httpx.Response, other: httpx.Response, differing: str) -> None:
    """Two answers that tell nothing apart: the same status and headers, bodies of one shape."""
    assert one.status_code == other.status_code
    assert one.headers.keys() == other.headers.keys()
    told = {k: v for k, v in one.headers.items() if k not in UNPROVEN}
    assert told == {k: v for k, v in other.headers.items() if k not in UNPROVEN}
    first, second = one.json(), other.json()
    assert len(first.pop(differing)) == len(second.pop(differing))
    assert first == second


async def post(client: httpx.AsyncClient, path: str, body: dict[str, Any], **headers: str) -> Any:
    return await client.post(path, json=body, headers=headers)


async def token(client: httpx.AsyncClient, house: House, email: str, purpose: str) -> str:
    reply = await post(client, "/v1/auth/otp", {"email": email, "purpose": purpose})
    assert reply.status_code == 202
    body = {
        "challenge_id": reply.json()["challenge_id"],
        "code": await last_code(house.ports, email),
    }
    reply = await post(client, "/v1/auth/otp/verify", body)
    assert reply.status_code == 200, reply.text
    assert reply.json()["expires_in"] == 3600
    found: str = reply.json()["verification_token"]
    assert found.startswith("thv_")
    return found


async def test_202_then_201_registration_waits_for_the_code_that_was_mailed(
    strict: httpx.AsyncClient, house: House, people: People
) -> None:
    email = f"{people.name()}@example.com"
    body = {"email": email, "password": PASSWORD, "username": people.name(), "name": "Ada"}
    pending = await post(strict, "/v1/auth/register", body, **{"idempotency-key": "once"})
    assert pending.status_code == 202
    assert pending.json()["expires_in"] == 600
    assert "location" not in pending.headers
    again = await post(strict, "/v1/auth/register", body, **{"idempotency-key": "once"})
    assert (again.json(), again.headers["idempotent-replayed"]) == (pending.json(), "true")
    (mail,) = await mail_to(house.ports, email)
    told = {"registration_id": pending.json()["registration_id"], "code": mail.values["code"]}
    made = await post(strict, "/v1/auth/register/confirm", told, **{"idempotency-key": "two"})
    assert made.status_code == 201, made.text
    account = made.json()["account"]
    assert (account["email"], account["email_verified"]) == (email, True)
    assert (account["username"], account["name"]) == (body["username"], "Ada")
    replayed = await post(strict, "/v1/auth/register/confirm", told, **{"idempotency-key": "two"})
    assert replayed.content == made.content
    refused(await post(strict, "/v1/auth/register/confirm", told), 400, "INVALID_CODE")
    login = await post(strict, "/v1/auth/login", {"email": email, "password": PASSWORD})
    assert login.status_code == 200


async def test_register_tells_nobody_whether_an_address_is_taken(
    strict: httpx.AsyncClient, people: People
) -> None:
    taken = await people.register()
    bodies = [
        {"email": email, "password": PASSWORD, "username": username}
        for email, username in (
            (taken["email"], taken["username"]),
            (taken["email"].replace("person", "nobody"), people.name()),
        )
    ]
    one, other = [await post(strict, "/v1/auth/register", body) for body in bodies]
    assert one.status_code == 202
    alike(one, other, "registration_id")
    for weak in bodies:
        reply = await post(strict, "/v1/auth/register", {**weak, "password": "password123"})
        refused(reply, 400, "INVALID_REQUEST", "password")
    told = [
        {"registration_id": each.json()["registration_id"], "code": "000000"}
        for each in (one, other)
    ]
    replies = [await post(strict, "/v1/auth/register/confirm", each) for each in told]
    for reply in replies:
        refused(reply, 400, "INVALID_CODE")


@pytest.mark.parametrize("purpose", ["verify_email", "reset_password", "sign_in"])
async def test_otp_and_reset_tell_nobody_whether_an_address_has_an_account(
    client: httpx.AsyncClient, house: House, people: People, purpose: str
) -> None:
    known = (await people.register())["email"]
    unknown = known.replace("person", "nobody")
    one, other = [
        await post(client, "/v1/auth/otp", {"email": email, "purpose": purpose})
        for email in (known, unknown)
    ]
    assert one.status_code == 202
    alike(one, other, "challenge_id")
    assert (len(await mail_to(house.ports, known)), await mail_to(house.ports, unknown)) == (1, [])
    for body in (
        {"challenge_id": one.json()["challenge_id"], "code": "abc"},
        {"challenge_id": other.json()["challenge_id"], "code": "abc"},
        {"challenge_id": "chl_nobody", "code": "123456"},
        {"email": known, "purpose": purpose, "code": "abc"},
        {"email": unknown, "purpose": purpose, "code": "abc"},
    ):
        refused(await post(client, "/v1/auth/otp/verify", body), 400, "INVALID_CODE")
    for given in ("thv_nobody", "", "\u00e9"):
        body = {"verification_token": given, "new_password": NEW}
        refused(await post(client, "/v1/auth/password/reset", body), 401, "WRONG_CREDENTIALS")


async def test_400_otp_verify_takes_one_name_of_the_challenge(client: httpx.AsyncClient) -> None:
    for body in (
        {"code": "123456"},
        {"code": "123456", "email": "a@example.com"},
        {"code": "123456", "challenge_id": "chl_1", "email": "a@example.com"},
    ):
        reply = await post(client, "/v1/auth/otp/verify", body)
        refused(reply, 400, "INVALID_REQUEST", "challenge_id")


@pytest.mark.parametrize("named", ["chl_\0", "reg_" + "0" * 25 + "\0"])
async def test_ids_that_no_row_can_have_are_wrong_codes(
    client: httpx.AsyncClient, named: str
) -> None:
    for path, name in (("otp/verify", "challenge_id"), ("register/confirm", "registration_id")):
        reply = await post(client, f"/v1/auth/{path}", {name: named, "code": "123456"})
        assert reply.status_code in (400, 401), reply.text


async def test_200_code_marks_the_address_at_once(
    client: httpx.AsyncClient, house: House, people: People
) -> None:
    person = await people.register()
    headers = await people.sign_in(person["email"])
    assert (await client.get("/v1/me", headers=headers)).json()["email_verified"] is False
    await post(client, "/v1/auth/otp", {"email": person["email"], "purpose": "verify_email"})
    code = await last_code(house.ports, person["email"])
    body = {"email": person["email"].upper(), "purpose": "verify_email", "code": code}
    reply = await post(client, "/v1/auth/otp/verify", body)
    assert reply.status_code == 200
    seen = await client.get(
        "/v1/me",
        headers={**headers, "tollhouse-min-position": reply.headers["tollhouse-position"]},
    )
    assert seen.json()["email_verified"] is True


async def test_204_changed_password_ends_other_sessions_and_all_access_tokens(
    client: httpx.AsyncClient, house: House, people: People
) -> None:
    person = await people.register()
    login = {"email": person["email"], "password": PASSWORD}
    mine, other = [(await post(client, "/v1/auth/login", login)).json() for _ in range(2)]
    headers = {"authorization": f"Bearer {mine['access_token']}"}
    body = {"current_password": "not it, surely not", "new_password": NEW}
    reply = await post(client, "/v1/auth/password/change", body, **headers)
    refused(reply, 401, "WRONG_CREDENTIALS")
    body["current_password"] = PASSWORD
    weak = await post(
        client, "/v1/auth/password/change", {**body, "new_password": "tollhouse1"}, **headers
    )
    refused(weak, 400, "INVALID_REQUEST", "new_password")
    reply = await post(client, "/v1/auth/password/change", body, **headers)
    assert (reply.status_code, reply.content) == (204, b"")
    assert "tollhouse-position" in reply.headers
    assert (await client.get("/v1/me", headers=headers)).status_code == 401
    refresh = [
        await post(client, "/v1/auth/refresh", {"refresh_token": each["refresh_token"]})
        for each in (mine, other)
    ]
    assert [each.status_code for each in refresh] == [200, 401]
    refused(await post(client, "/v1/auth/login", login), 401, "WRONG_CREDENTIALS")
    await people.sign_in(person["email"], NEW)
    assert [mail.template for mail in await mail_to(house.ports, person["email"])] == [
        "password_changed"
    ]


async def test_204_reset_sets_the_password_once_and_ends_all_sessions(
    client: httpx.AsyncClient, house: House, people: People
) -> None:
    person = await people.register()
    headers = await people.sign_in(person["email"])
    given = await token(client, house, person["email"], "reset_password")
    body = {"verification_token": given, "new_password": NEW}
    reply = await post(client, "/v1/auth/password/reset", body)
    assert (reply.status_code, reply.content) == (204, b"")
    refused(await post(client, "/v1/auth/password/reset", body), 401, "WRONG_CREDENTIALS")
    assert (await client.get("/v1/me", headers=headers)).status_code == 401
    await people.sign_in(person["email"], NEW)


async def test_200_strength_says_what_registration_would_say(client: httpx.AsyncClient) -> None:
    for password, context, acceptable in (
        (PASSWORD, [], True),
        ("password123", [], False),
        ("AdaLovelace1815", ["ada.lovelace@example.com"], False),
        ("short", [], False),
    ):
        body = {"password": password, "context": context}
        judged = (await post(client, "/v1/auth/password/strength", body)).json()
        assert judged["acceptable"] is acceptable
        assert 0 <= judged["score"] <= 4
        assert acceptable or judged["warnings"]


async def test_200_profile_is_changed_field_by_field(
    client: httpx.AsyncClient, people: People
) -> None:
    person = await people.register(name="Ada", about="sums")
    taken = (await people.register())["username"]
    headers = await people.sign_in(person["email"])
    body = {"about": None, "phone": "+44 20", "username": people.name()}
    reply = await client.patch("/v1/me", json=body, headers=headers)
    assert reply.status_code == 200, reply.text
    shown = reply.json()
    assert (shown["name"], shown["about"], shown["phone"]) == ("Ada", None, "+44 20")
    position = {"tollhouse-min-position": reply.headers["tollhouse-position"]}
    assert (await client.get("/v1/me", headers={**headers, **position})).json() == shown
    for wrong, status, code, param in (
        ({"email": "new@example.com"}, 400, "UNKNOWN_FIELD", "email"),
        ({"roles": ["admin"]}, 400, "UNKNOWN_FIELD", "roles"),
        ({"kind": None}, 400, "INVALID_REQUEST", "kind"),
        ({"username": "a"}, 400, "INVALID_REQUEST", "username"),
        ({"avatar_url": "javascript:x"}, 400, "INVALID_REQUEST", "avatar_url"),
        ({"wallet_address": "0xabc"}, 400, "INVALID_REQUEST", "wallet_address"),
        ({"name": "Ada\x00"}, 400, "INVALID_REQUEST", "name"),
        ({"phone": "+44\n20"}, 400, "INVALID_REQUEST", "phone"),
        ({"about": "one\ntwo\x00"}, 400, "INVALID_REQUEST", "about"),
        ({"username": "a\x1bda"}, 400, "INVALID_REQUEST", "username"),
        ({"username": taken}, 409, "USERNAME_TAKEN", "username"),
    ):
        reply = await client.patch("/v1/me", json=wrong, headers=headers)
        refused(reply, status, code, param)
    assert (await client.get("/v1/me", headers=headers)).json() == shown


async def test_202_then_200_address_is_changed_with_proof_and_notice(
    client: httpx.AsyncClient, house: House, people: People
) -> None:
    person, rival = await people.register(), await people.register()
    headers = await people.sign_in(person["email"])
    new = f"{people.name()}@example.com"
    one, other = [
        await post(client, "/v1/me/email/change", {"email": email}, **headers)
        for email in (new, rival["email"])
    ]
    assert one.status_code == 202, one.text
    alike(one, other, "challenge_id")
    body = {"challenge_id": one.json()["challenge_id"], "code": await last_code(house.ports, new)}
    stranger = await people.sign_in(rival["email"])
    refused(await post(client, "/v1/me/email/confirm", body, **stranger), 400, "INVALID_CODE")
    reply = await post(client, "/v1/me/email/confirm", body, **headers)
    assert (reply.status_code, reply.json()["email"]) == (200, new)
    assert reply.json()["email_verified"] is True
    told = await mail_to(house.ports, person["email"])
    assert [mail.template for mail in told] == ["email_changed"]
    await people.sign_in(new)
    login = {"email": person["email"], "password": PASSWORD}
    refused(await post(client, "/v1/auth/login", login), 401, "WRONG_CREDENTIALS")
