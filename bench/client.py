"""A small raw HTTP client: one connection that verifies a key, and costs little."""

import asyncio
import json
from typing import NamedTuple
from urllib.parse import urlsplit


class Reply(NamedTuple):
    """The status, and the verdict where there is one."""

    status: int
    code: str
    valid: bool


class Verifying:
    """A kept connection to one server. After any error, `connect` again."""

    def __init__(self, url: str, caller: str, timeout_seconds: float = 10.0) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._caller = caller
        self._timeout = timeout_seconds
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def verify(
        self, key: str, cost: int = 1, min_position: str = "", operation: str = ""
    ) -> Reply:
        """Ask about this key. Raises OSError, EOFError or TimeoutError when nobody answers."""
        asked: dict[str, str | int] = {"key": key, "cost": cost}
        if operation:
            asked["operation"] = operation
        body = json.dumps(asked).encode()
        head = [
            "POST /v1/keys/verify HTTP/1.1",
            "Host: localhost",
            "Content-Type: application/json",
            f"Authorization: Bearer {self._caller}",
            f"Content-Length: {len(body)}",
        ]
        if min_position:
            head.append(f"Tollhouse-Min-Position: {min_position}")
        try:
            async with asyncio.timeout(self._timeout):
                reader, writer = await self._connected()
                writer.write("\r\n".join([*head, "", ""]).encode() + body)
                return await _reply(reader)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self._reader, self._writer


async def _reply(reader: asyncio.StreamReader) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head.split(b" ", 2)[1])
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    body = json.loads(await reader.readexactly(length)) if length else {}
    return Reply(status, str(body.get("code", "")), body.get("valid") is True)
