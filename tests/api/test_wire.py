"""Bounds on connections that never become a request."""

import asyncio
import gc
import socket
from time import monotonic
from typing import Any

import pytest
from litestar.enums import ScopeType
from litestar.types import HTTPScope, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from api.http.door import Door
from api.http.request_body import collect_body
from api.http.wire import MAX_AHEAD, MAX_HEAD_BYTES, BoundedHttp, direct_of
from tests.api.serving import read_reply, request, send, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Hasty(BoundedHttp):
    head_deadline_seconds = 0.2


async def names(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body (except at /early) and answers the names of the headers it has then."""
    assert scope["type"] == ScopeType.HTTP
    message: Any = {"more_body": scope["path"] != "/early"}
    while message["more_body"]:
        message = await receive()
    out = b",".join(name for name, _ in scope["headers"])
    length = [(b"content-length", str(len(out)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": out, "more_body": False})


LANE = "/v1/keys/verify"


async def echo_lane(scope: HTTPScope, receive: Receive) -> bytes:
    """Takes the body as the verify lane does and gives it back; "slow" takes 200 ms."""
    direct = direct_of(scope)
    body = None if direct is None else direct.body()
    if body is None:
        announced = dict(scope["headers"]).get(b"content-length", b"")
        body = await collect_body(LANE, announced, receive)
    if body == b'"slow"':
        await asyncio.sleep(0.2)
    return body


def with_lane() -> Door:
    return Door(names, lane=echo_lane, production=False)


async def seconds_until_closed(port: int, *pieces: bytes, pause_seconds: float = 0.05) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = monotonic()
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause_seconds)
        async with asyncio.timeout(5):
            while await reader.read(65536):
                pass
    except ConnectionError:
        pass
    finally:
        writer.close()
    return monotonic() - began


async def test_silent_connections_are_closed() -> None:
    async with serving(names, Hasty) as port:
        assert await seconds_until_closed(port) < 2


async def test_dripping_heads_are_closed() -> None:
    async with serving(names, Hasty) as port:
        head = request("GET", "/")
        assert await seconds_until_closed(port, *[head[:5]], *[b"a"] * 20) < 2


async def test_endless_heads_are_closed() -> None:
    async with serving(names) as port:
        flood = [b"GET / HTTP/1.1\r\nX: ", *[b"a" * 8192] * (MAX_HEAD_BYTES // 8192 + 2)]
        reply = await send(port, *flood)
    assert reply.status == 431


async def test_a_body_that_drips_on_after_the_answer_is_closed() -> None:
    async with serving(names, Hasty) as port:
        head = request("POST", "/early", ["Content-Length: 1000"])
        assert await seconds_until_closed(port, head, *[b"a"] * 20) < 2


@pytest.mark.parametrize(
    "pieces",
    [
        [request("GET", "/"), b"\r\n"],
        [request("POST", "/early", ["Content-Length: 5"]), b"12345"],
    ],
)
async def test_what_begins_no_request_keeps_no_connection_open(pieces: list[bytes]) -> None:
    class Idle(Hasty):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.timeout_keep_alive = 0.2  # type: ignore[assignment]

    async with serving(names, Idle) as port:
        assert await seconds_until_closed(port, *pieces) < 2


async def test_body_is_read_where_another_protocol_is_asked_for() -> None:
    """Java's client asks for HTTP/2 so. Lost, {"key": ...} would be a question about the caller's
    own key; and taken for a request, anybody could smuggle one past a proxy."""
    body = request("GET", "/smuggled")
    upgrade = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAA"]
    head = request("POST", LANE, [*upgrade, f"Content-Length: {len(body)}"])
    chunked = request("POST", LANE, [*upgrade, "Transfer-Encoding: chunked"])
    last = request("POST", LANE, [], b"last")
    async with serving(with_lane()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        pieces = [head + body + head, body, head + body[:9], body[9:], request("GET", "/", upgrade)]
        for piece in [*pieces, chunked, b"4\r\nbody\r\n0\r\n\r\n" + last]:
            writer.write(piece)
            await asyncio.sleep(0.02)
        async with asyncio.timeout(5):
            bodies = [(await read_reply(reader)).body for _ in range(6)]
        writer.close()
    assert bodies[:3] == [body] * 3
    assert b"http2-settings" in bodies[3]
    assert bodies[4:] == [b"body", b"last"]


async def test_framing_is_judged_where_another_protocol_is_asked_for() -> None:
    async with serving(with_lane()) as port:
        upgrade = ["Connection: Upgrade", "Upgrade: h2c", "Transfer-Encoding: gzip"]
        reply = await send(port, request("POST", LANE, upgrade) + request("GET", "/smuggled"))
    assert reply.status == 400


async def large(scope: Scope, receive: Receive, send: Send) -> None:
    body = b"x" * 8_000_000
    length = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": body, "more_body": False})


@pytest.mark.parametrize("requests", [1, MAX_AHEAD + 2])
async def test_who_takes_no_answers_is_cut_off(requests: int) -> None:
    """Or the answers, and whatever was asked ahead, would be held for ever."""
    lost = asyncio.Event()

    class Impatient(BoundedHttp):
        write_deadline_seconds = 0.2 if requests == 1 else 60

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost.set()

    async with serving(large, Impatient) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(request("GET", "/") * requests)
            async with asyncio.timeout(5):
                await lost.wait()


async def test_who_takes_a_long_answer_slowly_gets_all_of_it() -> None:
    class Impatient(BoundedHttp):
        write_deadline_seconds = 0.2

    async with serving(large, Impatient) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        writer.write(request("GET", "/"))
        await reader.readuntil(b"\r\n\r\n")
        left, began = 8_000_000, monotonic()
        async with asyncio.timeout(10):
            while left:
                left -= len(await reader.readexactly(min(left, 400_000)))
                await asyncio.sleep(0.02)
        writer.close()
    assert monotonic() - began > 0.3


async def test_slow_but_honest_clients_are_served_on_one_connection() -> None:
    async with serving(names, Hasty) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(4):
            head = request("POST", "/", [], b"12345")
            for piece in (head[:9], head[9:-3], head[-3:]):
                writer.write(piece)
                await asyncio.sleep(0.05)
            assert (await read_reply(reader)).status == 200
        writer.close()


async def test_pipelined_requests_are_all_answered() -> None:
    async with serving(names, Hasty) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("GET", "/a") + request("POST", "/b", [], b"1") + request("GET", "/c"))
        replies = [await read_reply(reader) for _ in range(3)]
        writer.close()
    assert [reply.status for reply in replies] == [200, 200, 200]


async def test_trailers_never_become_headers() -> None:
    async with serving(names) as port:
        head = request("POST", "/", ["Transfer-Encoding: chunked"])
        reply = await send(port, head, b"1\r\na\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")
    assert b"forwarded" not in reply.body


@pytest.mark.parametrize("body", [b'"quick"', b'"slow"'])
async def test_lane_answers_http_1_0_and_closes(body: bytes) -> None:
    async with serving(with_lane()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("POST", LANE, [], body).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        async with asyncio.timeout(5):
            reply = await read_reply(reader)
            assert await reader.read() == b""  # closed, though the client hasn't
        writer.close()
    assert (reply.status, reply.body) == (200, body)
    assert reply.headers["connection"] == "close"


async def test_lane_sends_100_continue_to_who_waits_for_it() -> None:
    async with serving(with_lane()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(5):
            for body in (b'"one"', b'"slow"'):
                expects = ["Expect: 100-continue", f"Content-Length: {len(body)}"]
                writer.write(request("POST", LANE, expects))
                assert (await read_reply(reader)).status == 100
                writer.write(body)
                reply = await read_reply(reader)
                assert (reply.status, reply.body) == (200, body)
        writer.close()


async def test_pipelined_requests_of_the_lane_and_others_are_answered_in_order() -> None:
    asked = []
    for number in range(20):
        named = [f"Request-Id: mine.{number}"]
        if number % 2:
            asked.append(request("GET", f"/{number}", named))
        else:
            body = b'"slow"' if number % 8 == 4 else b"%d" % number
            asked.append(request("POST", LANE, named, body))
    async with serving(with_lane()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"".join(asked))
        async with asyncio.timeout(10):
            replies = [await read_reply(reader) for _ in asked]
        writer.close()
    assert [reply.status for reply in replies] == [200] * 20
    assert [reply.headers["request-id"] for reply in replies] == [f"mine.{n}" for n in range(20)]
    assert [reply.body for reply in replies[::4]] == [b"0", b'"slow"', b"8", b'"slow"', b"16"]
    assert all(b"request-id" in reply.body for reply in replies[1::2])


async def test_lane_takes_a_chunked_body_whole() -> None:
    async with serving(with_lane()) as port:
        head = request("POST", LANE, ["Transfer-Encoding: chunked"])
        chunks = [b'4\r\n{"a"\r\n', b"3\r\n:1}\r\n", b"0\r\n\r\n"]
        dripped = await send(port, head, *chunks, pause_seconds=0.02)
        at_once = await send(port, head + b"".join(chunks))
    for reply in (dripped, at_once):
        assert (reply.status, reply.body) == (200, b'{"a":1}')


@pytest.mark.parametrize("requests", [1, 3])
async def test_who_has_only_stopped_sending_is_still_answered(requests: int) -> None:
    async with serving(with_lane()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("POST", LANE, [], b'"slow"') * requests)
        writer.write_eof()
        async with asyncio.timeout(5):
            replies = [await read_reply(reader) for _ in range(requests)]
            assert await reader.read() == b""  # nothing more can be asked: closed
        writer.close()
    assert [(reply.status, reply.body) for reply in replies] == [(200, b'"slow"')] * requests


async def test_what_is_no_http_gets_its_problem_document() -> None:
    async with serving(with_lane(), http=BoundedHttp) as port:
        reply = await send(port, b"GET  / nonsense\r\n\r\n")
    assert reply.status == 400
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["code"] == "INVALID_REQUEST"
    assert reply.json()["request_id"] == reply.headers["request-id"]


async def test_a_request_of_the_lane_leaves_no_ring_for_the_collector() -> None:
    """Rings add up to pauses of tens of milliseconds under load."""
    async with serving(with_lane()) as port:
        await send(port, request("POST", "/lane", [], b""))
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(20):
                await send(port, request("POST", "/v1/keys/verify", [], b""))
            gc.collect()
            left = [each for each in gc.garbage if isinstance(each, RequestResponseCycle)]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert left == []
