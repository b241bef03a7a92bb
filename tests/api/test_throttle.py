"""Limits per address at the door, over real sockets: whom they count, and what they answer."""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from litestar import Litestar, Request, get, post
from litestar.datastructures import State
from litestar.params import FromPath
from litestar.types import HTTPScope, Receive
from uvicorn.middleware.proxy_headers import _TrustedHosts

from api.http.app import create_app
from api.http.door import Door
from api.http.health import Live
from api.http.operation import Operation
from api.http.problems import EXCEPTION_HANDLERS
from api.http.throttle import Throttle, network_of
from api.http.wire import BoundedHttp
from application.errors import Unauthenticated
from application.rate_limits import LimitName, RateStanding
from house import House
from infra.http_server import http_server, mapped
from infra.rate_limits import BoundedMemory, LimitsPerAddress
from tests.api.conftest import FixedProbe, refused
from tests.api.serving import serving

pytestmark = pytest.mark.anyio

LIMIT = 3
KEY = {"x-api-key": "a key that works"}
WRONG = {"x-api-key": "a key that proves nothing"}
FIELDS = ("limit", "remaining", "reset")


def operation(who: Any, **more: Any) -> Operation:
    return Operation(id="x", tag="x", summary="x", description="x", who=who, **more)


class Doorway:
    """The door with its throttle in front of a few routes; `done` counts work that was done.

    It is its own RateLimits, so that each test can begin with new ones on the same server.
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.done = 0
        self.limits = LimitsPerAddress(LIMIT, BoundedMemory(clock=lambda: 1_000_000.25))

    async def hit(self, name: LimitName, who: str) -> RateStanding:
        return await self.limits.hit(name, who)

    async def shared(self) -> bool:
        return True

    def app(self) -> Door:
        @post("/v1/public", opt={"operation": operation("public")}, status_code=200)
        async def public() -> str:
            self.done += 1
            return "done"

        @get("/v1/public/{name:str}", opt={"operation": operation("public")})
        async def named(name: FromPath[str]) -> str:
            raise Unauthenticated("a password that is wrong")

        @get("/v1/unlimited", opt={"operation": operation("public", unlimited=True)})
        async def unlimited() -> Live:
            return Live()

        @get("/v1/private", opt={"operation": operation("user")})
        async def private(request: Request[Any, Any, State]) -> str:
            _check(request.scope)
            return "private"

        async def lane(scope: HTTPScope, receive: Receive) -> bytes:
            _check(scope)
            return b"{}"

        throttle = Throttle(self)
        inner = Litestar(
            [public, named, unlimited, private],
            guards=[throttle.guard],
            exception_handlers=EXCEPTION_HANDLERS,
            openapi_config=None,
            logging_config=None,
        )
        return Door(inner, lane=lane, production=False, throttle=throttle)


def _check(scope: Any) -> None:
    headers = dict(scope["headers"])
    if headers.get(b"x-api-key") != KEY["x-api-key"].encode():
        raise Unauthenticated("whatever it is")


Ask = Callable[..., Any]


@asynccontextmanager
async def asking(doorway: Doorway, *trusted: str) -> AsyncIterator[Ask]:
    """Served as `serve` does it, with these proxies trusted."""
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:  # as in `serving`
        listener.bind(("127.0.0.1", 0))
        server = http_server(doorway.app(), BoundedHttp, trusted)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=20) as client:
            while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag only
                await asyncio.sleep(0.005)

            async def ask(
                method: str, path: str, headers: Mapping[str, str] | None = None
            ) -> httpx.Response:
                return await client.request(method, path, headers=headers)

            try:
                yield ask
            finally:
                server.should_exit = True
                await client.aclose()
                await running


@pytest.fixture(scope="module")
def doorway() -> Doorway:
    return Doorway()


@pytest.fixture(autouse=True)
def _renewed(doorway: Doorway) -> None:
    doorway.renew()


@pytest.fixture(scope="module")
async def ask(doorway: Doorway) -> AsyncIterator[Ask]:
    """Ask as a stranger."""
    async with asking(doorway) as ask:
        yield ask


@pytest.fixture(scope="module", params=["127.0.0.1/32", "127.0.0.0/8"])
async def ask_by_proxy(doorway: Doorway, request: pytest.FixtureRequest) -> AsyncIterator[Ask]:
    """Ask as a proxy that is trusted."""
    async with asking(doorway, request.param) as ask:
        yield ask


def items(field: str) -> dict[str, dict[str, int]]:
    """A List of String Items with Integer parameters (RFC 9651), the only form we send."""
    found = {}
    for item in field.split(", "):
        shape = re.fullmatch(r'"([ -!#-\[\]-~]*)"((?:;[a-z*][a-z0-9_.*-]*=\d{1,15})+)', item)
        assert shape, field
        pairs = (pair.split("=") for pair in shape[2].split(";")[1:])
        found[shape[1]] = {name: int(number) for name, number in pairs}
    return found


def standing(reply: httpx.Response, name: str) -> int:
    """How many remain by the reply's headers, which all have to say the same."""
    policy, now = items(reply.headers["ratelimit-policy"]), items(reply.headers["ratelimit"])
    assert policy == {name: {"q": LIMIT, "w": 60}}
    assert set(now) == {name}
    assert set(now[name]) == {"r", "t"}
    limit, remaining, reset = (int(reply.headers[f"x-ratelimit-{each}"]) for each in FIELDS)
    assert (limit, remaining) == (LIMIT, now[name]["r"])
    assert abs(reset - time.time() - now[name]["t"]) < 5
    assert 1 <= now[name]["t"] <= 60
    return remaining


