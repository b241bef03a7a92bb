"""A command with an Idempotency-Key happens once, and its first answer is given again."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import msgspec
import pytest

from api.http.answers import Answer
from api.http.app import create_app
from api.http.idempotency import Ticket
from application.ports import Ports, Strength
from house import House
from tests.api.conftest import PASSWORD, FixedProbe, People, refused

pytestmark = pytest.mark.anyio

KEYS = "/v1/keys"
REGISTER = "/v1/auth/register"
HEADER = "Idempotency-Key"


def other_process(ports: Ports, house: House) -> httpx.AsyncClient:
    """A second app on the same store: it shares no memory of what is in flight."""
    app: Any = create_app(
        ports,
        house.verifier,
        FixedProbe(),
        version="1.2.3",
        environment="test",
        production=False,
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_a_replay_is_the_first_answer_and_makes_nothing(
    client: httpx.AsyncClient, people: People
) -> None:
    headers = {**await people.user(), HEADER: "first key"}
    body = {"name": "k", "quota": {"limit": 3, "period": "day"}}
    first = await client.post(KEYS, json=body, headers=headers)
    again = await client.post(KEYS, json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    for name in ("tollhouse-position", "location", "content-type"):
        assert again.headers[name] == first.headers[name]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["request-id"] != first.headers["request-id"]
    listed = (await client.get(KEYS, headers=headers)).json()["items"]
    assert [each["id"] for each in listed] == [first.json()["id"]]


async def test_a_replay_outlives_the_process(
    client: httpx.AsyncClient, people: People, house: House
) -> None:
    headers = {**await people.user(), HEADER: "kept"}
    first = await client.post(KEYS, json={"name": "k"}, headers=headers)
    async with other_process(house.ports, house) as elsewhere:
        again = await elsewhere.post(
            KEYS, content=first.request.content, headers=first.request.headers
        )
    assert (again.status_code, again.content) == (201, first.content)


async def test_registration_and_revocation_replay_too(
    client: httpx.AsyncClient, people: People
) -> None:
    body = {"email": f"{people.name()}@example.com", "password": PASSWORD}
    first = await client.post(REGISTER, json=body, headers={HEADER: "r"})
    again = await client.post(REGISTER, json=body, headers={HEADER: "r"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()

    headers = await people.user()
    path = f"{KEYS}/{(await people.key(headers))['id']}/revoke"
    headers[HEADER] = "end"
    first = await client.post(path, json={"reason": "x"}, headers=headers)
    again = await client.post(path, json={"reason": "x"}, headers=headers)
    assert (first.status_code, again.status_code) == (204, 204)
    assert again.headers["tollhouse-position"] == first.headers["tollhouse-position"]
    assert again.headers["idempotent-replayed"] == "true"


async def test_422_another_body(client: httpx.AsyncClient, people: People) -> None:
    headers = {**await people.user(), HEADER: "mine"}
    assert (await client.post(KEYS, json={"name": "a"}, headers=headers)).status_code == 201
    reply = await client.post(KEYS, json={"name": "b"}, headers=headers)
    refused(reply, 422, "IDEMPOTENCY_KEY_REUSED", HEADER)


async def test_another_caller_or_route_is_another_request(
    client: httpx.AsyncClient, people: People
) -> None:
    mine, theirs = await people.user(), await people.user()
    body = {"name": "k"}
    first = await client.post(KEYS, json=body, headers={**mine, HEADER: "same"})
    second = await client.post(KEYS, json=body, headers={**theirs, HEADER: "same"})
    assert first.json()["account_id"] != second.json()["account_id"]
    path = f"{KEYS}/{first.json()['id']}/revoke"
    assert (await client.post(path, headers={**mine, HEADER: "same"})).status_code == 204


async def test_strangers_who_register_under_the_same_idempotency_key_never_meet(
    client: httpx.AsyncClient, people: People
) -> None:
    bodies = [{"email": f"{people.name()}@example.com", "password": PASSWORD} for _ in range(2)]
    headers = {HEADER: "1"}
    firsts = [await client.post(REGISTER, json=body, headers=headers) for body in bodies]
    assert [reply.status_code for reply in firsts] == [201, 201], firsts[1].text
    assert len({reply.json()["account"]["id"] for reply in firsts}) == 2
    for body, first in zip(bodies, firsts, strict=True):
        assert "idempotent-replayed" not in first.headers
        again = await client.post(REGISTER, json=body, headers=headers)
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotent-replayed"] == "true"


async def test_refusals_are_not_remembered(client: httpx.AsyncClient, people: People) -> None:
    headers = {**await people.user(), HEADER: "again"}
    refused(
        await client.post(KEYS, json={"name": ""}, headers=headers), 400, "INVALID_REQUEST", "name"
    )
    assert (await client.post(KEYS, json={"name": "k"}, headers=headers)).status_code == 201


@pytest.mark.parametrize("key", [b"", b"x" * 256, b"\xe9", b"a\tb"])
async def test_400_what_is_no_idempotency_key(
    client: httpx.AsyncClient, people: People, key: bytes
) -> None:
    headers = [(b"authorization", (await people.user())["authorization"].encode())]
    reply = await client.post(KEYS, json={"name": "k"}, headers=[*headers, (HEADER.encode(), key)])
    refused(reply, 400, "INVALID_REQUEST", HEADER)
    twice = [(HEADER.encode(), b"a"), (HEADER.encode(), b"b")]
    reply = await client.post(KEYS, json={"name": "k"}, headers=[*headers, *twice])
    refused(reply, 400, "INVALID_REQUEST", HEADER)


class SlowPasswords:
    """Hashes once it is let."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()

    async def hash(self, password: str) -> str:
        self.asked.set()
        await self.go_on.wait()
        return "no hash"

    async def verify(self, hash: str | None, password: str) -> bool:
        return False

    def needs_rehash(self, hash: str) -> bool:
        return False

    async def strength(self, password: str, words: Sequence[str]) -> Strength:
        return Strength(4)


