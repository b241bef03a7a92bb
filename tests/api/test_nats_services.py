"""Commands over NATS: the same shapes, refusals and exactness as over HTTP, on a real server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import nats
import pytest
from nats.aio.client import Client

from api.nats.services import DESCRIPTION, ENDPOINTS, QUEUE, SERVICE, CommandServices
from infra.embedded import RunningNats
from infra.nats.connection import NatsLink
from infra.nats.services import Described, Services
from main import House
from tests.api.conftest import People
from tests.api.nats_calling import Caller, Reply, answered, refused
from tests.infra.publishing import a_nats, until

pytestmark = pytest.mark.anyio

SUBJECTS = {each.subject for each in ENDPOINTS}
DESCRIBED = Described(SERVICE, "1.2.3", DESCRIPTION, QUEUE)


@pytest.fixture(scope="module")
async def nats_server() -> AsyncIterator[RunningNats]:
    with a_nats() as server:
        yield server


@pytest.fixture(scope="module")
async def services(house: House, nats_server: RunningNats) -> AsyncIterator[Services]:
    link = NatsLink(nats_server.commands_url)
    connecting = asyncio.create_task(link.run())
    services = Services(link, DESCRIBED, CommandServices(house.ports, house.verifier))
    running = asyncio.create_task(services.run())
    yield services
    running.cancel()
    await services.stop()
    connecting.cancel()
    await asyncio.gather(running, connecting, return_exceptions=True)


@pytest.fixture(scope="module")
async def wire(services: Services, nats_server: RunningNats) -> AsyncIterator[Client]:
    client = await nats.connect(nats_server.caller_url, inbox_prefix="_CALLER.caller")

    async def there() -> bool:
        return bool((await client.request("$SRV.PING.tollhouse")).data)

    await until(there)
    yield client
    await client.close()


@pytest.fixture(scope="module")
async def service(wire: Client, people: People) -> Caller:
    """A caller who may do everything that services may."""
    headers = await people.service(
        "keys.verify", "keys.issue", "keys.manage", "quotas.read", "credits.spend"
    )
    return Caller(wire, headers["authorization"].removeprefix("Bearer "))


async def test_a_key_is_verified(service: Caller, people: People) -> None:
    made = await people.key(await people.user())
    verdict = answered(await service.ask("keys.verify", key=made["key"]))
    assert (verdict["valid"], verdict["code"], verdict["key_id"]) == (True, "VALID", made["id"])