def throttled(reply: httpx.Response, name: str) -> None:
    refused(reply, 429, "TOO_MANY_REQUESTS")
    assert standing(reply, name) == 0
    # What the words say is what the header says, however much longer than the window it is.
    assert f" {reply.headers['retry-after']} seconds" in reply.json()["detail"]
    assert "within" not in reply.json()["detail"]
    # Not earlier than `t`, and no date.
    assert int(reply.headers["retry-after"]) >= items(reply.headers["ratelimit"])[name]["t"]
    assert len(reply.headers.get_list("ratelimit")) == 1


def unthrottled(reply: httpx.Response, status: int = 200) -> None:
    assert reply.status_code == status
    assert not [name for name in reply.headers if "ratelimit" in name]


async def test_a_public_route_says_how_one_stands_and_ends_with_429(
    ask: Ask, doorway: Doorway
) -> None:
    for remaining in (2, 1, 0):
        reply = await ask("POST", "/v1/public")
        assert reply.status_code == 200
        assert standing(reply, "public") == remaining
    assert doorway.done == LIMIT
    throttled(await ask("POST", "/v1/public"), "public")
    assert doorway.done == LIMIT  # refused before the work


async def test_public_routes_share_a_limit_however_their_path_is_written(ask: Ask) -> None:
    for path in ("/v1/public", "/v1/public/", "//v1/public"):
        reply = await ask("POST", path)
        if reply.status_code != 404:
            assert standing(reply, "public") >= 0
    await ask("GET", "/v1/public/one")
    await ask("GET", "/v1/public/two")
    throttled(await ask("GET", "/v1/public/three"), "public")
    throttled(await ask("POST", "/v1/public/"), "public")


async def test_a_refusal_of_a_public_route_counts_once_and_for_that_route_alone(ask: Ask) -> None:
    for remaining in (2, 1, 0):
        reply = await ask("GET", "/v1/public/login", WRONG)
        refused(reply, 401, "UNAUTHENTICATED")
        assert standing(reply, "public") == remaining
    reply = await ask("GET", "/v1/private", WRONG)
    assert (reply.status_code, standing(reply, "failed")) == (401, 2)


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/private"), ("POST", "/v1/keys/verify")])
async def test_credentials_that_prove_nothing_are_limited_and_a_valid_one_always_passes(
    ask: Ask, method: str, path: str
) -> None:
    for remaining in (2, 1, 0):
        reply = await ask(method, path, WRONG)
        refused(reply, 401, "UNAUTHENTICATED")
        assert reply.headers["www-authenticate"] == "Bearer"
        assert standing(reply, "failed") == remaining
    throttled(await ask(method, path, WRONG), "failed")
    for _ in range(LIMIT + 2):
        unthrottled(await ask(method, path, KEY))
    throttled(await ask(method, path, WRONG), "failed")


async def test_failures_are_counted_over_all_routes_together(ask: Ask) -> None:
    for method, path in (("GET", "/v1/private"), ("POST", "/v1/keys/verify")) * 2:
        last = await ask(method, path, {"authorization": "Bearer a.b.c"})
    throttled(last, "failed")


async def test_who_presents_nothing_fails_no_presentation(ask: Ask) -> None:
    for _ in range(LIMIT + 2):
        unthrottled(await ask("GET", "/v1/private"), 401)
        unthrottled(await ask("POST", "/v1/keys/verify"), 401)


