"""Clients that others wrote discover this server, verify, introspect, refresh and revoke: Authlib
and joserfc in Python, oauth4webapi on Node. None of them knows anything of ours but the address.
"""

import asyncio
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from authlib.integrations.httpx_client import (  # type: ignore[import-untyped]
    AsyncOAuth2Client,
    OAuthError,
)
from joserfc import jwt
from joserfc.jwk import KeySet

from api.http.app import create_app
from api.http.wire import BoundedHttp
from application.starting import prepare
from house import opened
from infra.embedded import RunningPostgres
from infra.settings import Settings
from tests.api.conftest import ADMIN, FixedProbe, People
from tests.api.serving import serving
from tests.conftest import fresh_database

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
WELL_KNOWN = "/.well-known/oauth-authorization-server"


@pytest.fixture(scope="module")
async def issuer(postgres_server: RunningPostgres, tmp_path_factory: Any) -> AsyncIterator[str]:
    """A server whose PUBLIC_URL is where it listens."""
    served: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await served[0](scope, receive, send)

    with fresh_database(postgres_server) as url:
        async with serving(app, BoundedHttp) as port:
            settings = Settings(
                environment="test",
                data_dir=tmp_path_factory.mktemp("foreign"),
                public_url=f"http://127.0.0.1:{port}",
                master_key=b"m" * 32,
                key_pepper=b"p" * 32,
                argon2_memory_kib=7168,
                argon2_time=1,
                require_verified_email=False,
                directory_max_staleness_ms=30_000,
            )
            async with opened(settings, url, verifying=True) as house:
                await prepare(house.ports, "start", *ADMIN)
                served.append(
                    create_app(
                        house.ports,
                        house.verifier,
                        FixedProbe(),
                        version="1.2.3",
                        environment="test",
                        production=False,
                    )
                )
                yield str(settings.public_url)


@pytest.fixture(scope="module")
async def service(issuer: str) -> dict[str, Any]:
    """A service key that may introspect and revoke: to them, a client with a secret."""
    async with httpx.AsyncClient(base_url=issuer, trust_env=False, timeout=20) as client:
        people = People(client)
        rights = ["tokens.introspect", "tokens.revoke"]
        return await people.key(await people.staff(), kind="service", permissions=rights)


@pytest.fixture(scope="module")
async def powerless(issuer: str) -> dict[str, Any]:
    """A service key that may do neither."""
    async with httpx.AsyncClient(base_url=issuer, trust_env=False, timeout=20) as client:
        people = People(client)
        return await people.key(await people.staff(), kind="service", permissions=["keys.verify"])


@pytest.fixture
async def tokens(issuer: str) -> dict[str, Any]:
    """Somebody who just signed in."""
    async with httpx.AsyncClient(base_url=issuer, trust_env=False, timeout=20) as client:
        body = {"email": ADMIN[0], "password": ADMIN[1]}
        reply = await client.post("/v1/auth/login", json=body)
        answer: dict[str, Any] = reply.json()
        return answer


async def test_authlib_and_joserfc_discover_verify_introspect_refresh_and_revoke(
    issuer: str, service: dict[str, Any], tokens: dict[str, Any]
) -> None:
    async with httpx.AsyncClient(trust_env=False) as plain:
        server = (await plain.get(issuer + WELL_KNOWN)).json()
        keys = KeySet.import_key_set((await plain.get(server["jwks_uri"])).json())
    assert server["issuer"] == issuer
    decoded = jwt.decode(tokens["access_token"], keys, algorithms=["EdDSA"])
    registry = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": issuer},
        sub={"essential": True, "value": tokens["account"]["id"]},
        exp={"essential": True},
        jti={"essential": True},
    )
    registry.validate(decoded.claims)
    assert decoded.header["typ"] == "at+jwt"

    async with AsyncOAuth2Client(
        service["id"], service["key"], token_endpoint_auth_method="client_secret_basic"
    ) as client:
        asked = server["introspection_endpoint"]
        told = (await client.introspect_token(asked, tokens["access_token"])).json()
        assert (told["active"], told["sub"]) == (True, tokens["account"]["id"])
        ended = await client.revoke_token(server["revocation_endpoint"], tokens["access_token"])
        assert ended.status_code == 200
        told = (await client.introspect_token(asked, tokens["access_token"])).json()
        assert told == {"active": False}


