"""Keys per hour and account, over HTTP: the refusal says how to go on."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from api.http.app import create_app
from application.ports import Policy
from house import House
from tests.api.conftest import FixedProbe, People
from tests.api.serving import serving

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def client(house: House, probe: FixedProbe) -> AsyncIterator[httpx.AsyncClient]:
    """A server that lets an account be issued two keys in an hour."""
    ports = msgspec.structs.replace(house.ports, policy=Policy(keys_per_hour=2))
    app = create_app(
        ports, house.verifier, probe, version="1.2.3", environment="test", production=False
    )
    async with serving(app) as port:
        base = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=20) as client:
            yield client


async def test_refusal_says_when_there_are_more(client: httpx.AsyncClient, people: People) -> None:
    user = await people.user()
    once = {**user, "idempotency-key": "first"}

    async def ask(headers: dict[str, str], **body: Any) -> httpx.Response:
        return await client.post("/v1/keys", json={"name": "a key", **body}, headers=headers)

    first = await ask(once)
    assert [first.status_code, (await ask(user, quota={"limit": 0})).status_code] == [201, 400]
    second = await ask(user)
    refused = await ask(user)
    assert (second.status_code, refused.status_code) == (201, 429), refused.text
    assert refused.json()["code"] == "TOO_MANY_REQUESTS"
    wait = int(refused.headers["retry-after"])
    assert 0 < wait <= 3600
    assert refused.headers["ratelimit-policy"] == '"keys";q=2;w=3600'
    assert refused.headers["ratelimit"] == f'"keys";r=0;t={wait}'
    assert refused.headers["x-ratelimit-limit"] == "2"
    assert int(refused.headers["x-ratelimit-reset"]) % 3600 == 0
    # What was made already is answered again, and secrets go on being replaced.
    again = await ask(once)
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
    rotated = await client.post(f"/v1/keys/{first.json()['id']}/rotate", json={}, headers=user)
    assert rotated.status_code == 200, rotated.text
    staff = await people.staff()
    account = first.json()["account_id"]
    assert (await ask(staff, account_id=account, reason="asked for")).status_code == 201
