"""The whole HTTP side on a real Postgres, behind a real socket.

A house takes a second to open, so the modules share one: whatever a test makes has a name that no
other test knows, and what it counts is its own. A module that looks at all there is, or changes
what belongs to everybody, says `OWN_HOUSE = True`.

house    what `main` opens: ports, verifier, directory
client   speaks to it over HTTP
people   registers, signs in and makes keys, each under a new name
"""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest

from api.http.app import create_app
from api.http.health import Check, Checks, DirectoryCheck, FollowersCheck
from application.starting import prepare
from house import House, opened
from infra.embedded import RunningPostgres
from infra.settings import Settings
from tests.api.serving import serving
from tests.conftest import fresh_database

ADMIN = ("admin@example.com", "the first admin's password")
_numbers = itertools.count(1)  # of everybody whom this process makes
PASSWORD = "correct horse battery staple"


WELL = Checks(
    database=Check("ok", latency_ms=0.5),
    event_log=Check("ok"),
    nats=Check("ok"),
    directory=DirectoryCheck(status="ok", position=1, staleness_ms=10, keys=0, accounts=0),
    projections=FollowersCheck(status="ok", lag={"keys": 0}),
    publisher=FollowersCheck(status="ok", lag={"publish_usage": 0}),
    lake=FollowersCheck(status="ok", lag={"lake_usage": 0}),
)


class FixedProbe:
    """A probe that says what a test tells it."""

    def __init__(self) -> None:
        self.answer = WELL

    async def checks(self) -> Checks:
        return self.answer

    def change(self, **parts: Any) -> None:
        self.answer = msgspec.structs.replace(self.answer, **parts)


class People:
    """Makes what tests need, over HTTP."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._staff: dict[str, str] = {}

    def name(self) -> str:
        return f"person{next(_numbers)}"

    async def register(self, **fields: Any) -> dict[str, Any]:
        """A new account; answers the body that it was made with, and its id."""
        name = self.name()
        body = {"email": f"{name}@example.com", "password": PASSWORD, "username": name, **fields}
        reply = await self._client.post("/v1/auth/register", json=body)
        assert reply.status_code == 201, reply.text
        return {**body, "id": reply.json()["account"]["id"]}

    async def sign_in(self, email: str, password: str = PASSWORD) -> dict[str, str]:
        """The headers of who signed in."""
        body = {"email": email, "password": password}
        reply = await self._client.post("/v1/auth/login", json=body)
        assert reply.status_code == 200, reply.text
        return {"authorization": f"Bearer {reply.json()['access_token']}"}

    async def user(self) -> dict[str, str]:
        """A new account's headers."""
        return await self.sign_in((await self.register())["email"])

    async def staff(self) -> dict[str, str]:
        """The first admin's headers."""
        self._staff = self._staff or await self.sign_in(*ADMIN)
        return dict(self._staff)

    async def level(self, level: str) -> dict[str, str]:
        """The headers of a new member of staff of this level."""
        made = await self.register()
        body = {"account": made["id"], "level": level, "reason": "for a test"}
        reply = await self._client.post("/v1/staff", json=body, headers=await self.staff())
        assert reply.status_code == 201, reply.text
        return await self.sign_in(made["email"])

    async def key(self, headers: dict[str, str], **fields: Any) -> dict[str, Any]:
        """A new key, with its secret in `key`."""
        body = {"name": "a key", **fields}
        reply = await self._client.post("/v1/keys", json=body, headers=headers)
        assert reply.status_code == 201, reply.text
        made: dict[str, Any] = reply.json()
        return made

    async def service(self, *permissions: str) -> dict[str, str]:
        """The headers of a new service key with these permissions."""
        made = await self.key(await self.staff(), kind="service", permissions=permissions)
        return {"authorization": f"Bearer {made['key']}"}


@asynccontextmanager
async def a_house(server: RunningPostgres) -> AsyncIterator[House]:
    """A house on a database of its own, with its first admin."""
    settings = Settings(
        environment="test",
        master_key=b"m" * 32,
        key_pepper=b"p" * 32,
        argon2_memory_kib=7168,
        argon2_time=1,
        require_verified_email=False,
        keys_per_hour=0,
        otp_per_hour=0,
        otp_per_hour_address=0,
        failed_logins_per_hour=0,
        global_failed_logins_per_hour=0,
        second_factors_per_hour=0,
        lockout_after=0,
        # Not what these tests are about, and a busy machine is not stale.
        directory_max_staleness_ms=30_000,
    )
    with fresh_database(server) as url:
        async with opened(settings, url, verifying=True) as house:
            await prepare(house.ports, "start", *ADMIN)
            yield house


@asynccontextmanager
async def a_client(house: House, probe: FixedProbe) -> AsyncIterator[httpx.AsyncClient]:
    """Speaks to this house over HTTP."""
    app = create_app(
        house.ports,
        house.verifier,
        probe,
        version="1.2.3",
        environment="test",
        production=False,
    )
    async with serving(app) as port:
        base = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=20) as client:
            yield client


@pytest.fixture(scope="session")
async def shared_house(postgres_server: RunningPostgres) -> AsyncIterator[House]:
    async with a_house(postgres_server) as house:
        yield house


@pytest.fixture(scope="session")
def shared_probe() -> FixedProbe:
    return FixedProbe()


@pytest.fixture(scope="session")
async def shared_client(
    shared_house: House, shared_probe: FixedProbe
) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(shared_house, shared_probe) as client:
        yield client


@pytest.fixture(scope="module")
async def own_house(postgres_server: RunningPostgres) -> AsyncIterator[House]:
    async with a_house(postgres_server) as house:
        yield house


@pytest.fixture(scope="module")
async def own_client(house: House, probe: FixedProbe) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(house, probe) as client:
        yield client


def whose(request: pytest.FixtureRequest) -> str:
    """Whose house the tests of this module are in."""
    return "own" if getattr(request.module, "OWN_HOUSE", False) else "shared"


@pytest.fixture(scope="module")
def house(request: pytest.FixtureRequest) -> House:
    made: House = request.getfixturevalue(f"{whose(request)}_house")
    return made


@pytest.fixture(scope="module")
def probe(shared_probe: FixedProbe) -> FixedProbe:
    shared_probe.answer = WELL
    return shared_probe


@pytest.fixture(scope="module")
def client(request: pytest.FixtureRequest) -> httpx.AsyncClient:
    made: httpx.AsyncClient = request.getfixturevalue(f"{whose(request)}_client")
    return made


@pytest.fixture(scope="module")
def people(client: httpx.AsyncClient) -> People:
    return People(client)


def refused(reply: httpx.Response, status: int, code: str, param: str | None = None) -> None:
    """The answer is this problem document, complete and well-formed."""
    problem = reply.json()
    assert (reply.status_code, problem["code"], problem.get("param")) == (status, code, param)
    assert reply.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["type"].startswith("/errors/")
    assert problem["request_id"] == reply.headers["request-id"]
    assert problem["title"]
    assert problem["detail"]
