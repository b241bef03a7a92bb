"""The express lane answers as the ordinary one does, and leaves to it whatever is odd."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.http.app import create_app
from api.http.express import Express
from house import House
from tests.api.conftest import FixedProbe, People
from tests.api.serving import read_reply, request, send, serving

pytestmark = pytest.mark.anyio

PATH = "/v1/keys/verify"
JSON = "Content-Type: application/json"


class Line:
    """A server, and how many requests took the express lane."""

    def __init__(self, port: int, taken: list[Express]) -> None:
        self.port = port
        self.taken = taken


@pytest.fixture
async def line(
    house: House, probe: FixedProbe, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Line]:
    taken: list[Express] = []
    answer = Express.answer

    def noted(self: Express, head: bytes, request_id: str, body: bytes) -> None:
        taken.append(self)
        answer(self, head, request_id, body)

    monkeypatch.setattr(Express, "answer", noted)
    app = create_app(
        house.ports,
        house.verifier,
        probe,
        version="1.2.3",
        environment="test",
        production=False,
    )
    async with serving(app) as port:
        yield Line(port, taken)


@pytest.fixture
async def key(people: People) -> str:
    headers = await people.user()
    made = await people.key(headers, quota={"limit": 5, "period": "day"})
    return str(made["key"])


def asked(key: str, *more: str, body: bytes = b"") -> bytes:
    return request("POST", PATH, [f"X-Api-Key: {key}", JSON, *more], body)


def without(reply: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in reply.items() if name not in names}


async def test_request_is_answered_as_by_the_ordinary_lane(line: Line, key: str) -> None:
    first = await send(line.port, asked(key, "Connection: close"))
    assert line.taken == []
    second = await send(line.port, asked(key, "Request-Id: mine"))
    assert len(line.taken) == 1
    assert second.headers["request-id"] == "mine"
    varying = ("request-id", "date", "content-length", "connection")
    assert without(second.headers, *varying) == without(first.headers, *varying)
    one, two = first.json(), second.json()
    assert list(one) == list(two)
    own = ("verification_id", "request_id", "quotas")
    assert without(one, *own) == without(two, *own)
    assert [each["quotas"][0]["used"] for each in (one, two)] == [1, 2]


async def test_connection_stays_open_and_answers_in_order(line: Line, key: str) -> None:
    await send(line.port, asked(key))
    reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
    health = request("GET", "/health/live")
    # All at once: each waits for the answer to the one before it.
    writer.write(asked(key) + health + asked(key) + asked(key))
    async with asyncio.timeout(10):
        replies = [await read_reply(reader) for _ in range(4)]
        writer.write(asked(key))
        replies.append(await read_reply(reader))
    writer.close()
    used = [each.json()["quotas"][0]["used"] for each in replies if "valid" in each.json()]
    assert used == [2, 3, 4, 5]
    assert line.taken


async def test_body_in_pieces_goes_the_ordinary_way(line: Line, key: str) -> None:
    whole = asked(key, body=json.dumps({"cost": 2}).encode())
    for cut in (10, len(whole) - 3):
        reply = await send(line.port, whole[:cut], whole[cut:], pause_seconds=0.05)
        assert reply.status == 200
    # Cut in the head it comes whole in the end; cut in the body its beginning was looked at.
    assert len(line.taken) == 1
    assert (await send(line.port, asked(key, body=b'{"cost": 2}'))).json()["code"] == (
        "USAGE_EXCEEDED"
    )


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ((), b"{", 400),
        ((), b'{"cost": -1}', 400),
        ((), b'{"cost": 1, "cost": 2}', 400),
        ((), b'{"operation": "unheard-of"}', 400),
        ((), b'{"permissions": "a b"}', 400),
        (("Authorization: Bearer other",), b"{}", 400),
        (("Tollhouse-Min-Position: log:1",), b"{}", 400),
        (("Expect: 100-continue",), b"{}", 200),
        (("Connection: close",), b"{}", 200),
        (("Connection: upgrade", "Upgrade: websocket"), b"{}", 200),
        (("Connection: upgrade", "Upgrade: h2c"), b'{"key": "nobody"}', 403),
        ((), b'{"model": "' + b"m" * 20_000 + b'"}', 400),
        ((), b'{"key": "nobody"}', 403),
        (tuple(f"X-{n}: 1" for n in range(70)), b"{}", 431),
        ((f"X-Long: {'x' * 17_000}",), b"{}", 431),
    ],
)
async def test_what_is_odd_goes_the_ordinary_way(
    line: Line, key: str, headers: tuple[str, ...], body: bytes, status: int
) -> None:
    reply = await send(line.port, asked(key, *headers, body=body))
    if reply.status == 100:
        return
    assert reply.status == status
    assert line.taken == []
    if status >= 400:
        assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("other", ["Basic eDp5", "Bearer other", "Bearer", "nothing"])
async def test_two_credentials_are_refused_in_any_order(line: Line, key: str, other: str) -> None:
    both = [f"Authorization: {other}", f"X-Api-Key: {key}"]
    for headers in (both, both[::-1]):
        reply = await send(line.port, request("POST", PATH, headers, b""))
        assert reply.status in (400, 401)
    assert line.taken == []


async def test_service_is_taken_and_one_without_the_right_is_not(
    line: Line, key: str, people: People
) -> None:
    service = (await people.service("keys.verify"))["authorization"].partition(" ")[2]
    other = (await people.service("keys.issue"))["authorization"].partition(" ")[2]
    body = json.dumps({"key": key, "permissions": "a"}).encode()
    for _ in range(2):
        reply = await send(line.port, asked(service, body=body))
        assert reply.json()["code"] == "INSUFFICIENT_PERMISSIONS"
        refused = await send(line.port, asked(other, body=body))
        assert refused.json()["code"] == "FORBIDDEN"
    assert len(line.taken) == 2


async def test_revoked_key_is_refused_at_once(
    line: Line, key: str, house: House, people: People
) -> None:
    await send(line.port, asked(key))
    assert (await send(line.port, asked(key))).json()["valid"]
    key_id = (await send(line.port, asked(key))).json()["key_id"]
    staff = (await people.staff())["authorization"]
    path = f"/v1/keys/{key_id}/revoke"
    headers = [f"Authorization: {staff}", "Content-Type: application/json"]
    said = b'{"reason": "for a test"}'
    reply = await send(line.port, request("POST", path, headers, said))
    assert reply.status == 204
    assert (await send(line.port, asked(key))).json()["code"] == "REVOKED"


async def test_store_that_is_away_is_a_problem_document(
    line: Line, key: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from application.errors import StoreUnavailable

    await send(line.port, asked(key))

    async def away(flush: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(house.verifier._counting._usage, "count", away)
    reply = await send(line.port, asked(key))
    monkeypatch.undo()
    assert (reply.status, reply.json()["code"]) == (503, "STORE_UNAVAILABLE")
    assert reply.headers["retry-after"]
    assert reply.headers["request-id"] == reply.json()["request_id"]
    async with asyncio.timeout(10):
        while (await send(line.port, asked(key))).status != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_client_that_goes_away_hurts_nobody(line: Line, key: str) -> None:
    await send(line.port, asked(key))
    for _ in range(2):
        _, writer = await asyncio.open_connection("127.0.0.1", line.port)
        writer.write(asked(key))
        await writer.drain()
        writer.transport.abort()
    assert (await send(line.port, asked(key))).status == 200
