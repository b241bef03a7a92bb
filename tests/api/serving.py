"""A real uvicorn on a real socket, and a client that sends exactly the bytes it is told."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from litestar.types import ASGIApp

from api.http.express import ExpressHttp
from api.http.wire import BoundedHttp
from infra.http_server import KEEP_ALIVE_SECONDS


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@asynccontextmanager
async def serving(app: ASGIApp, http: type[BoundedHttp] = ExpressHttp) -> AsyncIterator[int]:
    """The port that `app` is served at."""
    # Named as TCP, or asyncio leaves out TCP_NODELAY and many answers take 40 ms.
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app,
            http=http,
            lifespan="off",
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            # A client gives a connection up after five seconds; a server that did so, too, would
            # now and then close it under a request.
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag only
            await asyncio.sleep(0.005)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task


async def send(port: int, *pieces: bytes, pause_seconds: float = 0.0) -> Reply:
    """Send the pieces on a new connection and read one reply."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def drip() -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_seconds)

    dripping = asyncio.create_task(drip())
    try:
        async with asyncio.timeout(10):
            return await read_reply(reader)
    finally:
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        writer.close()


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Reply(int(head[0].split()[1]), headers, body)


def request(
    method: str, target: str, headers: Iterable[str] = (), body: bytes | None = None
) -> bytes:
    """A request's bytes; Content-Length is set if there is a body."""
    lines = [f"{method} {target} HTTP/1.1", "Host: x", *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")
