"""Commands over NATS: the same shapes, refusals and exactness as over HTTP, on a real server."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import nats
import psycopg
import pytest
import structlog
from nats.aio.client import Client
from nats.micro.service import ServiceInfo

from api.nats.endpoint import KIB
from api.nats.services import DESCRIPTION, ENDPOINTS, QUEUE, SERVICE, CommandServices
from application.ending import ended
from application.starting import prepare
from house import House, opened
from infra.embedded import RunningNats, RunningPostgres
from infra.nats.connection import NatsLink
from infra.nats.services import Described, Services, served
from infra.postgres.connection import conninfo
from infra.settings import Settings
from tests.api.conftest import ADMIN, People
from tests.api.nats_calling import Caller, Reply, answered, refused
from tests.conftest import fresh_database
from tests.infra.publishing import a_nats, until

pytestmark = pytest.mark.anyio
OWN_HOUSE = True  # which the processes of NATS open, too

COMMANDS = [each.subject.removeprefix("tollhouse.cmd.") for each in ENDPOINTS]
DESCRIBED = Described(SERVICE, "1.2.3", DESCRIPTION, QUEUE)
PERMISSIONS = ("keys.verify", "keys.issue", "keys.manage", "quotas.read", "credits.spend")
NOBODY = "acct_00000000000000000000000000"
NO_KEY = "key_00000000000000000000000000"

# Enough of each to be carried out, if only it were permitted.
BODIES: dict[str, dict[str, Any]] = {
    "keys.verify": {"key": "th_live_nobody"},
    "keys.verify-batch": {"items": [{"key": "th_live_nobody"}]},
    "keys.issue": {"name": "k"},
    "keys.rotate": {"key_id": NO_KEY},
    "keys.revoke": {"key_id": NO_KEY},
    "quotas.get": {},
    "credits.spend": {"account_id": NOBODY, "amount": "1.00"},
    "credits.hold": {"account_id": NOBODY, "amount": "1.00"},
    "credits.capture": {"hold_id": "hold_00000000000000000000000000"},
    "credits.release": {"hold_id": "hold_00000000000000000000000000"},
}


@pytest.fixture(scope="module")
def url(postgres_server: RunningPostgres) -> Iterator[str]:
    with fresh_database(postgres_server) as url:
        yield url


@asynccontextmanager
async def a_house(url: str) -> AsyncIterator[House]:
    """What a serve process opens; several may be open on one database."""
    settings = Settings(
        environment="test",
        master_key=b"m" * 32,
        key_pepper=b"p" * 32,
        argon2_memory_kib=7168,
        argon2_time=1,
        require_verified_email=False,
        directory_max_staleness_ms=30_000,
    )
    async with opened(settings, url, verifying=True) as house:
        yield house


@pytest.fixture(scope="module")
async def house(url: str) -> AsyncIterator[House]:
    async with a_house(url) as house:
        await prepare(house.ports, "start", *ADMIN)
        yield house


@pytest.fixture(scope="module")
def nats_server() -> Iterator[RunningNats]:
    with a_nats() as server:
        yield server


@asynccontextmanager
async def serving(house: House, server: RunningNats) -> AsyncIterator[Services]:
    link = NatsLink(server.commands_url)
    connecting = asyncio.create_task(link.run())
    commands = CommandServices(house.ports, house.verifier)
    async with served(link, DESCRIBED, commands) as services:
        yield services
    await ended(connecting)


@pytest.fixture(scope="module")
async def wire(house: House, nats_server: RunningNats) -> AsyncIterator[Client]:
    """The connection of a service that calls, with somebody there who answers."""
    async with serving(house, nats_server):
        client = await nats.connect(nats_server.caller_url, inbox_prefix="_CALLER.caller")

        async def there() -> bool:
            return bool((await client.request("$SRV.PING.tollhouse", timeout=0.2)).data)

        await until(there)
        yield client
        await client.close()


@pytest.fixture(scope="module")
async def service(wire: Client, people: People) -> Caller:
    """A caller who may do everything that services may."""
    return Caller(wire, await a_service(people, *PERMISSIONS))


async def a_service(people: People, *permissions: str) -> str:
    """The secret of a new service key."""
    headers = await people.service(*permissions)
    return headers["authorization"].removeprefix("Bearer ")


async def test_it_says_what_it_takes(wire: Client) -> None:
    """$SRV.INFO lists every command with the right it needs and the schema of its body."""
    message = await wire.request("$SRV.INFO.tollhouse")
    info = ServiceInfo.from_dict(json.loads(message.data))
    assert {each.subject for each in info.endpoints} == {each.subject for each in ENDPOINTS}
    assert {each.queue_group for each in info.endpoints} == {"tollhouse"}
    for each in info.endpoints:
        assert each.metadata["permission"] in PERMISSIONS
        assert each.metadata["http"].split(" ")[0] in ("GET", "POST")
        assert json.loads(each.metadata["request_schema"])["$ref"]


async def test_a_key_is_verified_by_a_service_and_by_itself(
    service: Caller, people: People, client: httpx.AsyncClient
) -> None:
    """With the document that HTTP answers."""
    made = await people.key(await people.user(), quota={"limit": 5, "period": "day"})
    first = answered(await service.ask("keys.verify", key=made["key"], cost=2))
    assert (first["valid"], first["code"], first["key_id"]) == (True, "VALID", made["id"])
    itself = service.with_key(made["key"])
    again = answered(await itself.send("keys.verify", b""))
    over_http = await client.post("/v1/keys/verify", headers={"x-api-key": made["key"]}, json={})
    assert list(again) == list(over_http.json())
    left = [each["quotas"][0]["remaining"] for each in (first, again, over_http.json())]
    assert left == [3, 2, 1]
    denied = answered(await itself.ask("keys.verify", cost=2))
    assert (denied["valid"], denied["code"]) == (False, "USAGE_EXCEEDED")
    unknown = answered(await service.ask("keys.verify", key="th_live_nobody"))
    assert unknown["code"] == "NOT_FOUND"


async def test_keys_are_verified_in_batches(service: Caller, people: People) -> None:
    made = await people.key(await people.user(), quota={"limit": 2, "period": "day"})
    items = [{"key": made["key"]}, {"key": "th_live_nobody"}, *[{"key": made["key"]}] * 2]
    verdicts = answered(await service.ask("keys.verify-batch", items=items))["items"]
    assert [each["code"] for each in verdicts] == ["VALID", "NOT_FOUND", "VALID", "USAGE_EXCEEDED"]


async def test_a_key_lives_over_nats(service: Caller, people: People) -> None:
    """Issued, rotated with overlap, revoked; each answer has the position that it made."""
    account = (await people.register())["id"]
    issued = await service.ask("keys.issue", name="made", account_id=account)
    made = answered(issued)
    assert made["account_id"] == account
    assert answered(await service.ask("keys.verify", key=made["key"]))["valid"]

    rotated = await service.ask("keys.rotate", key_id=made["id"], overlap_seconds=60)
    new = answered(rotated)
    assert (new["id"], new["generation"]) == (made["id"], 2)
    for secret in (made["key"], new["key"]):
        assert answered(await service.ask("keys.verify", key=secret))["valid"]

    revoked = await service.ask("keys.revoke", key_id=made["id"], reason="done")
    assert (answered(revoked), revoked.data) == (None, b"")
    verdict = answered(await service.ask("keys.verify", key=new["key"]))
    assert verdict["code"] == "REVOKED"
    positions = [each.headers["Tollhouse-Position"] for each in (issued, rotated, revoked)]
    logs, numbers = zip(*(each.split(":") for each in positions), strict=True)
    assert len(set(logs)) == 1
    assert sorted(map(int, numbers)) == list(map(int, numbers))


async def test_too_many_keys_are_refused_as_over_http(
    service: Caller, people: People, client: httpx.AsyncClient
) -> None:
    """The shipped ten in an hour, all at once."""
    account, staff = (await people.register())["id"], await people.staff()
    body = {"plan": "pro", "reason": "for a test"}
    await client.put(f"/v1/accounts/{account}/plan", json=body, headers=staff)
    asked = (service.ask("keys.issue", name="k", account_id=account) for _ in range(11))
    replies = await asyncio.gather(*asked)
    [reply] = [each for each in replies if "Nats-Service-Error" in each.headers]
    refused(reply, 429, "TOO_MANY_REQUESTS")
    assert 0 < int(reply.headers["Retry-After"]) <= 3600
    assert reply.headers["ratelimit-policy"] == '"keys";q=10;w=3600'


async def test_credits_are_spent_and_held_over_nats(service: Caller, people: People) -> None:
    """Of the free plan's 5 credits; and what no longer can be is refused by its code."""
    account = (await people.register())["id"]
    spent = await service.ask("credits.spend", account_id=account, amount="1.50")
    assert answered(spent)["available"] == "3.50"
    held = answered(await service.ask("credits.hold", account_id=account, amount="3.00"))
    assert (held["status"], held["available"]) == ("held", "0.50")
    too_much = await service.ask("credits.spend", account_id=account, amount="0.51")
    refused_any(too_much, 402, "CREDITS_EXHAUSTED")
    part = await service.ask("credits.capture", hold_id=held["id"], amount="1.00")
    assert (answered(part)["status"], answered(part)["available"]) == ("captured", "2.50")
    again = await service.ask("credits.capture", hold_id=held["id"])
    refused_any(again, 409, "HOLD_CAPTURED")
    other = answered(await service.ask("credits.hold", account_id=account, amount="2.50"))
    free = await service.ask("credits.release", hold_id=other["id"])
    assert (answered(free)["status"], answered(free)["available"]) == ("released", "2.50")
    for reply in (spent, part, free):
        assert int(reply.headers["Tollhouse-Position"].partition(":")[2]) > 0
    twice = [
        await service.send(
            "credits.spend",
            json.dumps({"account_id": account, "amount": "2.00"}).encode(),
            {"Idempotency-Key": "pay once"},
        )
        for _ in range(2)
    ]
    assert [answered(each)["available"] for each in twice] == ["0.50", "0.50"]
    for wrong in ("-1.00", "0.001", "1e3"):
        reply = await service.ask("credits.spend", account_id=account, amount=wrong)
        refused_any(reply, 400, "INVALID_AMOUNT")


