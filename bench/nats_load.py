"""The load generator for NATS: one connection, so many requests under way, little work for each.

    python -m bench.nats_load URL KEYS CALLER IN_FLIGHT SECONDS

A closed loop, as wrk is for HTTP: each request is sent when one was answered. The requests are
made beforehand; of the answers only the first bytes are read. Prints a line of JSON (Measured).
"""

import asyncio
import re
import sys
import time
from array import array
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import uvloop

from bench.load import Measured

SUBJECT = b"tollhouse.cmd.keys.verify"
INBOX = b"_INBOX.bench"
LAST_SECONDS = 3.0

_HEAD = re.compile(rb"HMSG _INBOX\.bench\.(\d+) \d+ (\d+) (\d+)\r\n")


class Load(asyncio.Protocol):
    """Keeps `in_flight` requests under way until `stop`."""

    def __init__(self, login: bytes, requests: list[tuple[bytes, bytes]], in_flight: int) -> None:
        self._login = login
        self._requests = requests
        self._at = 0
        self._in_flight = in_flight
        self._sent_at = [0.0] * in_flight
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self.stopping = False
        self.waiting = in_flight
        self.latencies_us = array("I")
        self.refused = 0
        self.valid = 0
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        transport.write(self._login + b"SUB %b.* 1\r\n" % INBOX)
        transport.write(b"".join(self._next(slot) for slot in range(self._in_flight)))

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        now, at, out = time.perf_counter(), 0, []
        while at < len(data):
            head = _HEAD.match(data, at)
            if head is None:
                line = data.find(b"\r\n", at)
                if line < 0 or data.startswith(b"HMSG", at):
                    break
                if data.startswith(b"PING", at):
                    out.append(b"PONG\r\n")
                elif data.startswith(b"-ERR", at):
                    raise RuntimeError(data[at:line].decode())
                at = line + 2
                continue
            end = head.end() + int(head[3]) + 2
            if end > len(data):
                break
            slot = int(head[1])
            self._count(data, head.end() + int(head[2]), slot, now)
            if self.stopping:
                self.waiting -= 1
            else:
                out.append(self._next(slot))
            at = end
        self._rest = data[at:]
        assert self._transport is not None
        self._transport.write(b"".join(out))
        if self.waiting == 0:
            self.ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()

    def _count(self, data: bytes, body: int, slot: int, now: float) -> None:
        self.latencies_us.append(int((now - self._sent_at[slot]) * 1_000_000))
        if data.startswith(b'{"valid":true', body):
            self.valid += 1
        elif not data.startswith(b'{"valid":', body):
            self.refused += 1

    def _next(self, slot: int) -> bytes:
        self._at = (self._at + 1) % len(self._requests)
        sizes, rest = self._requests[self._at]
        self._sent_at[slot] = time.perf_counter()
        return b"HPUB %b %b.%d %b\r\n%b" % (SUBJECT, INBOX, slot, sizes, rest)


def prepared(keys: Path, caller: str) -> list[tuple[bytes, bytes]]:
    """Of each key's request the sizes, and what follows them."""
    headers = b"NATS/1.0\r\nTollhouse-Key: %b\r\n\r\n" % caller.encode()
    found = []
    for key in keys.read_text().split():
        body = msgspec.json.encode({"key": key})
        sizes = b"%d %d" % (len(headers), len(headers) + len(body))
        found.append((sizes, headers + body + b"\r\n"))
    return found


async def run(url: str, keys: Path, caller: str, in_flight: int, seconds: float) -> Measured:
    """Measure for so long."""
    parts = urlsplit(url)
    options = {"user": parts.username, "pass": parts.password, "verbose": False, "headers": True}
    login = b"CONNECT %b\r\n" % msgspec.json.encode(options)
    load = Load(login, prepared(keys, caller), in_flight)
    began = time.perf_counter()
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: load, parts.hostname or "127.0.0.1", parts.port or 4222)
    await asyncio.sleep(seconds)
    load.stopping = True
    took = time.perf_counter() - began
    done = len(load.latencies_us)
    try:
        async with asyncio.timeout(LAST_SECONDS):
            await load.ended.wait()
    except TimeoutError:
        pass
    order = sorted(load.latencies_us)
    return Measured(
        requests=done,
        duration_us=int(took * 1_000_000),
        refused=load.refused,
        broken=load.waiting,
        p50_us=order[len(order) // 2],
        p99_us=order[len(order) * 99 // 100],
        max_us=order[-1],
        answered=len(order),
        valid=load.valid,
    )


if __name__ == "__main__":
    url, keys, caller, in_flight, seconds = sys.argv[1:]
    found = uvloop.run(run(url, Path(keys), caller, int(in_flight), float(seconds)))
    print(msgspec.json.encode(found).decode())
