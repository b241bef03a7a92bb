"""Registering, signing in, and reading one's own account, over HTTP."""

from typing import Any

import httpx
import pytest

from api.http.auth_shapes import RegisterRequest
from api.http.login_shapes import LoginRequest
from house import House
from tests.api.conftest import PASSWORD, People, refused

pytestmark = pytest.mark.anyio
OWN_HOUSE = True  # its people have names of their own

REGISTER = "/v1/auth/register"
LOGIN = "/v1/auth/login"
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
GOOD = {"email": "good@example.com", "password": PASSWORD}


async def test_201_registration_answers_the_account_and_a_position(
    client: httpx.AsyncClient, house: House
) -> None:
    body = {
        **GOOD,
        "email": "Ada@Example.com",
        "username": "Ada",
        "name": "Ada Lovelace",
        "kind": "business",
        "actor_type": "creator",
        "hobbies": "engines",
        "wallet_address": "0xfb6916095ca1df60bb79ce92ce3ea74c37c5d359",
    }
    reply = await client.post(REGISTER, json=body)
    assert reply.status_code == 201
    account = reply.json()["account"]
    assert account["id"].startswith("acct_")
    assert (account["email"], account["username"]) == ("ada@example.com", "ada")
    assert (account["plan"], account["status"], account["roles"]) == ("free", "active", [])
    assert (account["kind"], account["actor_type"]) == ("business", "creator")
    assert account["registered_at"].endswith("Z")
    assert account["email_verified"] is False
    assert PASSWORD not in reply.text
    assert reply.headers["location"] == "/v1/me"
    log, _, number = reply.headers["tollhouse-position"].partition(":")
    assert log == house.ports.store.log_id
    assert int(number) > 0


async def test_201_registration_takes_forms(client: httpx.AsyncClient) -> None:
    form = {"email": "form@example.com", "password": PASSWORD, "username": "form-user"}
    assert (await client.post(REGISTER, data=form)).status_code == 201
    reply = await client.post(LOGIN, data={"username": "form-user", "password": PASSWORD})
    assert reply.status_code == 200


async def test_409_an_address_or_username_has_one_account(
    client: httpx.AsyncClient, people: People
) -> None:
    there = await people.register()
    again = {**GOOD, "email": there["email"].upper()}
    refused(await client.post(REGISTER, json=again), 409, "EMAIL_TAKEN", "email")
    other = {**GOOD, "email": "other@example.com", "username": there["username"].upper()}
    refused(await client.post(REGISTER, json=other), 409, "USERNAME_TAKEN", "username")


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"email": "no address"}, "INVALID_REQUEST", "email"),
        ({"email": 1}, "INVALID_REQUEST", "email"),
        ({"email": None}, "INVALID_REQUEST", "email"),
        ({"email": "a\u0000@example.com"}, "INVALID_REQUEST", "email"),
        ({"email": "x" * 300 + "@example.com"}, "INVALID_REQUEST", "email"),
        ({"password": "short"}, "INVALID_REQUEST", "password"),
        ({"password": "x" * 129}, "INVALID_REQUEST", "password"),
        ({"username": "a"}, "INVALID_REQUEST", "username"),
        ({"username": "no spaces here"}, "INVALID_REQUEST", "username"),
        ({"name": "x" * 201}, "INVALID_REQUEST", "name"),
        ({"name": ["a"]}, "INVALID_REQUEST", "name"),
        ({"name": "A\u202eda"}, "INVALID_REQUEST", "name"),
        ({"phone": "\x1b[2J"}, "INVALID_REQUEST", "phone"),
        ({"hobbies": "a\x00b"}, "INVALID_REQUEST", "hobbies"),
        ({"kind": "giant"}, "INVALID_REQUEST", "kind"),
        ({"roles": ["admin"]}, "UNKNOWN_FIELD", "roles"),
        ({"plan": "internal"}, "UNKNOWN_FIELD", "plan"),
        ({"email_verified": True}, "UNKNOWN_FIELD", "email_verified"),
    ],
)
async def test_400_registration_names_the_field_at_fault(
    client: httpx.AsyncClient, change: dict[str, Any], code: str, param: str
) -> None:
    refused(await client.post(REGISTER, json={**GOOD, **change}), 400, code, param)


@pytest.mark.parametrize("path", [REGISTER, LOGIN])
async def test_400_bodies_that_are_no_body(client: httpx.AsyncClient, path: str) -> None:
    async def post(body: bytes, headers: dict[str, str] = JSON) -> httpx.Response:
        return await client.post(path, content=body, headers=headers)

    refused(await post(b""), 400, "INVALID_REQUEST")
    refused(await post(b"{"), 400, "MALFORMED_JSON")
    refused(await post(b"[]"), 400, "INVALID_REQUEST")
    refused(await post(b"null"), 400, "INVALID_REQUEST")
    refused(await post(b"{}"), 400, "INVALID_REQUEST", "email")
    refused(await post(b'{"email":"a","email":"b"}'), 400, "DUPLICATE_FIELD", "email")
    refused(await post(b"[" * 100), 400, "JSON_TOO_DEEP")
    refused(await post(b"email=a&email=b", FORM), 400, "DUPLICATE_FIELD", "email")
    refused(await post(b"emial=a", FORM), 400, "UNKNOWN_FIELD", "emial")
    refused(
        await post(b"x", {"content-type": "text/plain"}),
        415,
        "UNSUPPORTED_MEDIA_TYPE",
        "Content-Type",
    )
    refused(await post(b" " * 5000), 413, "BODY_TOO_LARGE")