async def test_quotas_are_told_page_by_page(service: Caller, people: People) -> None:
    account = await people.register()
    made = await people.key(
        await people.sign_in(account["email"]), quota={"limit": 3, "period": "day"}
    )
    await service.ask("keys.verify", key=made["key"])
    items, cursor = [], None
    while True:
        asked = {"account_id": account["id"], "limit": 1, "cursor": cursor}
        page = answered(await service.ask("quotas.get", **asked))
        items += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    used = {(each["owner"], each["environment"]): each["used"] for each in items}
    assert used[made["id"], "live"] == used[account["id"], "live"] == 1


@pytest.mark.parametrize("command", COMMANDS)
async def test_nobody_is_served_without_the_right(
    command: str, service: Caller, people: People
) -> None:
    """No key, an unknown one, one that isn't a service's, a service's without the permission."""
    body, user = BODIES[command], await people.user()
    token = user["authorization"].removeprefix("Bearer ")
    for nobody in (None, "th_live_nobody", token):
        problem = refused(
            await service.with_key(nobody).ask(command, **body), 401, "UNAUTHENTICATED"
        )
        assert ("Tollhouse-Key" in problem["detail"]) == (nobody != "th_live_nobody"), problem
    standard = (await people.key(user))["key"]
    needs = next(each for each in ENDPOINTS if each.subject.endswith(f".{command}")).permission
    other = await a_service(people, *(set(PERMISSIONS) - {needs}))
    for lacking in (standard, other):
        problem = refused_any(
            await service.with_key(lacking).ask(command, **body), 403, "FORBIDDEN"
        )
        assert lacking not in json.dumps(problem)