async def test_probes_and_pages_are_without_a_limit(ask: Ask) -> None:
    for _ in range(LIMIT + 2):
        unthrottled(await ask("GET", "/v1/unlimited"))
        unthrottled(await ask("GET", "/nowhere"), 404)
        unthrottled(await ask("DELETE", "/v1/public"), 405)


async def test_rotating_forwarded_addresses_of_a_stranger_defeat_no_limit(ask: Ask) -> None:
    replies = [
        await ask("POST", "/v1/public", {"x-forwarded-for": f"203.0.113.{number}"})
        for number in range(LIMIT + 1)
    ]
    throttled(replies[-1], "public")


async def test_behind_a_trusted_proxy_only_its_own_word_counts(ask_by_proxy: Ask) -> None:
    for number in range(LIMIT):
        # What the client wrote comes first, what the proxy saw comes last.
        seen = f"203.0.113.{number}, 10.0.0.{number}, 198.51.100.7"
        assert (
            await ask_by_proxy("POST", "/v1/public", {"x-forwarded-for": seen})
        ).status_code == 200
    spoofed = {"x-forwarded-for": "127.0.0.1, 203.0.113.99, 198.51.100.7"}
    throttled(await ask_by_proxy("POST", "/v1/public", spoofed), "public")
    ported = {"x-forwarded-for": "198.51.100.7:5678"}
    throttled(await ask_by_proxy("POST", "/v1/public", ported), "public")
    other = {"x-forwarded-for": "198.51.100.8"}
    assert standing(await ask_by_proxy("POST", "/v1/public", other), "public") == LIMIT - 1


async def test_one_with_a_whole_ipv6_network_has_one_limit(ask_by_proxy: Ask) -> None:
    for number in range(LIMIT + 1):
        mine = {"x-forwarded-for": f"2001:db8:1:2:{number:x}::{number}"}
        reply = await ask_by_proxy("POST", "/v1/public", mine)
    throttled(reply, "public")
    next_door = {"x-forwarded-for": "2001:db8:1:3::1"}
    assert standing(await ask_by_proxy("POST", "/v1/public", next_door), "public") == LIMIT - 1


async def test_made_up_addresses_are_one_address(ask_by_proxy: Ask) -> None:
    for number in range(LIMIT + 1):
        reply = await ask_by_proxy("POST", "/v1/public", {"x-forwarded-for": f"nobody-{number}"})
    throttled(reply, "public")


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:0DB8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("nonsense", "unknown"),
        ("192.0.2.1, 192.0.2.2", "unknown"),
        ("", "unknown"),
    ],
)
def test_an_address_counts_for_its_network(host: str, network: str) -> None:
    assert network_of((host, 1)) == network
    assert network_of(None) == "unknown"


def test_a_trusted_proxy_is_trusted_on_a_socket_for_both_kinds_of_addresses() -> None:
    assert mapped(["10.0.0.0/8", "2001:db8::/32"]) == ["::ffff:10.0.0.0/104"]
    trusted = _TrustedHosts(["10.0.0.0/8", *mapped(["10.0.0.0/8"])])
    assert "::ffff:10.1.2.3" in trusted
    assert "::ffff:11.1.2.3" not in trusted


async def test_the_whole_house_is_limited_where_its_reference_says_so(
    house: House, probe: FixedProbe
) -> None:
    """`create_app` puts the guard before every public operation, and the count behind the door."""
    app = create_app(
        house.ports,
        house.verifier,
        probe,
        version="1.2.3",
        environment="test",
        production=False,
        limits=LimitsPerAddress(1, BoundedMemory(clock=lambda: 1_000_000.25)),
    )
    async with (
        serving(app) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        document = (await client.get("/openapi.json")).json()
        assert (await client.get("/v1/plans")).status_code == 200
        for path, operations in document["paths"].items():
            for method, described in operations.items():
                answer = await client.request(method, re.sub(r"\{\w+\}", "x", path))
                documented = described["responses"].get("429")
                if described["security"]:
                    assert documented
                    assert answer.status_code != 429
                else:
                    assert (answer.status_code == 429) == (documented is not None), path
                if documented:
                    shown = {name.lower() for name in documented["headers"]}
                    assert {"retry-after", "ratelimit", "ratelimit-policy"} < shown
        wrong = [await client.post("/v1/keys/verify", headers=WRONG) for _ in range(2)]
        assert [each.status_code for each in wrong] == [401, 429]
