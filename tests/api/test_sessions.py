"""Sessions over HTTP: refresh, cookies, sign-out, lists; tokens as services ask about them."""

import asyncio
import base64
import re
from typing import Any

import httpx
import pytest

from api.http import cookies
from house import House
from tests.api.conftest import PASSWORD, People, refused

pytestmark = pytest.mark.anyio

PAGE = {"sec-fetch-site": "same-origin"}


async def signed_in(client: httpx.AsyncClient, people: People, **fields: Any) -> dict[str, Any]:
    """The answer to a new account's sign-in."""
    person = await people.register()
    body = {"email": person["email"], "password": PASSWORD, **fields}
    reply = await client.post("/v1/auth/login", json=body, headers={"user-agent": "a browser"})
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


def bearer(tokens: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {tokens['access_token']}"}


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/v1/auth/refresh", json={"refresh_token": token})


async def works(client: httpx.AsyncClient, headers: dict[str, str]) -> bool:
    return (await client.get("/v1/auth/token", headers=headers)).status_code == 200


async def test_refresh_answers_as_login_did(client: httpx.AsyncClient, people: People) -> None:
    first = await signed_in(client, people)
    reply = await refresh(client, first["refresh_token"])
    second = reply.json()
    assert reply.status_code == 200
    assert set(second) == set(first)
    assert second["account"] == first["account"]
    assert second["refresh_token"] != first["refresh_token"]
    assert second["refresh_expires_in"] <= first["refresh_expires_in"]
    assert "tollhouse-position" in reply.headers
    assert await works(client, bearer(second))
    form = {"grant_type": "refresh_token", "refresh_token": second["refresh_token"]}
    assert (await client.post("/v1/auth/refresh", data=form)).status_code == 200


async def test_a_spent_token_within_ten_seconds_gets_the_same_successor(
    client: httpx.AsyncClient, people: People
) -> None:
    token = (await signed_in(client, people))["refresh_token"]
    replies = [await refresh(client, token) for _ in range(3)]
    assert len({reply.json()["refresh_token"] for reply in replies}) == 1
    assert len({reply.json()["access_token"] for reply in replies}) == 3


async def test_reuse_ends_the_session_for_whoever_has_it(
    client: httpx.AsyncClient, people: People
) -> None:
    first = await signed_in(client, people)
    second = (await refresh(client, first["refresh_token"])).json()
    third = (await refresh(client, second["refresh_token"])).json()
    refused(await refresh(client, first["refresh_token"]), 401, "REFRESH_TOKEN_INVALID")
    refused(await refresh(client, third["refresh_token"]), 401, "REFRESH_TOKEN_INVALID")
    for tokens in (first, second, third):
        assert not await works(client, bearer(tokens))


@pytest.mark.parametrize("token", ["", "thr_", "thr_" + "A" * 112, "x" * 2000, "é", "a.b.c"])
async def test_what_is_no_refresh_token_of_ours_is_refused_alike(
    client: httpx.AsyncClient, token: str
) -> None:
    reply = await refresh(client, token)
    assert reply.status_code == (401 if token else 400)


async def test_a_refresh_token_is_no_access_token_nor_the_other_way(
    client: httpx.AsyncClient, people: People
) -> None:
    tokens = await signed_in(client, people)
    refused(await refresh(client, tokens["access_token"]), 401, "REFRESH_TOKEN_INVALID")
    assert not await works(client, {"authorization": f"Bearer {tokens['refresh_token']}"})


async def test_refresh_without_a_token_names_the_field(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/auth/refresh")
    refused(reply, 400, "INVALID_REQUEST", "refresh_token")
    reply = await client.post("/v1/auth/refresh", json={"refresh_token": "a", "scope": "b"})
    refused(reply, 400, "UNKNOWN_FIELD", "scope")


async def test_the_claims_of_the_presented_token_are_told(
    client: httpx.AsyncClient, people: People
) -> None:
    tokens = await signed_in(client, people)
    said = (await client.get("/v1/auth/token", headers=bearer(tokens))).json()
    assert said["sub"] == tokens["account"]["id"]
    assert said["exp"] - said["iat"] == tokens["expires_in"]
    assert said["amr"] == ["pwd"]
    assert "act" not in said
    assert (said["epoch"], said["roles"]) == (0, [])
    assert said["auth_time"] <= said["iat"]


async def test_logout_ends_this_session_and_no_other(
    client: httpx.AsyncClient, people: People
) -> None:
    person = await people.register()
    body = {"email": person["email"], "password": PASSWORD}
    one, other = [(await client.post("/v1/auth/login", json=body)).json() for _ in range(2)]
    assert (await client.post("/v1/auth/logout", headers=bearer(one))).status_code == 204
    assert not await works(client, bearer(one))
    refused(await refresh(client, one["refresh_token"]), 401, "REFRESH_TOKEN_INVALID")
    assert await works(client, bearer(other))
    assert (await refresh(client, other["refresh_token"])).status_code == 200


async def test_logout_all_ends_every_session(client: httpx.AsyncClient, people: People) -> None:
    person = await people.register()
    body = {"email": person["email"], "password": PASSWORD}
    both = [(await client.post("/v1/auth/login", json=body)).json() for _ in range(2)]
    assert (await client.post("/v1/auth/logout-all", headers=bearer(both[0]))).status_code == 204
    for tokens in both:
        assert not await works(client, bearer(tokens))
        refused(await refresh(client, tokens["refresh_token"]), 401, "REFRESH_TOKEN_INVALID")
    again = (await client.post("/v1/auth/login", json=body)).json()
    assert await works(client, bearer(again))


async def test_sessions_are_listed_with_where_and_when_and_ended_one_by_one(
    client: httpx.AsyncClient, people: People
) -> None:
    person = await people.register()
    body = {"email": person["email"], "password": PASSWORD}
    answers = [
        (await client.post("/v1/auth/login", json=body, headers={"user-agent": f"b{n}"})).json()
        for n in range(3)
    ]
    headers = bearer(answers[0])
    listed = (await client.get("/v1/me/sessions", headers=headers)).json()
    assert [each["user_agent"] for each in listed["items"]] == ["b2", "b1", "b0"]
    assert [each["current"] for each in listed["items"]] == [False, False, True]
    assert {each["ip"] for each in listed["items"]} == {"127.0.0.1"}
    pages = []
    cursor = None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await client.get("/v1/me/sessions", headers=headers, params=query)).json()
        pages.append([each["id"] for each in page["items"]])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [len(page) for page in pages] == [2, 1]

    path = f"/v1/me/sessions/{listed['items'][0]['id']}"
    stranger = bearer(await signed_in(client, people))
    refused(await client.delete(path, headers=stranger), 404, "NOT_FOUND")
    assert await works(client, bearer(answers[2]))
    assert (await client.delete(path, headers=headers)).status_code == 204
    assert (await client.delete(path, headers=headers)).status_code == 204
    assert not await works(client, bearer(answers[2]))
    left = (await client.get("/v1/me/sessions", headers=headers)).json()["items"]
    assert [each["user_agent"] for each in left] == ["b1", "b0"]
    refused(await client.delete("/v1/me/sessions/nonsense", headers=headers), 404, "NOT_FOUND")


# -- Cookies


async def in_cookies(client: httpx.AsyncClient, people: People) -> dict[str, str]:
    """The cookies of a new account's sign-in, by name."""
    person = await people.register()
    body = {"email": person["email"], "password": PASSWORD, "session": "cookie"}
    reply = await client.post("/v1/auth/login", json=body, headers=PAGE)
    assert reply.status_code == 200, reply.text
    assert not {"access_token", "refresh_token"} & set(reply.json())
    found = _cookies(reply)
    assert reply.json()["csrf_token"] == found[cookies.CSRF]
    client.cookies.clear()
    return found


def _cookies(reply: httpx.Response) -> dict[str, str]:
    """By name, and each as strict as it has to be."""
    found = {}
    for line in reply.headers.get_list("set-cookie"):
        pair, *attributes = [part.strip() for part in line.split(";")]
        name, _, value = pair.partition("=")
        said = {each.lower() for each in attributes}
        assert {"secure", "path=/", "samesite=strict"} <= said
        assert not any(each.startswith("domain") for each in said)
        assert ("httponly" in said) == (name != cookies.CSRF)
        assert name.startswith("__Host-")
        found[name] = value
    assert set(found) == {cookies.ACCESS, cookies.REFRESH, cookies.CSRF}
    return found


def sent(found: dict[str, str]) -> dict[str, str]:
    return {"cookie": "; ".join(f"{name}={value}" for name, value in found.items())}


async def test_cookies_are_host_only_http_only_secure_and_strict(
    client: httpx.AsyncClient, people: People
) -> None:
    found = await in_cookies(client, people)
    reply = await client.get("/v1/me", headers=sent(found))
    assert reply.status_code == 200
    reply = await client.post(
        "/v1/auth/logout", headers={**sent(found), **PAGE, "x-csrf-token": found[cookies.CSRF]}
    )
    assert reply.status_code == 204
    assert set(_cookies(reply).values()) <= {"", '""'}
    assert (await client.get("/v1/me", headers=sent(found))).status_code == 401


async def test_cookies_change_nothing_without_the_sessions_csrf_token_and_page(
    client: httpx.AsyncClient, people: People
) -> None:
    found, others = await in_cookies(client, people), await in_cookies(client, people)
    token = {"x-csrf-token": found[cookies.CSRF]}
    for more in (
        PAGE,
        {**PAGE, "x-csrf-token": ""},
        {**PAGE, "x-csrf-token": others[cookies.CSRF]},
        {**token, "sec-fetch-site": "cross-site"},
        {**token, "sec-fetch-site": "same-site"},
        {**token, "sec-fetch-site": "same-site", "origin": "https://evil.example.com"},
        {**token, "origin": "https://evil.example.com"},
        {**token, "origin": "null"},
    ):
        for method, path in (
            ("POST", "/v1/auth/logout-all"),
            ("POST", "/v1/auth/refresh"),
            ("PATCH", "/v1/me"),
        ):
            body = {"name": "Mallory"} if method == "PATCH" else None
            reply = await client.request(method, path, json=body, headers={**sent(found), **more})
            refused(reply, 403, "CSRF_REFUSED")
    assert (await client.get("/v1/me", headers=sent(found))).status_code == 200
    reply = await client.post("/v1/auth/refresh", headers={**sent(found), **PAGE, **token})
    assert reply.status_code == 200
    assert _cookies(reply)[cookies.REFRESH] != found[cookies.REFRESH]
    assert _cookies(reply)[cookies.CSRF] == found[cookies.CSRF]


async def test_no_page_of_another_site_signs_anybody_in(
    client: httpx.AsyncClient, people: People
) -> None:
    person = await people.register()
    body = {"email": person["email"], "password": PASSWORD, "session": "cookie"}
    reply = await client.post("/v1/auth/login", json=body, headers={"sec-fetch-site": "cross-site"})
    refused(reply, 403, "CSRF_REFUSED")
    assert "set-cookie" not in reply.headers


async def test_a_credential_in_a_header_counts_and_not_the_cookie(
    client: httpx.AsyncClient, people: People
) -> None:
    found = await in_cookies(client, people)
    tokens = await signed_in(client, people)
    reply = await client.get("/v1/me", headers={**sent(found), **bearer(tokens)})
    assert reply.json()["id"] == tokens["account"]["id"]
    broken = {**sent(found), "authorization": "Bearer a.b.c"}
    assert (await client.get("/v1/me", headers=broken)).status_code == 401
    twice = {"cookie": f"{cookies.ACCESS}=a; {sent(found)['cookie']}"}
    assert (await client.get("/v1/me", headers=twice)).status_code == 401


# -- Tokens as services see them


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


@pytest.fixture(scope="module")
async def service(people: People) -> dict[str, Any]:
    """A service key that may do both."""
    permissions = ["tokens.introspect", "tokens.revoke"]
    return await people.key(await people.staff(), kind="service", permissions=permissions)


async def ask(
    client: httpx.AsyncClient, service: dict[str, Any], token: str, **more: str
) -> httpx.Response:
    return await client.post(
        "/oauth/introspect",
        data={"token": token, **more},
        headers=basic(service["id"], service["key"]),
    )


async def test_introspection_tells_what_an_active_token_says(
    client: httpx.AsyncClient, people: People, service: dict[str, Any]
) -> None:
    tokens = await signed_in(client, people)
    reply = await ask(client, service, tokens["access_token"])
    told = reply.json()
    said = (await client.get("/v1/auth/token", headers=bearer(tokens))).json()
    assert told == {
        "active": True,
        "token_type": "Bearer",
        "username": tokens["account"]["username"],
        **{name: value for name, value in said.items() if name != "epoch"},
    }
    assert reply.headers["cache-control"] == "no-store"
    told = (await ask(client, service, tokens["refresh_token"], token_type_hint="any")).json()
    assert (told["active"], told["token_type"]) == (True, "refresh_token")
    assert (told["sub"], told["sid"]) == (said["sub"], said["sid"])
    by_key = {"authorization": f"Bearer {service['key']}"}
    reply = await client.post(
        "/oauth/introspect", json={"token": tokens["access_token"]}, headers=by_key
    )
    assert reply.json()["active"]


async def test_introspection_answers_exactly_active_false_for_anything_else(
    client: httpx.AsyncClient, people: People, service: dict[str, Any]
) -> None:
    first = await signed_in(client, people)
    second = (await refresh(client, first["refresh_token"])).json()
    ended = await signed_in(client, people)
    await client.post("/v1/auth/logout", headers=bearer(ended))
    suspended = await signed_in(client, people)
    await people.key(bearer(suspended))
    for token in (
        first["refresh_token"],
        ended["access_token"],
        ended["refresh_token"],
        second["access_token"][:-4] + "AAAA",
        second["refresh_token"][:-4] + "AAAA",
        service["key"],
        "nonsense",
        "a.b.c",
    ):
        reply = await ask(client, service, token)
        assert (reply.status_code, reply.content) == (200, b'{"active":false}')
        assert reply.headers["cache-control"] == "no-store"
    # Asking about a spent token is not presenting it.
    assert (await refresh(client, second["refresh_token"])).status_code == 200


@pytest.mark.parametrize("path", ["/oauth/introspect", "/oauth/revoke"])
async def test_introspection_and_revocation_need_a_caller_with_the_right(
    client: httpx.AsyncClient, people: People, service: dict[str, Any], path: str
) -> None:
    tokens = await signed_in(client, people)
    form = {"token": tokens["access_token"]}
    assert (await client.post(path, data=form)).status_code == 401
    for headers in (
        basic(service["id"], "wrong"),
        basic("key_01kamzq9h4t7c2m5r8v1x3z6bd", service["key"]),
        {"authorization": "Basic !!!"},
        {"authorization": "Basic " + base64.b64encode(b"no colon").decode()},
    ):
        reply = await client.post(path, data=form, headers=headers)
        refused(reply, 401, "UNAUTHENTICATED")
        assert reply.headers["www-authenticate"].startswith("Basic ")
    standard = await people.key(bearer(tokens))
    for headers in (
        bearer(tokens),
        basic(standard["id"], standard["key"]),
        await people.service("keys.verify"),
        await people.staff(),
    ):
        refused(await client.post(path, data=form, headers=headers), 403, "FORBIDDEN")
    assert await works(client, bearer(tokens))
    both = {**basic(service["id"], service["key"]), "x-api-key": service["key"]}
    refused(await client.post(path, data=form, headers=both), 400, "INVALID_REQUEST")
    # Nowhere else.
    reply = await client.get("/v1/keys", headers=basic(service["id"], service["key"]))
    refused(reply, 401, "UNAUTHENTICATED")


async def test_client_credentials_are_percent_decoded(
    client: httpx.AsyncClient, people: People, service: dict[str, Any]
) -> None:
    tokens = await signed_in(client, people)
    encoded = basic(service["id"].replace("_", "%5F"), service["key"].replace("_", "%5f"))
    form = {"token": tokens["access_token"]}
    reply = await client.post("/oauth/introspect", data=form, headers=encoded)
    assert reply.json()["active"]


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_revocation_ends_the_session_and_answers_200_for_the_unknown(
    client: httpx.AsyncClient, people: People, service: dict[str, Any], kind: str
) -> None:
    tokens = await signed_in(client, people)
    headers = basic(service["id"], service["key"])
    for token in (tokens[kind], tokens[kind], "nonsense", "a.b.c", service["key"]):
        reply = await client.post("/oauth/revoke", data={"token": token}, headers=headers)
        assert (reply.status_code, reply.content) == (200, b"")
    assert not await works(client, bearer(tokens))
    refused(await refresh(client, tokens["refresh_token"]), 401, "REFRESH_TOKEN_INVALID")


async def test_jwks_has_public_members_only(client: httpx.AsyncClient, house: House) -> None:
    reply = await client.get("/.well-known/jwks.json")
    (key,) = reply.json()["keys"]
    assert set(key) == {"kty", "crv", "use", "alg", "kid", "x"}
    assert reply.headers["cache-control"] == "public, max-age=300"
    assert key["kid"] == house.ports.signing_keys.published(house.ports.clock())[0].kid


async def test_metadata_names_where_everything_is(client: httpx.AsyncClient) -> None:
    said = (await client.get("/.well-known/oauth-authorization-server")).json()
    document = (await client.get("/openapi.json")).json()
    for name, value in said.items():
        if name.endswith(("_endpoint", "_uri")):
            assert value.removeprefix(said["issuer"]) in document["paths"], name


async def test_suspension_soon_ends_tokens_and_refresh_waits(
    client: httpx.AsyncClient, people: People, house: House
) -> None:
    tokens = await signed_in(client, people)
    path = f"/v1/accounts/{tokens['account']['id']}"
    staff = await people.staff()
    reply = await client.post(f"{path}/suspend", json={"reason": "a test"}, headers=staff)
    assert reply.status_code < 300, reply.text
    async with asyncio.timeout(20):
        while await works(client, bearer(tokens)):
            pass
    refused(await refresh(client, tokens["refresh_token"]), 403, "ACCOUNT_NOT_ACTIVE")
    await client.post(f"{path}/reinstate", json={"reason": "a test"}, headers=staff)
    assert not await works(client, bearer(tokens))
    assert (await refresh(client, tokens["refresh_token"])).status_code == 200


@pytest.mark.parametrize(
    ("path", "form", "who", "status", "error"),
    [
        ("/oauth/introspect", {"token": "x"}, None, 401, "invalid_client"),
        ("/oauth/introspect", {"token": "x"}, "wrong", 401, "invalid_client"),
        ("/oauth/introspect", {"token": "x"}, "powerless", 403, "unauthorized_client"),
        ("/oauth/introspect", {}, "service", 400, "invalid_request"),
        ("/oauth/revoke", {"token": "x"}, "wrong", 401, "invalid_client"),
        ("/oauth/revoke", {}, "service", 400, "invalid_request"),
        ("/v1/auth/refresh", {"refresh_token": "thr_none"}, None, 401, "invalid_grant"),
        ("/v1/auth/refresh", {}, None, 400, "invalid_request"),
        ("/v1/auth/refresh", {"grant_type": "password"}, None, 400, "unsupported_grant_type"),
    ],
)
async def test_what_oauth_clients_are_refused_says_why_as_oauth_has_it(
    client: httpx.AsyncClient,
    people: People,
    service: dict[str, Any],
    path: str,
    form: dict[str, str],
    who: str | None,
    status: int,
    error: str,
) -> None:
    """RFC 6749, 5.2, in a problem document; as plain JSON for who takes that and says so."""
    callers = {
        None: {},
        "wrong": basic(service["id"], 'th_"wrong"'),
        "service": basic(service["id"], service["key"]),
        "powerless": {"authorization": "Bearer th_none"},
    }
    if who == "powerless":
        callers["powerless"] = await people.service("keys.verify")
    headers = {**callers[who], "accept": "application/json"}
    reply = await client.post(path, data=form, headers=headers)
    said = reply.json()
    assert (reply.status_code, said["error"]) == (status, error), reply.text
    assert reply.headers["content-type"] == "application/json"
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", said["error_description"])
    reply = await client.post(path, data=form, headers=callers[who])
    refused(reply, status, said["code"], said.get("param"))
    assert reply.json()["error"] == error
    elsewhere = await client.get("/v1/me", headers={"accept": "application/json"})
    assert elsewhere.headers["content-type"] == "application/problem+json"
    assert "error" not in elsewhere.json()


async def test_oauth_and_well_known_addresses_ignore_parameters_they_dont_know(
    client: httpx.AsyncClient, service: dict[str, Any]
) -> None:
    """RFC 6749, 3.1 and 3.2."""
    headers = basic(service["id"], service["key"])
    for path in ("/oauth/introspect", "/oauth/revoke"):
        reply = await client.post(f"{path}?resource=x", data={"token": "x"}, headers=headers)
        assert reply.status_code == 200
    for path in ("/.well-known/jwks.json", "/.well-known/oauth-authorization-server"):
        assert (await client.get(f"{path}?v=2")).status_code == 200
