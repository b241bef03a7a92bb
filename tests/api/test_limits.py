"""Limits of the whole house: on guessing passwords, on who may call, and on what a request may be,
on the verify lane as on every other route. SECURITY 4 and 18."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest

from api.http.app import create_app
from application.ports import ThrottlePolicy
from house import House
from tests.api.conftest import PASSWORD, FixedProbe, People, refused
from tests.api.serving import request, send, serving

pytestmark = pytest.mark.anyio

WRONG = "a wrong password, long enough"


@asynccontextmanager
async def limited(
    house: House, throttles: ThrottlePolicy | None = None, **edges: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """The same house behind another door, under these throttles."""
    policy = msgspec.structs.replace(
        house.ports.policy, throttles=throttles or house.ports.policy.throttles
    )
    ports = msgspec.structs.replace(house.ports, policy=policy)
    app = create_app(
        ports,
        house.verifier,
        FixedProbe(),
        version="1",
        environment="test",
        production=False,
        **edges,
    )
    async with (
        serving(app) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        yield client


async def login(client: httpx.AsyncClient, email: str, password: str) -> httpx.Response:
    return await client.post("/v1/auth/login", json={"email": email, "password": password})


async def test_a_lock_says_when_and_what_still_opens_and_is_the_same_for_nobody(
    house: House, people: People
) -> None:
    email = (await people.register())["email"]
    bodies = []
    async with limited(house, ThrottlePolicy(lockout_after=2, lockout_seconds=50)) as client:
        for name in (email, "nobody@example.net"):
            for _ in range(2):
                refused(await login(client, name, WRONG), 401, "WRONG_CREDENTIALS")
            for password in (WRONG, PASSWORD):
                reply = await login(client, name, password)
                refused(reply, 429, "SIGN_IN_LOCKED")
                assert 45 < int(reply.headers["retry-after"]) <= 50
                assert reply.headers["ratelimit-policy"].startswith('"sign-in";q=2')
                assert "reset" in reply.json()["hint"]
                bodies.append({**reply.json(), "request_id": ""})
                told = {*reply.headers}
        assert told == {*reply.headers}
    assert bodies == bodies[:1] * 4


async def test_failures_of_an_address_are_limited_and_say_how_it_stands(
    house: House, people: People
) -> None:
    email = (await people.register())["email"]
    async with limited(house, ThrottlePolicy(failed_logins_per_hour=3)) as client:
        for n in range(3):
            refused(await login(client, f"x{n}@example.net", WRONG), 401, "WRONG_CREDENTIALS")
        reply = await login(client, email, PASSWORD)
    refused(reply, 429, "TOO_MANY_REQUESTS")
    assert reply.headers["ratelimit-policy"] == '"failed-login";q=3;w=3600'
    assert reply.headers["x-ratelimit-remaining"] == "0"
    assert int(reply.headers["retry-after"]) > 0


async def test_codes_to_an_address_are_limited_alike_for_who_has_no_account(
    house: House, people: People
) -> None:
    email = (await people.register())["email"]
    statuses = []
    async with limited(house, ThrottlePolicy(otp_per_hour=2)) as client:
        for address in (email, "no-one@example.net"):
            for _ in range(3):
                body = {"email": address, "purpose": "sign_in"}
                reply = await client.post("/v1/auth/otp", json=body)
                statuses.append((reply.status_code, {*reply.headers}))
    assert [status for status, _ in statuses] == [202, 202, 429] * 2
    assert statuses[:3] == statuses[3:]


async def test_the_settings_of_the_edges_reach_the_door(house: House) -> None:
    async with limited(house, ip_allow=("10.0.0.0/8",)) as client:
        refused(await client.get("/v1/me"), 403, "IP_NOT_ALLOWED")
        assert (await client.get("/health/live")).status_code == 200
    origin = "https://app.example.com"
    async with limited(house, cors_origins=(origin,)) as client:
        reply = await client.get("/v1/me", headers={"origin": origin})
    assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (401, origin)


JSON = "Content-Type: application/json"


@pytest.mark.parametrize("path", ["/v1/keys/verify", "/v1/keys"])
@pytest.mark.parametrize(
    ("target", "headers", "body", "status", "code"),
    [
        ("", [f"h{n}: x" for n in range(65)], b"{}", 431, "HEADERS_TOO_LARGE"),
        ("", ["h: " + "x" * 16_400], b"{}", 431, "HEADERS_TOO_LARGE"),
        ("?" + "x" * 8_200, [], b"{}", 414, "URL_TOO_LONG"),
        ("", [], b'{"key": "' + b"x" * 66_000 + b'"}', 413, "BODY_TOO_LARGE"),
        ("", [], b'{"a":' * 33 + b"1" + b"}" * 33, 400, "JSON_TOO_DEEP"),
        ("", [], b'{"key": "a", "key": "b"}', 400, "DUPLICATE_FIELD"),
        ("?key=x", [], b"{}", 400, "KEY_IN_URL"),
    ],
)
async def test_what_a_request_may_be_is_bounded_on_every_route_and_on_the_lane(
    client: httpx.AsyncClient,
    path: str,
    target: str,
    headers: list[str],
    body: bytes,
    status: int,
    code: str,
) -> None:
    head = [JSON, "X-Api-Key: some-key", *headers]
    reply = await send(client.base_url.port or 0, request("POST", path + target, head, body))
    assert (reply.status, reply.json()["code"]) == (status, code)
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")
    assert reply.headers["cache-control"] == "no-store"
