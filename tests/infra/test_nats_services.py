"""A service over NATS answers everybody it can, at once, and nobody can make it do otherwise."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import nats
import pytest
from nats.aio.client import Client
from nats.micro.service import ServiceInfo, ServicePing, ServiceStats

from application.ending import ended
from infra.embedded import RunningNats
from infra.nats.connection import NatsLink
from infra.nats.services import Described, Services, served
from tests.infra.publishing import a_nats, until

DESCRIBED = Described("tollhouse", "1.2.3", "What it does.", "tollhouse")
SUBJECT = "tollhouse.cmd.echo.say"


class Endpoint(NamedTuple):
    name: str
    subject: str
    metadata: dict[str, str]


class Reply(NamedTuple):
    data: bytes
    headers: dict[str, str]


class Echo:
    """Answers what it is sent; `held` until it is let go."""

    endpoints = (Endpoint("echo-say", SUBJECT, {"permission": "none"}),)

    def __init__(self, *, held: bool = False) -> None:
        self.in_work = 0
        self.most = 0
        self.let_go = asyncio.Event()
        if not held:
            self.let_go.set()

    async def answer(self, subject: str, headers: Mapping[str, str] | None, data: bytes) -> Reply:
        self.in_work += 1
        self.most = max(self.most, self.in_work)
        await self.let_go.wait()
        self.in_work -= 1
        if data == b"fail":
            return Reply(b"{}", {"Nats-Service-Error": "NO: no", "Nats-Service-Error-Code": "409"})
        return Reply(data, dict(headers or {}))

    def overloaded(self, subject: str, headers: Mapping[str, str] | None) -> Reply:
        return Reply(b"", {"Nats-Service-Error": "full", "Nats-Service-Error-Code": "503"})


@pytest.fixture(scope="module")
def server() -> Iterator[RunningNats]:
    with a_nats() as running:
        yield running


@asynccontextmanager
async def linked(url: str) -> AsyncIterator[NatsLink]:
    link = NatsLink(url)
    running = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        await ended(running)


@asynccontextmanager
async def serving(url: str, echo: Echo, **bounds: int) -> AsyncIterator[Services]:
    async with linked(url) as link:
        services = Services(link, DESCRIBED, echo, **bounds)
        running = asyncio.create_task(services.run())
        await until(lambda: subscribed(services))
        try:
            yield services
        finally:
            await ended(running)
            await services.stop()


async def subscribed(services: Services) -> bool:
    return len(services._subscriptions) == 10


@asynccontextmanager
async def calling(server: RunningNats) -> AsyncIterator[Client]:
    client = await nats.connect(
        server.caller_url, inbox_prefix="_CALLER.caller", reconnect_time_wait=0, error_cb=ignored
    )
    try:
        yield client
    finally:
        await client.close()


async def ignored(error: Exception) -> None:
    """The tests look at what came of it."""


@pytest.mark.anyio
async def test_requests_are_in_work_together(server: RunningNats) -> None:
    """Else no group of verifications could form."""
    echo = Echo(held=True)
    async with serving(server.commands_url, echo), calling(server) as client:
        asked = [
            asyncio.create_task(client.request(SUBJECT, str(number).encode(), timeout=5))
            for number in range(64)
        ]
        await until(lambda: reached(echo, 64))
        echo.let_go.set()
        answers = await asyncio.gather(*asked)
        assert [answer.data for answer in answers] == [str(n).encode() for n in range(64)]


async def reached(echo: Echo, count: int) -> bool:
    return echo.in_work == count


@pytest.mark.anyio
async def test_who_finds_no_room_is_told_at_once(server: RunningNats) -> None:
    """By number, and by bytes; those in work are answered none the worse."""
    echo = Echo(held=True)
    async with (
        serving(server.commands_url, echo, most_in_work=8, most_bytes_in_work=100) as services,
        calling(server) as client,
    ):
        first = [asyncio.create_task(client.request(SUBJECT, b"1", timeout=5)) for _ in range(8)]
        await until(lambda: reached(echo, 8))
        excess = await asyncio.gather(*(client.request(SUBJECT, b"2") for _ in range(100)))
        assert {(answer.headers or {})["Nats-Service-Error-Code"] for answer in excess} == {"503"}
        echo.let_go.set()
        assert {answer.data for answer in await asyncio.gather(*first)} == {b"1"}
        large = await client.request(SUBJECT, b"x" * 101)
        assert (large.headers or {})["Nats-Service-Error-Code"] == "503"
        assert (await client.request(SUBJECT, b"x" * 99)).data == b"x" * 99
        assert echo.most == 8
        [stats] = services.stats()["endpoints"]
        assert stats["num_requests"] == 110
        assert stats["num_errors"] == stats["data"]["overloaded"] == 101


@pytest.mark.anyio
async def test_it_is_discovered_and_counts(server: RunningNats) -> None:
    """By the services protocol, read by the library's own types; as a caller may."""
    async with serving(server.commands_url, Echo()) as services, calling(server) as client:
        for whom in ("", ".tollhouse", f".tollhouse.{services.id}"):
            ping = ServicePing.from_dict(await asked(client, f"$SRV.PING{whom}"))
            assert (ping.name, ping.version, ping.id) == ("tollhouse", "1.2.3", services.id)
        info = ServiceInfo.from_dict(await asked(client, "$SRV.INFO.tollhouse"))
        [endpoint] = info.endpoints
        assert (endpoint.subject, endpoint.queue_group) == (SUBJECT, "tollhouse")
        assert endpoint.metadata == {"permission": "none"}
        await client.request(SUBJECT, b"well")
        await client.request(SUBJECT, b"fail")
        [counted] = ServiceStats.from_dict(await asked(client, "$SRV.STATS.tollhouse")).endpoints
        assert (counted.num_requests, counted.num_errors, counted.last_error) == (2, 1, "NO: no")
        assert counted.processing_time > 0


