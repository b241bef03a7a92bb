"""Calls over NATS in tests, and what their answers must look like."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from nats.aio.client import Client


class Reply(NamedTuple):
    """An answer as it came."""

    data: bytes
    headers: dict[str, str]

    def json(self) -> Any:
        return json.loads(self.data)


class Caller:
    """Sends commands with a key."""

    def __init__(self, client: Client, key: str | None, patience_seconds: float = 10) -> None:
        self.key = key
        self._client = client
        self._patience = patience_seconds

    def with_key(self, key: str | None) -> "Caller":
        """The same connection, another caller."""
        return Caller(self._client, key)

    async def ask(self, command: str, **body: Any) -> Reply:
        """`keys.verify`, with these fields."""
        return await self.send(command, json.dumps(body).encode())

    async def send(
        self, command: str, data: bytes, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """The same with bytes as they are, and more headers."""
        key = {} if self.key is None else {"Tollhouse-Key": self.key}
        given = {**key, **(headers or {})}
        message = await self._client.request(
            f"tollhouse.cmd.{command}", data, timeout=self._patience, headers=given
        )
        return Reply(message.data, message.headers or {})


def answered(reply: Reply) -> Any:
    """The document of an answer that is no refusal."""
    assert "Nats-Service-Error" not in reply.headers, reply
    assert reply.headers["Request-Id"]
    return reply.json() if reply.data else None


def refused(reply: Reply, status: int, code: str, param: str | None = None) -> dict[str, Any]:
    """The answer is this problem document, complete, and NATS's headers say so."""
    problem: dict[str, Any] = reply.json()
    assert (problem["status"], problem["code"], problem.get("param")) == (status, code, param), (
        problem
    )
    assert reply.headers["Nats-Service-Error-Code"] == str(status)
    assert reply.headers["Nats-Service-Error"] == f"{code}: {problem['title']}"
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert problem["type"] == f"/errors/{code.lower().replace('_', '-')}"
    assert problem["request_id"] == reply.headers["Request-Id"]
    assert problem["detail"]
    return problem