def refused_any(reply: Reply, status: int, code: str) -> dict[str, Any]:
    """`refused`, whatever it names."""
    return refused(reply, status, code, reply.json().get("param"))


@pytest.mark.parametrize("command", COMMANDS)
async def test_bodies_are_taken_literally(command: str, service: Caller) -> None:
    """What two readers could read in two ways, or not at all, is refused by name."""
    most = next(each for each in ENDPOINTS if each.subject.endswith(f".{command}")).most_bytes
    assert most == (1024 * KIB if command == "keys.verify-batch" else 64 * KIB)
    body = {**BODIES[command], "nosuch": 1}
    refused(await service.ask(command, **body), 400, "UNKNOWN_FIELD", "nosuch")
    twice = b'{"a":1,"a":2}'
    refused(await service.send(command, twice), 400, "DUPLICATE_FIELD", "a")
    refused(await service.send(command, b"{"), 400, "MALFORMED_JSON")
    refused(await service.send(command, b"\xff"), 400, "MALFORMED_JSON")
    refused(await service.send(command, b"[" * 40 + b"]" * 40), 400, "JSON_TOO_DEEP")
    refused(await service.send(command, b'"text"'), 400, "INVALID_REQUEST")
    refused(await service.send(command, b" " * (most + 1)), 413, "BODY_TOO_LARGE")


