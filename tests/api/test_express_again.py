"""A head that comes again byte for byte is not parsed anew, and nobody can tell."""

import asyncio
import gc
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from weakref import ref

import pytest
import uvicorn
from hypothesis import example, given, settings
from hypothesis import strategies as st
from litestar.types import HTTPScope, Receive, Scope, Send

from api.http.app import create_app
from api.http.door import Door
from api.http.express import ExpressHttp
from api.http.express_door import Reply
from api.http.request_body import collect_body
from house import House
from tests.api.conftest import FixedProbe, People
from tests.api.serving import read_reply, request, serving

pytestmark = pytest.mark.anyio

PATH = "/v1/keys/verify"
JSON = "Content-Type: application/json"
PARSED = "parsed"


class Noting(ExpressHttp):
    """Notes each request that the parser saw."""

    seen: list[str] = []

    def on_message_begin(self) -> None:
        self.seen.append(PARSED)
        super().on_message_begin()


class Forgetful(ExpressHttp):
    """Parses every head."""

    def _remember(self, *_: Any) -> None:
        pass


class Echo:
    """An engine that answers who asks and what; a body that begins with `!` it leaves alone."""

    def caller(self, secret: str, client_ip: str | None) -> str:
        return secret

    def begin(self, body: bytes, caller: str, request_id: str, reply: Reply) -> bool:
        if body.startswith(b"!"):
            return False
        reply(b"express %b %b" % (caller.encode(), body))
        return True

    async def lane(self, scope: HTTPScope, receive: Receive) -> bytes:
        secret = dict(scope["headers"])[b"x-api-key"]
        announced = dict(scope["headers"]).get(b"content-length", b"")
        return b"ordinary %b %b" % (secret, await collect_body(PATH, announced, receive))


class Late(Echo):
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Reply] = []

    def begin(self, body: bytes, caller: str, request_id: str, reply: Reply) -> bool:
        self.waiting.append(reply)
        return True


