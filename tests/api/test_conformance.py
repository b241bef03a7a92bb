"""The server does what its OpenAPI document says, whatever it is sent: schemathesis, all checks
(SECURITY 24). What is checked, and what is left out and why, is in schemathesis.toml."""

import asyncio
import os
import sys
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import People

pytestmark = pytest.mark.anyio
OWN_HOUSE = True  # anything at all may happen in it

CONFIG = Path(__file__).with_name("schemathesis.toml")


async def things(client: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, str]:
    """What paths can name, made anew."""
    key = (await client.post("/v1/keys", json={"name": "a key"}, headers=headers)).json()
    mine = {"x-api-key": key["key"]}
    verdict = (await client.post("/v1/keys/verify", json={}, headers=mine)).json()
    return {
        "path.key_id": key["id"],
        "path.account_id": key["account_id"],
        "path.verification_id": verdict["verification_id"],
        "path.position": "1",
    }


def parameters(named: dict[str, str]) -> str:
    """The same as a part of a configuration."""
    lines = (f'"{name}" = "{value}"' for name, value in named.items())
    return "\n".join(("", "[parameters]", *lines, ""))


async def checked(
    client: httpx.AsyncClient,
    headers: dict[str, str],
    folder: Path,
    *options: str,
    seconds: int = 120,
) -> None:
    """Run it over the whole document as who has these headers; paths name what is there."""
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG.read_text() + parameters(await things(client, headers)))
    command = (
        "--config-file",
        str(config),
        "run",
        f"{client.base_url}/openapi.json",
        "--no-color",
        "--warnings=off",
        "--header",
        f"Authorization: {headers['authorization']}",
        *options,
    )
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "schemathesis.cli",
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={**os.environ, "NO_PROXY": "*", "COLUMNS": "100"},
    )
    try:
        told, _ = await asyncio.wait_for(running.communicate(), seconds)
    except TimeoutError:
        running.kill()
        await running.wait()
        pytest.fail(f"not through after {seconds} s")
    assert running.returncode == 0, told.decode()[-30_000:]


async def test_whatever_is_sent_the_server_answers_as_its_document_says(
    client: httpx.AsyncClient, people: People, tmp_path: Path
) -> None:
    options = ("--phases=examples,fuzzing", "--max-examples=1")
    await checked(client, await people.staff(), tmp_path, *options)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_every_boundary_that_the_document_names_is_kept(
    client: httpx.AsyncClient, people: People, tmp_path: Path
) -> None:
    """Each parameter and field at and beyond its bounds, missing, twice and of other types."""
    options = ("--phases=examples,coverage,fuzzing", "--max-examples=20")
    await checked(client, await people.staff(), tmp_path, *options, seconds=800)
