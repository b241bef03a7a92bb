"""The edges of the server, over real sockets: who may call at all, which pages may, and what every
answer carries. SECURITY 18, 21 and 23."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from litestar.enums import ScopeType
from litestar.types import HTTPScope, Receive, Scope, Send
from structlog.testing import capture_logs
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api.http.cors import Cors
from api.http.door import Door
from api.http.express import ExpressHttp
from tests.api.serving import Reply, request, send, serving

pytestmark = pytest.mark.anyio

APP = "https://app.example.com"
CORS = Cors(["https://other.example.com", APP])
LANE = "/v1/keys/verify"
JSON = "Content-Type: application/json"
KEY = "X-Api-Key: some-key"
SAFE = (
    "content-security-policy",
    "x-content-type-options",
    "referrer-policy",
    "permissions-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
)


class House:
    """What is behind the door; `worked` says what got that far, and how."""

    def __init__(self) -> None:
        self.worked: list[str] = []

    async def inner(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == ScopeType.HTTP
        self.worked.append(scope["path"])
        if scope["path"] == "/boom":
            raise RuntimeError("a secret detail")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}", "more_body": False})

    async def lane(self, scope: HTTPScope, receive: Receive) -> bytes:
        self.worked.append("lane")
        return b"{}"

    def caller(self, secret: str, client_ip: str | None) -> str:
        return secret

    def begin(
        self,
        body: bytes,
        caller: str,
        request_id: str,
        reply: Callable[[bytes | Exception], None],
    ) -> bool:
        self.worked.append("express")
        reply(b"{}")
        return True

    def door(self, **options: Any) -> Door:
        options = {"production": False, "express": self, **options}
        return Door(self.inner, lane=self.lane, **options)


Ask = Callable[..., Any]


def verify(*headers: str) -> bytes:
    return request("POST", LANE, [JSON, KEY, *headers], b"{}")


@pytest.fixture(scope="module")
def shared() -> House:
    return House()


@pytest.fixture
def house(shared: House) -> House:
    shared.worked.clear()
    return shared


@pytest.fixture(scope="module")
async def ask(shared: House) -> AsyncIterator[Ask]:
    """Asks a door with these options; each stays open until the last test ends."""
    ports: dict[str, int] = {}
    async with AsyncExitStack() as stack:

        async def ask(asked: bytes, proxied: bool = False, **options: Any) -> Reply:
            name = f"{proxied} {options}"
            if name not in ports:
                door: Any = shared.door(**options)
                app: Any = ProxyHeadersMiddleware(door, ["127.0.0.1"]) if proxied else door
                ports[name] = await stack.enter_async_context(serving(app))
            return await send(ports[name], asked)

        yield ask


# Who may call at all


@pytest.mark.parametrize("where", [LANE, "/v1/me", "/docs", "/health", "/openapi.json"])
async def test_from_an_address_that_is_not_listed_nothing_is_looked_at(
    house: House, ask: Ask, where: str
) -> None:
    method, body = ("POST", b"{not json") if where == LANE else ("GET", None)
    with capture_logs() as logs:
        reply = await ask(request(method, where, [JSON, KEY], body), ip_allow=("10.0.0.0/8",))
    assert (reply.status, reply.json()["code"]) == (403, "IP_NOT_ALLOWED")
    assert house.worked == []
    assert all(name in reply.headers for name in SAFE)
    assert "127.0.0.1" not in reply.body.decode()
    assert [(each["event"], each["status"]) for each in logs] == [("request", 403)]


@pytest.mark.parametrize("listed", ["127.0.0.1/32", "127.0.0.0/8", "0.0.0.0/0"])
async def test_from_an_address_that_is_listed_all_goes_its_way(
    house: House, ask: Ask, listed: str
) -> None:
    assert (await ask(verify(), ip_allow=("2001:db8::/32", listed))).status == 200
    assert (await ask(request("GET", "/v1/me"), ip_allow=("2001:db8::/32", listed))).status == 200
    assert house.worked == ["express", "/v1/me"]


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("10.1.2.3", 200),
        ("::ffff:10.1.2.3", 200),
        ("2001:db8::1", 200),
        ("11.1.2.3", 403),
        ("2001:db9::1", 403),
        ("::ffff:11.1.2.3", 403),
        ("nonsense", 403),
    ],
)
async def test_behind_a_trusted_proxy_the_address_that_it_names_counts(
    ask: Ask, said: str, status: int
) -> None:
    options = {"ip_allow": ("10.0.0.0/8", "2001:db8::/32"), "proxied": True}
    for asked in (
        verify(f"X-Forwarded-For: {said}"),
        request("GET", "/", [f"X-Forwarded-For: {said}"]),
    ):
        assert (await ask(asked, **options)).status == status


async def test_a_forwarded_address_that_no_proxy_vouches_for_opens_nothing(ask: Ask) -> None:
    for asked in (
        verify("X-Forwarded-For: 10.0.0.1"),
        request("GET", "/", ["X-Forwarded-For: 10.0.0.1"]),
    ):
        assert (await ask(asked, ip_allow=("10.0.0.0/8",))).status == 403


async def test_probes_are_answered_to_everybody(house: House, ask: Ask) -> None:
    """Whoever restarts a server that is not well may be anywhere, and these two say no more."""
    for path in ("/health/live", "/health/ready"):
        assert (await ask(request("GET", path), ip_allow=("10.0.0.0/8",))).status == 200


# Which pages of other origins may


async def test_a_listed_page_may_call_and_read_what_limits_and_positions_say(ask: Ask) -> None:
    for asked in (
        verify(f"Origin: {APP}"),
        request("GET", "/v1/me", [f"Origin: {APP}"]),
        request("GET", "/boom", [f"Origin: {APP}"]),
        request("POST", "/v1/me", [f"Origin: {APP}", JSON], b"{no"),
        request("POST", LANE, [f"Origin: {APP}", JSON, f"Long: {'x' * 20_000}"], b"{}"),
    ):
        reply = await ask(asked, cors=CORS)
        assert reply.headers["access-control-allow-origin"] == APP
        assert reply.headers["access-control-allow-credentials"] == "true"
        assert reply.headers["vary"] == "origin"
        exposed = reply.headers["access-control-expose-headers"].split(", ")
        assert {"ratelimit", "ratelimit-policy", "retry-after", "tollhouse-position"} < {*exposed}
        assert {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} < {*exposed}


async def test_a_listed_page_may_ask_first(house: House, ask: Ask) -> None:
    for path in (LANE, "/v1/me"):
        first = [f"Origin: {APP}", "Access-Control-Request-Method: PATCH"]
        reply = await ask(request("OPTIONS", path, first), cors=CORS)
        assert (reply.status, reply.body) == (204, b"")
        assert reply.headers["access-control-allow-origin"] == APP
        assert "patch" in reply.headers["access-control-allow-methods"].split(", ")
        known = reply.headers["access-control-allow-headers"].split(", ")
        assert {"authorization", "content-type", "idempotency-key", "x-api-key"} < {*known}
        assert reply.headers["access-control-max-age"] == "600"
    assert house.worked == []


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "null",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.example",
        "https://xapp.example.com",
        f"{APP}, https://evil.example.com",
        "*",
    ],
)
async def test_no_other_page_is_let_in_and_none_is_where_nothing_is_set(
    ask: Ask, origin: str
) -> None:
    for cors in (CORS, None):
        for asked in (
            verify(f"Origin: {origin}"),
            request("GET", "/v1/me", [f"Origin: {origin}"]),
            request("OPTIONS", "/", [f"Origin: {origin}", "Access-Control-Request-Method: GET"]),
        ):
            headers = (await ask(asked, cors=cors)).headers
            assert not [name for name in headers if name.startswith("access-control-")]
            assert cors is None or headers["vary"] == "origin"


async def test_without_an_origin_verification_takes_its_shortest_way(
    house: House, ask: Ask
) -> None:
    for options in ({}, {"cors": CORS, "ip_allow": ("127.0.0.0/8",)}):
        house.worked.clear()
        reply = await ask(verify(), **options)
        assert (reply.status, house.worked) == (200, ["express"])
        assert "vary" not in reply.headers


# What every answer carries


async def test_every_answer_carries_the_safe_headers_even_one_that_the_app_never_saw(
    ask: Ask,
) -> None:
    for name, asked in {
        "a page": request("GET", "/"),
        "personal": request("GET", "/v1/me"),
        "a fault": request("GET", "/boom"),
        "a refusal": request("POST", "/v1/me", [JSON], b"{no"),
        "the lane": request("POST", LANE, [JSON, KEY, "Tollhouse-Min-Position: x:1"], b"{}"),
        "the express lane": verify(),
        "too many headers": request("GET", "/", [f"h{n}: x" for n in range(80)]),
        "no HTTP": b"nonsense\r\n\r\n",
        "a flood": b"GET / HTTP/1.1\r\nx: " + b"x" * 70_000,
    }.items():
        reply = await ask(asked, production=True)
        assert all(each in reply.headers for each in SAFE), name
        assert "max-age=31536000" in reply.headers["strict-transport-security"], name
        policy = reply.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "server" not in reply.headers or reply.headers["server"] == "uvicorn"
        if name != "a page":
            assert name in ("a fault", "too many headers") or (
                reply.headers["cache-control"] == "no-store"
            ), name


# How many may be connected


class Few(ExpressHttp):
    most = 2
    head_deadline_seconds = 5.0


async def test_connections_beyond_the_cap_are_told_so_and_those_that_are_open_go_on(
    house: House,
) -> None:
    async with serving(house.door(), Few) as port:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for asked in (verify(), request("GET", "/v1/me")):
            reply = await send(port, asked)
            assert (reply.status, reply.json()["code"]) == (503, "OVERLOADED")
            assert reply.headers["retry-after"]
            assert reply.headers["connection"] == "close"
            assert all(each in reply.headers for each in SAFE)
        assert house.worked == []
        for reader, writer in opened:
            writer.write(verify())
            assert b" 200 " in await reader.readuntil(b"\r\n")
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(5):
            while (await send(port, verify())).status != 200:  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", ["/v1/me", LANE])
@pytest.mark.parametrize("hosts", ["", "Host: a\r\nHost: b\r\n"])
async def test_a_request_names_its_host_once(ask: Ask, path: str, hosts: str) -> None:
    """RFC 9112, 3.2: or whoever stands between takes another one than we do."""
    head = f"POST {path} HTTP/1.1\r\n{hosts}{KEY}\r\n{JSON}\r\nContent-Length: 2\r\n\r\n"
    reply = await ask(head.encode() + b"{}")
    assert (reply.status, reply.json()["param"]) == (400, "Host")
    old = f"POST {path} HTTP/1.0\r\n{KEY}\r\n{JSON}\r\nContent-Length: 2\r\n\r\n"
    assert (await ask(old.encode() + b"{}")).status == 200


async def test_a_refusal_before_the_framework_speaks_oauth_where_oauth_clients_call(
    ask: Ask,
) -> None:
    twice = ["Content-Type: application/x-www-form-urlencoded"]
    reply = await ask(request("POST", "/oauth/introspect", twice, b"token=a&token=b"))
    assert (reply.status, reply.json()["error"]) == (400, "invalid_request")
    assert "error" not in (await ask(request("POST", "/v1/me", [JSON], b"{no"))).json()