async def elsewhere(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def connected(http: type[ExpressHttp], echo: Echo | None = None) -> ExpressHttp:
    echo = echo or Echo()
    config = uvicorn.Config(
        Door(elsewhere, lane=echo.lane, express=echo, production=False),
        http=http,
        lifespan="off",
        log_config=None,
        proxy_headers=False,
    )
    config.load()
    protocol = http(
        config=config, server_state=uvicorn.server.ServerState(), app_state={}, _loop=None
    )
    protocol.connection_made(Wire())
    return protocol


def asked(key: str, body: bytes, *more: str) -> bytes:
    return request("POST", PATH, [f"X-Api-Key: {key}", JSON, "Request-Id: r", *more], body)


def in_chunks(key: str, body: bytes) -> bytes:
    head = request(
        "POST", PATH, [f"X-Api-Key: {key}", JSON, "Request-Id: r", "Transfer-Encoding: chunked"]
    )
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


async def answers(protocol: ExpressHttp, pieces: list[bytes]) -> bytes:
    for piece in pieces:
        if not protocol.transport.is_closing():
            protocol.data_received(piece)
        for _ in range(20):
            await asyncio.sleep(0)
    written = protocol.transport.written  # type: ignore[attr-defined]
    protocol.connection_lost(None)
    return re.sub(rb"req_[0-9a-f]{24}", b"req", written)


BODIES = [b"{}", b"[]", b"!!", b'"a"', b"\r\n\r\n", asked("b", b"{}"), in_chunks("b", b"{}")]
# Answered before their bodies came: what follows is body.
EARLY = [
    request("GET", "/elsewhere", ["Content-Length: 1"]),
    request("GET", "/elsewhere", [f"Content-Length: {len(asked('a', b'{}'))}"]),
    request("GET", "/elsewhere", ["Transfer-Encoding: chunked"]),
]
UPGRADE = ("Connection: Upgrade", "Upgrade: h2c")
REQUESTS = st.one_of(
    st.sampled_from(EARLY),
    st.builds(lambda body: asked("a", body, *UPGRADE), st.sampled_from(BODIES)),
    st.builds(asked, st.sampled_from("ab"), st.sampled_from(BODIES)),
    st.builds(in_chunks, st.sampled_from("ab"), st.sampled_from(BODIES)),
    st.builds(lambda key, body: b"\r\n" + asked(key, body), st.just("a"), st.sampled_from(BODIES)),
    st.just(request("GET", "/elsewhere")),
    st.just(asked("a", b"{}", "Expect: 100-continue")),
    st.just(b"POST " + PATH.encode() + b" HTTP/1.1\nHost: x\nX-Api-Key: a\n\n"),
)


@given(
    requests=st.lists(REQUESTS, min_size=2, max_size=6),
    cuts=st.lists(st.integers(0, 400), max_size=3),
    together=st.booleans(),
)
@example(
    requests=[in_chunks("a", b"{}\r\n0\r\n\r\n"), in_chunks("a", b"{}")], cuts=[], together=False
)
@example(requests=[asked("a", b"{}"), asked("a", b"[]")], cuts=[], together=True)
@example(requests=[asked("a", b"{}"), EARLY[1], asked("a", b"{}")], cuts=[], together=False)
@example(requests=[EARLY[0], *[b"Z" + asked("a", b"{}")] * 2], cuts=[], together=False)
@example(requests=[asked("a", b"{}"), EARLY[2], asked("a", b"{}")], cuts=[], together=False)
@settings(max_examples=60)
async def test_what_is_answered_is_what_a_parser_would_have_found(
    requests: list[bytes], cuts: list[int], together: bool
) -> None:
    pieces = [b"".join(requests)] if together else list(requests)
    for cut in cuts:
        last = pieces.pop()
        pieces += [each for each in (last[:cut], last[cut:]) if each]
    again = await answers(connected(ExpressHttp), pieces)
    assert again == await answers(connected(Forgetful), pieces)


async def test_the_same_head_is_parsed_once_and_another_one_again() -> None:
    Noting.seen = []
    pieces = [asked("a", b"{}"), asked("a", b"[]"), asked("a", b"!!"), asked("b", b"{}")]
    written = await answers(connected(Noting), [*pieces, asked("b", b"[]")])
    bodies = [part.partition(b"\r\n\r\n")[2] for part in written.split(b"HTTP/1.1 200 OK")[1:]]
    assert bodies == [
        b"express a {}",
        b"express a []",
        b"ordinary a !!",
        b"express b {}",
        b"express b []",
    ]
    # The second and the last were known by their bytes; what couldn't be answered was parsed.
    assert len(Noting.seen) == 3


async def test_a_connection_that_says_nothing_more_is_closed_and_a_busy_one_is_not() -> None:
    protocol = connected(ExpressHttp)
    protocol.timeout_keep_alive = 0.2  # type: ignore[assignment]
    for _ in range(6):
        protocol.data_received(asked("a", b"{}"))
        await asyncio.sleep(0.05)
    assert not protocol.transport.is_closing()  # 0.3 s after the first
    async with asyncio.timeout(10):
        while not protocol.transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    protocol.connection_lost(None)


async def test_connection_is_not_closed_over_a_request_that_came_at_the_last_moment() -> None:
    late = Late()
    protocol = connected(ExpressHttp, late)
    protocol.timeout_keep_alive = 0.1  # type: ignore[assignment]
    protocol.data_received(asked("a", b"{}"))
    late.waiting.pop()(b"first")
    protocol.data_received(asked("a", b"[]"))
    await asyncio.sleep(0.15)
    assert not protocol.transport.is_closing()
    late.waiting.pop()(b"second")
    assert protocol.transport.written.endswith(b"second")  # type: ignore[attr-defined]
    async with asyncio.timeout(10):
        while not protocol.transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    protocol.connection_lost(None)


async def test_long_head_is_parsed_each_time() -> None:
    """Or ten thousand idle connections would hold gigabytes: one read may bring 256 KiB."""
    Noting.seen = []
    long = asked("a", b"{}", "X-Long:" + " " * 3000 + "x")
    written = await answers(connected(Noting), [long, long])
    assert (written.count(b"express a {}"), len(Noting.seen)) == (2, 2)


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
async def test_connection_that_is_gone_is_forgotten_at_once(error: Exception | None) -> None:
    """The collector comes seldom: what waits for it would add up, as fast as clients come."""
    protocol = connected(ExpressHttp)
    for each in (asked("a", b"{}"), asked("a", b"{}"), request("GET", "/elsewhere")):
        protocol.data_received(each)
        await asyncio.sleep(0.01)
    protocol.data_received(asked("a", b"{}") * 2)
    gone = ref(protocol)
    gc.disable()
    try:
        protocol.connection_lost(error)
        del protocol
        await asyncio.sleep(0.01)
        assert gone() is None
    finally:
        gc.enable()


@pytest.fixture
async def port(house: House, probe: FixedProbe) -> AsyncIterator[int]:
    app = create_app(
        house.ports, house.verifier, probe, version="1", environment="test", production=False
    )
    async with serving(app, Noting) as port:
        yield port


async def test_caller_is_asked_who_it_is_whenever_anything_changed(
    port: int, house: House, people: People
) -> None:
    """One connection, one head: a service that is revoked meanwhile verifies nothing more."""
    key = await people.key(await people.user())
    service = await people.service("keys.verify")
    secret = service["authorization"].partition(" ")[2]
    body = b'{"key":"%b"}' % key["key"].encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def ask() -> Any:
        writer.write(asked(secret, body))
        async with asyncio.timeout(10):
            return (await read_reply(reader)).json()

    Noting.seen = []
    assert [(await ask())["code"] for _ in range(4)] == ["VALID"] * 4
    assert len(Noting.seen) < 4
    resolved = await house.verifier.resolve(secret)
    assert resolved.key is not None
    staff = (await people.staff())["authorization"]
    path = f"/v1/keys/{resolved.key.id}/revoke"
    writer.write(request("POST", path, [f"Authorization: {staff}"], b""))
    assert (await read_reply(reader)).status == 204
    assert (await ask())["code"] == "UNAUTHENTICATED"
    writer.close()


async def test_caller_that_expires_is_refused_at_that_second(
    port: int, house: House, people: People
) -> None:
    key = await people.key(await people.user())
    ends = house.ports.clock() + timedelta(seconds=2)
    service = await people.key(
        await people.staff(),
        kind="service",
        permissions=["keys.verify"],
        expires_at=f"{ends:%Y-%m-%dT%H:%M:%SZ}",
    )
    secret = service["key"]
    body = b'{"key":"%b","cost":0}' % key["key"].encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    codes: list[str] = []
    async with asyncio.timeout(20):
        while not codes or codes[-1] == "VALID":
            writer.write(asked(secret, body))
            codes.append((await read_reply(reader)).json()["code"])
            await asyncio.sleep(0.05)
    assert codes[-1] == "UNAUTHENTICATED"
    assert "VALID" in codes
    assert house.ports.clock() >= ends.replace(microsecond=0)
    writer.close()