@pytest.mark.parametrize("command", COMMANDS)
async def test_positions_are_waited_for_and_judged(command: str, service: Caller) -> None:
    """A foreign log, no position at all, one that isn't reached."""
    data = json.dumps(BODIES[command]).encode()
    name = "Tollhouse-Min-Position"
    foreign = await service.send(command, data, {name: "elsewhere:1"})
    refused(foreign, 400, "FOREIGN_LOG", name)
    refused(await service.send(command, data, {name: "x"}), 400, "INVALID_POSITION", name)


async def test_a_position_is_seen_or_refused_in_time(service: Caller, house: House) -> None:
    """All at once, and nobody waits for longer than the patience of 2 s."""
    log_id = house.ports.store.log_id
    ahead = {"Tollhouse-Min-Position": f"{log_id}:{house.directory.position + 1000}"}
    asked = (service.send(each, json.dumps(BODIES[each]).encode(), ahead) for each in COMMANDS)
    async with asyncio.timeout(30):
        for reply in await asyncio.gather(*asked):
            refused(reply, 503, "POSITION_NOT_REACHED", "Tollhouse-Min-Position")
            assert reply.headers["Retry-After"] == "1"
    reached = {"Tollhouse-Min-Position": f"{log_id}:{house.directory.position}"}
    assert answered(await service.send("quotas.get", b"", reached))


async def test_headers_are_bounded_and_unambiguous(service: Caller) -> None:
    many = {f"X-{number}": "1" for number in range(64)}
    refused(await service.send("keys.verify", b"", many), 431, "HEADERS_TOO_LARGE")
    large = {"X-Large": "1" * 16 * 1024}
    refused(await service.send("keys.verify", b"", large), 431, "HEADERS_TOO_LARGE")
    both = {"tollhouse-key": "another"}
    refused(await service.send("keys.verify", b"", both), 400, "INVALID_REQUEST")


async def test_the_request_id_is_the_callers_or_a_new_one(service: Caller) -> None:
    own = await service.send("keys.verify", b"", {"Request-Id": "mine-1"})
    assert own.headers["Request-Id"] == own.json()["request_id"] == "mine-1"
    for unfit in ("two words", "x" * 129, ""):
        reply = await service.send("keys.verify", b"{", {"Request-Id": unfit})
        assert reply.headers["Request-Id"].startswith("req_")


async def test_what_is_not_there_or_not_to_be_seen_is_not_found(
    service: Caller, people: People
) -> None:
    for key_id in (NO_KEY, "key_x", NOBODY):
        refused(await service.ask("keys.rotate", key_id=key_id), 404, "NOT_FOUND")
        refused(await service.ask("keys.revoke", key_id=key_id), 404, "NOT_FOUND")
    for account in (NOBODY, "acct_x", NO_KEY):
        refused(await service.ask("keys.issue", name="k", account_id=account), 404, "NOT_FOUND")
        refused(await service.ask("quotas.get", account_id=account), 404, "NOT_FOUND")
        for command in ("credits.spend", "credits.hold"):
            reply = await service.ask(command, account_id=account, amount="1.00")
            refused(reply, 404, "NOT_FOUND")
    for hold_id in ("hold_00000000000000000000000000", "hold_x", NOBODY):
        for command in ("credits.capture", "credits.release"):
            refused(await service.ask(command, hold_id=hold_id), 404, "NOT_FOUND")