async def test_200_sign_in_by_address_or_username(
    client: httpx.AsyncClient, people: People
) -> None:
    person = await people.register(name="Grace")
    for name in ({"email": person["email"]}, {"username": person["username"]}):
        reply = await client.post(LOGIN, json={**name, "password": PASSWORD})
        assert reply.status_code == 200
        body = reply.json()
        assert (body["token_type"], body["expires_in"]) == ("Bearer", 900)
        assert body["refresh_expires_in"] == 604_800
        assert body["access_token"].count(".") == 2
        assert body["refresh_token"].startswith("thr_")
        assert (body["account"]["id"], body["account"]["name"]) == (person["id"], "Grace")
        assert "tollhouse-position" in reply.headers


async def test_401_sign_in_never_says_what_was_wrong(
    client: httpx.AsyncClient, people: People
) -> None:
    person = await people.register()
    attempts = (
        {"email": person["email"], "password": "not the password"},
        {"email": "nobody@example.com", "password": PASSWORD},
        {"username": "nobody-here", "password": PASSWORD},
        {"email": "no address at all", "password": PASSWORD},
        {"username": "a\u0000b", "password": PASSWORD},
    )
    replies = [await client.post(LOGIN, json=attempt) for attempt in attempts]
    for reply in replies:
        refused(reply, 401, "WRONG_CREDENTIALS")
        assert reply.headers["www-authenticate"] == "Bearer"
    assert len({reply.json()["detail"] for reply in replies}) == 1


async def test_400_sign_in_takes_one_name(client: httpx.AsyncClient) -> None:
    both = {"email": "a@example.com", "username": "abc", "password": PASSWORD}
    refused(await client.post(LOGIN, json=both), 400, "INVALID_REQUEST", "email")
    neither = {"password": PASSWORD}
    refused(await client.post(LOGIN, json=neither), 400, "INVALID_REQUEST", "email")


async def test_200_an_account_sees_all_of_itself(client: httpx.AsyncClient, people: People) -> None:
    person = await people.register(name="Grace Hopper", about="compilers", phone="+1 555 0100")
    reply = await client.get("/v1/me", headers=await people.sign_in(person["email"]))
    assert reply.status_code == 200
    for field in ("id", "email", "username", "name", "about", "phone"):
        assert reply.json()[field] == person[field]
    assert reply.headers["cache-control"] == "no-store"


async def test_401_without_a_credential_that_works(client: httpx.AsyncClient) -> None:
    key = "th_live_" + "a" * 49
    for headers in (
        {},
        {"authorization": "Bearer"},
        {"authorization": "Basic YTpi"},
        {"authorization": "Bearer a.b.c"},
        {"authorization": f"Bearer {key}"},
        {"x-api-key": key},
        {"x-api-key": "é"},
    ):
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        reply = await client.get("/v1/me", headers=raw)
        refused(reply, 401, "UNAUTHENTICATED")
        assert "Bearer" in reply.headers["www-authenticate"]
    both = {"authorization": "Bearer a.b.c", "x-api-key": "x"}
    refused(await client.get("/v1/me", headers=both), 400, "INVALID_REQUEST")


async def test_403_an_api_key_is_not_its_account(client: httpx.AsyncClient, people: People) -> None:
    key = await people.key(await people.user())
    for path in ("/v1/me", "/v1/plans/current", "/v1/quotas"):
        reply = await client.get(path, headers={"x-api-key": key["key"]})
        refused(reply, 403, "FORBIDDEN")


async def test_reads_wait_for_the_position_that_they_are_given(
    client: httpx.AsyncClient, people: People, house: House
) -> None:
    headers = await people.user()
    log_id, reached = house.ports.store.log_id, house.directory.position

    async def read(position: str) -> httpx.Response:
        return await client.get("/v1/me", headers={**headers, "tollhouse-min-position": position})

    param = "Tollhouse-Min-Position"
    assert (await read(f"{log_id}:{reached}")).status_code == 200
    refused(await read("nonsense"), 400, "INVALID_POSITION", param)
    refused(await read(f"{log_id}:-1"), 400, "INVALID_POSITION", param)
    refused(await read(f"another:{reached}"), 400, "FOREIGN_LOG", param)
    late = await read(f"{log_id}:{reached + 1_000}")
    refused(late, 503, "POSITION_NOT_REACHED", param)
    assert late.headers["retry-after"]


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
    "é" * 1200,
    [],
    {},
    [[]],
]


@pytest.mark.slow
async def test_nothing_that_a_field_may_hold_is_a_5xx(client: httpx.AsyncClient) -> None:
    for path, shape in ((REGISTER, RegisterRequest), (LOGIN, LoginRequest)):
        for field in shape.__struct_fields__:
            for odd in ODD:
                body = {**GOOD, "email": "odd@example.com", field: odd}
                reply = await client.post(path, json=body)
                assert reply.status_code < 500, (path, field, odd, reply.text)
