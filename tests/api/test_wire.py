"""Bounds on connections that never become a request."""

import asyncio
from time import monotonic
from typing import Any

import pytest
from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send

from api.http.wire import MAX_HEAD_BYTES, BoundedHttp
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