async def test_a_command_is_done_once_for_its_idempotency_key(
    service: Caller, people: People
) -> None:
    """The first answer comes again, secret and position too; another body is refused."""
    account = (await people.register())["id"]
    body, once = {"name": "once", "account_id": account}, {"Idempotency-Key": "the first"}
    data = json.dumps(body).encode()
    first = await service.send("keys.issue", data, once)
    again = await service.send("keys.issue", data, once)
    assert answered(again) == answered(first)
    assert again.headers["Tollhouse-Position"] == first.headers["Tollhouse-Position"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    other = await service.send("keys.issue", b'{"name":"x"}', once)
    refused(other, 422, "IDEMPOTENCY_KEY_REUSED", "Idempotency-Key")
    bad = await service.send("keys.issue", data, {"Idempotency-Key": "\u00e9"})
    refused(bad, 400, "INVALID_REQUEST", "Idempotency-Key")

    at_once = await asyncio.gather(
        *(service.send("keys.issue", data, {"Idempotency-Key": "at once"}) for _ in range(8))
    )
    done = [each for each in at_once if "Nats-Service-Error" not in each.headers]
    for each in at_once:
        if each not in done:
            refused(each, 409, "IDEMPOTENCY_IN_FLIGHT", "Idempotency-Key")
    assert len({each.data for each in done}) == 1


async def test_never_oversold_over_http_and_nats_by_two_processes(
    service: Caller,
    people: People,
    client: httpx.AsyncClient,
    house: House,
    url: str,
    nats_server: RunningNats,
) -> None:
    """64 at once on a key with 50 left, half of them on each road, while two take turns over
    NATS: exactly 50."""
    made = await people.key(await people.staff(), quota={"limit": 50, "period": "lifetime"})
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(a_house(url))
        assert await second.directory.catch_up(house.directory.position, 5)
        other = await stack.enter_async_context(serving(second, nats_server))

        async def both() -> bool:
            await service.ask("keys.verify", key="th_live_nobody")
            return bool(other.stats()["endpoints"][0]["num_requests"])

        await until(both)
        over_nats = (service.ask("keys.verify", key=made["key"]) for _ in range(32))
        headers = {"x-api-key": str(service.key)}
        over_http = (
            client.post("/v1/keys/verify", json={"key": made["key"]}, headers=headers)
            for _ in range(32)
        )
        before = other.stats()["endpoints"][0]["num_requests"]
        replies: list[Any] = await asyncio.gather(*over_nats, *over_http)
        taken = other.stats()["endpoints"][0]["num_requests"] - before
        assert 0 < taken < 32, "the queue group gives each request to one, and some to each"
        codes = [each.json()["code"] for each in replies]
        assert sorted(set(codes)) == ["USAGE_EXCEEDED", "VALID"]
        assert codes.count("VALID") == 50
        last = answered(await service.ask("keys.verify", key=made["key"], cost=0))
        assert last["quotas"][0]["used"] == 50


async def test_a_slow_store_is_said_to_be_unavailable(
    service: Caller, people: People, url: str
) -> None:
    """Counters that can't be locked: everybody hears of it in time, and then it goes on."""
    made = await people.key(await people.user(), quota={"limit": 50, "period": "month"})
    with psycopg.connect(conninfo(url)) as blocker:
        blocker.execute("LOCK TABLE counters, decisions IN ACCESS EXCLUSIVE MODE")
        async with asyncio.timeout(30):
            asked = (service.ask("keys.verify", key=made["key"]) for _ in range(4))
            replies = await asyncio.gather(*asked)
        for reply in replies:
            refused(reply, 503, "STORE_UNAVAILABLE")
            assert reply.headers["Retry-After"] == "1"
        blocker.rollback()

    async def again() -> bool:
        verdict = (await service.ask("keys.verify", key=made["key"])).json()
        return bool(verdict.get("valid"))

    await until(again)


async def test_the_example_of_the_page_works(
    service: Caller, people: People, nats_server: RunningNats
) -> None:
    """docs/nats.md, as it is there."""
    page = (Path(__file__).parents[2] / "docs/nats.md").read_text("utf-8")
    program = page.partition("```python\n")[2].partition("```")[0]
    made = await people.key(await people.user())
    done = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        env={"NATS": nats_server.caller_url, "SERVICE_KEY": str(service.key), "KEY": made["key"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await done.communicate()
    assert said.decode() == "VALID [9]\n"
    subjects = {each.subject for each in ENDPOINTS}
    assert set(re.findall(r"^\| `(tollhouse\.cmd\.[a-z.-]+)`", page, re.MULTILINE)) == subjects


async def test_logs_hold_no_secret(service: Caller, people: People) -> None:
    """One line for each command, by its subject; none for a verification."""
    account = (await people.register())["id"]
    with structlog.testing.capture_logs() as lines:
        made = answered(await service.ask("keys.issue", name="canary-name", account_id=account))
        await service.ask("keys.verify", key=made["key"])
        await service.ask("keys.revoke", key_id=made["id"], reason="canary-reason")
        await service.send("keys.revoke", b'{"canary-field":1}')
    subjects = [each["subject"] for each in lines if each["event"] == "request"]
    assert subjects == [f"tollhouse.cmd.keys.{each}" for each in ("issue", "revoke", "revoke")]
    assert [each["status"] for each in lines if each["event"] == "request"] == [200, 200, 400]
    told = json.dumps(lines, default=str)
    for canary in (made["key"], str(service.key), "canary-"):
        assert canary not in told