async def test_authlib_reads_why_it_is_refused(
    issuer: str, service: dict[str, Any], powerless: dict[str, Any], tokens: dict[str, Any]
) -> None:
    for client_id, secret, error in (
        (service["id"], "wrong", "invalid_client"),
        (powerless["id"], powerless["key"], "unauthorized_client"),
    ):
        async with AsyncOAuth2Client(
            client_id, secret, token_endpoint_auth_method="client_secret_basic"
        ) as client:
            for ask, path in (
                (client.introspect_token, "introspect"),
                (client.revoke_token, "revoke"),
            ):
                told = (await ask(f"{issuer}/oauth/{path}", tokens["access_token"])).json()
                assert told["error"] == error
                assert told["error_description"]
    async with AsyncOAuth2Client("a-page", token_endpoint_auth_method="none") as client:
        with pytest.raises(OAuthError, match="invalid_grant"):
            await client.refresh_token(f"{issuer}/v1/auth/refresh", refresh_token="unknown")


async def test_authlib_refreshes_as_a_public_client(issuer: str, tokens: dict[str, Any]) -> None:
    async with AsyncOAuth2Client("a-page", token_endpoint_auth_method="none") as client:
        endpoint = f"{issuer}/v1/auth/refresh"
        found = await client.refresh_token(endpoint, refresh_token=tokens["refresh_token"])
    assert found["refresh_token"] != tokens["refresh_token"]
    assert found["token_type"] == "Bearer"


def installed() -> Path:
    """A folder with what package.json asks for, kept for the next run. Skips where it can't be."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node.js (20 or newer) with npm is not installed")
    wanted = (HERE / "package.json").read_bytes()
    named = hashlib.sha256(wanted).hexdigest()[:16]
    place = Path(tempfile.gettempdir()) / f"tollhouse-foreign-{named}"
    if not (place / "node_modules").is_dir():
        made = Path(tempfile.mkdtemp(prefix="tollhouse-foreign-"))
        (made / "package.json").write_bytes(wanted)
        options = ("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund")
        command = [npm, "install", *options, "--fetch-retries=1", "--fetch-timeout=15000"]
        try:
            done = subprocess.run(command, cwd=made, capture_output=True, timeout=60, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip("the npm registry does not answer")
        if done.returncode != 0:
            shutil.rmtree(made)
            pytest.skip(f"npm install failed: {done.stderr.decode()[-300:]}")
        try:
            made.rename(place)
        except OSError:
            shutil.rmtree(made)  # another run was first
    shutil.copy(HERE / "client.mjs", place)
    return place


async def test_oauth4webapi_discovers_verifies_introspects_refreshes_and_revokes(
    issuer: str, service: dict[str, Any], powerless: dict[str, Any], tokens: dict[str, Any]
) -> None:
    place = await asyncio.to_thread(installed)
    given = {
        "issuer": issuer,
        "clientId": service["id"],
        "clientSecret": service["key"],
        "powerlessId": powerless["id"],
        "powerlessSecret": powerless["key"],
        "accessToken": tokens["access_token"],
        "refreshToken": tokens["refresh_token"],
    }
    process = await asyncio.create_subprocess_exec(
        "node",
        str(place / "client.mjs"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            said, complained = await process.communicate(json.dumps(given).encode())
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, complained.decode()
    found = json.loads(said)
    assert found["server"]["issuer"] == issuer
    assert found["verified"]["sub"] == tokens["account"]["id"]
    assert found["refused"]
    assert found["active"]["active"]
    assert found["active"]["sub"] == tokens["account"]["id"]
    assert found["refreshed"]["refresh_token"] != tokens["refresh_token"]
    assert found["after"] == {"active": False}
    assert found["denied"] == "unauthorized_client"