@pytest.fixture
async def slow(house: House) -> AsyncIterator[tuple[httpx.AsyncClient, SlowPasswords]]:
    passwords = SlowPasswords()
    ports = msgspec.structs.replace(house.ports, passwords=passwords)
    async with other_process(ports, house) as client:
        yield client, passwords


async def test_409_in_flight_and_nobody_waits(
    slow: tuple[httpx.AsyncClient, SlowPasswords], people: People
) -> None:
    client, passwords = slow
    body = {"email": f"{people.name()}@example.com", "password": PASSWORD}

    async def register() -> httpx.Response:
        return await client.post(REGISTER, json=body, headers={HEADER: "slow"})

    first = asyncio.create_task(register())
    await asyncio.wait_for(passwords.asked.wait(), 10)
    second = await register()
    refused(second, 409, "IDEMPOTENCY_IN_FLIGHT", HEADER)
    assert second.headers["retry-after"]
    passwords.go_on.set()
    assert (await first).status_code == 201
    third = await register()
    assert (third.status_code, third.content) == (201, (await first).content)


async def test_two_processes_at_once_make_one_account(
    slow: tuple[httpx.AsyncClient, SlowPasswords],
    client: httpx.AsyncClient,
    people: People,
    house: House,
) -> None:
    """The loser meets the winner's address first, not its record, and is answered alike."""
    one, passwords = slow
    body = {"email": f"{people.name()}@example.com", "password": PASSWORD}

    async def register(at: httpx.AsyncClient) -> httpx.Response:
        return await at.post(REGISTER, json=body, headers={HEADER: "race"})

    late = asyncio.create_task(register(one))
    await asyncio.wait_for(passwords.asked.wait(), 10)
    first = await register(client)
    passwords.go_on.set()
    second = await late
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    assert second.headers["idempotent-replayed"] == "true"


async def test_many_at_once_over_two_processes_make_one_key(
    client: httpx.AsyncClient, people: People, house: House
) -> None:
    headers = {**await people.user(), HEADER: "storm"}
    async with other_process(house.ports, house) as elsewhere:
        replies = await asyncio.gather(
            *(at.post(KEYS, json={"name": "k"}, headers=headers) for at in (client, elsewhere) * 8)
        )
    assert {reply.status_code for reply in replies} <= {201, 409}
    assert len({reply.content for reply in replies if reply.status_code == 201}) == 1
    for reply in replies:
        if reply.status_code == 409:
            refused(reply, 409, "IDEMPOTENCY_IN_FLIGHT", HEADER)
    assert len((await client.get(KEYS, headers=headers)).json()["items"]) == 1


def test_what_is_kept_opens_with_the_idempotency_key_only() -> None:
    answer = Answer(201, b'{"key":"a secret"}', "/v1/keys/key_1")
    ticket = Ticket("acct_1", "POST /v1/keys", "my key", b"the body")
    row = ticket.record(answer, "key_1", 1)
    for kept in (row.digest, row.body_digest, row.answer):
        assert b"secret" not in kept
        assert b"my key" not in kept
        assert b"body" not in kept
    others = (
        Ticket("acct_2", "POST /v1/keys", "my key", b"the body"),
        Ticket("acct_1", "POST /v1/other", "my key", b"the body"),
        Ticket("acct_1", "POST /v1/keys", "your key", b"the body"),
    )
    assert len({each.digest for each in (ticket, *others)}) == 4
    assert ticket.record(answer, "key_1", 1).answer != row.answer


async def test_after_seven_days_the_key_may_be_used_again(
    client: httpx.AsyncClient, people: People, house: House
) -> None:
    headers = {**await people.user(), HEADER: "old"}
    first = await client.post(KEYS, json={"name": "first"}, headers=headers)
    await house.lookups.rows(
        "UPDATE answers SET answered_at = now() - interval '8 days' RETURNING 1", ()
    )
    second = await client.post(KEYS, json={"name": "second"}, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201), second.text
    assert second.json()["name"] == "second"