async def asked(client: Client, subject: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((await client.request(subject, timeout=5)).data)
    return document


@pytest.mark.anyio
async def test_answers_go_to_inboxes_only(server: RunningNats) -> None:
    """A caller names the subject of the answer. We may publish what it may not: facts, here."""
    echo = Echo()
    # Even as the user who may publish everything.
    async with serving(server.url, echo) as services, calling(server) as client:
        other = await nats.connect(server.url)
        heard = await other.subscribe(">")
        await other.flush()
        for inbox in ("tollhouse.evt.account.closed", "tollhouse.usage", "$JS.API.X", SUBJECT, ""):
            await client.publish(SUBJECT, b"forged", reply=inbox)
            await client.publish("$SRV.PING", b"", reply=inbox)
        assert (await client.request(SUBJECT, b"asked")).data == b"asked"
        await other.flush()
        await other.flush()
        subjects = {(await heard.next_msg()).subject for _ in range(heard.pending_msgs)}
        assert {each.split(".")[0] for each in subjects} == {"tollhouse", "$SRV", "_CALLER"}
        assert {each for each in subjects if each.startswith("tollhouse")} == {SUBJECT}
        assert services.stats()["endpoints"][0]["data"]["without_inbox"] == 5
        assert echo.most == 1
        await other.close()


@pytest.mark.anyio
async def test_no_message_ends_the_service(server: RunningNats) -> None:
    """The client of nats-py stops reading for good at a subject that isn't UTF-8, and at a status
    in front of the headers that isn't."""
    async with serving(server.commands_url, Echo()), calling(server) as client:
        for inbox, headers in (
            (b"_INBOX.\xff\xfe", b""),
            (b"_INBOX.x", b"A\xff: b\xff\r\n"),
            (b"_INBOX.x", b"no colon\r\n"),
            (b"_INBOX.x", b": no name\r\nTwo Words: x\r\n"),
        ):
            await raw(server, inbox, b"NATS/1.0\r\n" + headers + b"\r\n")
        for status in (b"503", b"503 \xff\xfe", b"\xff\xfe\xfd", b"503 x\r\nA: \xff", b"", b"\r"):
            await raw(server, b"_INBOX.x", b"NATS/1.0 " + status + b"\r\n\r\n")
        assert (await client.request(SUBJECT, b"still there", timeout=3)).data == b"still there"


async def raw(server: RunningNats, inbox: bytes, headers: bytes) -> None:
    """Send a request as no library would."""
    user, _, rest = server.caller_url.removeprefix("nats://").partition(":")
    word, _, address = rest.partition("@")
    reader, writer = await asyncio.open_connection(*address.split(":"))
    login = json.dumps({"user": user, "pass": word, "verbose": False, "headers": True})
    size = len(headers)
    writer.write(b"CONNECT %b\r\n" % login.encode())
    writer.write(
        b"HPUB %b %b %d %d\r\n%b\r\nPING\r\n" % (SUBJECT.encode(), inbox, size, size, headers)
    )
    assert b"-ERR" not in await reader.readuntil(b"PONG\r\n")
    writer.close()


@pytest.mark.anyio
async def test_it_is_there_when_nats_comes_late_and_when_it_comes_back() -> None:
    with a_nats() as server:
        server.process.stop()
        async with linked(server.commands_url) as link, served(link, DESCRIBED, Echo()) as services:
            assert not link.connected
            server.restart()
            await until(lambda: subscribed(services))
            async with calling(server) as client:
                assert (await client.request(SUBJECT, b"late", timeout=5)).data == b"late"
                server.restart()

                async def answers() -> bool:
                    return (await client.request(SUBJECT, b"back", timeout=1)).data == b"back"

                await until(answers)


@pytest.mark.anyio
async def test_stopping_loses_no_request_where_another_goes_on(server: RunningNats) -> None:
    """What came is answered, by this one or by the next; the queue group gives it to one."""
    echo, other = Echo(), Echo()
    done = 0
    async with serving(server.commands_url, other), calling(server) as client:
        stop = asyncio.Event()

        async def ask() -> None:
            nonlocal done
            while not stop.is_set():
                assert (await client.request(SUBJECT, b"?", timeout=5)).data == b"?"
                done += 1

        asking = [asyncio.create_task(ask()) for _ in range(16)]
        for _ in range(3):
            async with serving(server.commands_url, echo):
                before = done
                await until(lambda before=before: more(lambda: done, before + 200))  # type: ignore[misc]
        stop.set()
        await asyncio.gather(*asking)


async def more(count: Any, wanted: int) -> bool:
    return bool(count() >= wanted)


@pytest.mark.anyio
async def test_stopping_ends_in_time_whatever_holds_it_up() -> None:
    """Work that doesn't end, and a server that doesn't answer."""
    with a_nats() as server:
        echo = Echo(held=True)
        async with serving(server.commands_url, echo) as services, calling(server) as client:
            await client.publish(SUBJECT, b"", reply="_CALLER.caller.x")
            await until(lambda: reached(echo, 1))
            os.kill(server.process.pid, signal.SIGSTOP)
            try:
                async with asyncio.timeout(30):
                    await services.stop(grace_seconds=0.3)
            finally:
                os.kill(server.process.pid, signal.SIGCONT)
            # The answer that nobody waits for any more comes now, and the client goes on.
            await services._client.rtt(timeout=5)  # type: ignore[union-attr]


@pytest.mark.anyio
async def test_each_side_may_do_its_own_and_no_more(server: RunningNats) -> None:
    """Readers send no commands and hear no answers; callers and those who answer write no fact."""
    for url, wrong, listening in (
        (server.reader_url, (SUBJECT, "$SRV.PING"), ("_CALLER.caller.x", SUBJECT, "$SRV.PING")),
        (server.caller_url, ("tollhouse.evt.x.y", "$JS.API.INFO", "_INBOX.x"), ("_INBOX.>", ">")),
        (server.commands_url, ("tollhouse.evt.x.y", "tollhouse.usage", SUBJECT), ("_CALLER.>",)),
    ):
        refusals: list[str] = []

        async def refused(error: Exception, refusals: list[str] = refusals) -> None:
            refusals.append(str(error))

        client = await nats.connect(url, error_cb=refused)
        for subject in wrong:
            await client.publish(subject, b"")
        for subject in listening:
            await client.subscribe(subject)
        await client.flush()  # its PING overtakes what waits; the next one doesn't
        await client.flush()
        await client.close()
        assert len(refusals) == len(wrong) + len(listening), refusals
