"""`tollhouse keys rotate`, `import` and `leak-response`, on a real Postgres."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from api.cli.app import Session, build
from application.ports import Analytics
from domain.errors import ImportRefused, InvalidCommand
from infra.analytics.queries import SandboxedQueries
from tests.application.house import House, opened

NO_LAKE = Path("/nowhere/analytics.duckdb")


class Wiring:
    """As much of the wiring as these commands need."""

    def __init__(self, url: str) -> None:
        self._url = url

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[House]:
        async with opened(self._url) as house:
            yield house

    def analytics(self) -> Analytics:
        return SandboxedQueries(NO_LAKE, "/nowhere")


class Commands:
    """Runs `tollhouse keys …` with an account that is there."""

    def __init__(self, url: str) -> None:
        self._session = Session(Wiring(url))  # type: ignore[arg-type]  # it has what is needed
        self.account_id = asyncio.run(self._register(url))

    async def _register(self, url: str) -> str:
        async with opened(url) as house:
            return (await house.account(plan="internal")).id

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(build(), ["keys", *words], obj=self._session)

    def answer(self, *words: str) -> dict[str, Any]:
        done = self.run(*words, "--json")
        assert done.exit_code == 0, done.output
        answered: dict[str, Any] = json.loads(done.stdout)
        return answered


@pytest.fixture
def keys(database_url: str) -> Commands:
    return Commands(database_url)


def test_key_lives_from_import_over_rotation_to_its_leak(keys: Commands, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    item = {
        "account_id": keys.account_id,
        "name": "old",
        "hash": hashlib.sha256(b"old-secret").hexdigest(),
        "algorithm": "sha256",
    }
    file.write_bytes(msgspec.json.encode({"items": [item]}))
    imported = keys.answer("import", str(file))["items"]
    key_id = imported[0]["id"]
    again = keys.run("import", str(file))
    assert again.exit_code == 1
    assert isinstance(again.exception, ImportRefused)

    rotated = keys.answer("rotate", key_id, "--overlap", "60")
    assert str(rotated["key"]).startswith("th_live_")
    assert (rotated["id"], rotated["generation"]) == (key_id, 2)
    assert rotated["previous_valid_until"] is not None

    report = keys.answer("leak-response", key_id, "--since", "2026-01-01")
    assert (report["key_id"], report["since"]) == (key_id, "2026-01-01T00:00:00Z")
    assert report["incomplete"] == "The lake has not been written yet."
    shown = keys.run("leak-response", key_id)
    assert shown.exit_code == 0
    assert "revoked" in shown.stdout


def test_rights_and_limits_are_options_of_create(keys: Commands) -> None:
    made = keys.answer(
        *("create", keys.account_id, "ci", "--role", "editor", "--ip-allow", "10.0.0.0/8"),
        *("--rate-limit", "burst=10/second", "--permission", "documents.*"),
    )
    assert made["rate_limits"] == ["burst=10/second"]
    assert (made["roles"], made["ip_allow"]) == (["editor"], ["10.0.0.0/8"])
    assert keys.run("create", keys.account_id, "ci", "--rate-limit", "burst=x").exit_code == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"items": [{"name": "x"}]}',
        b'{"items": [], "x": 1}',
        b'{"items": [{"account_id": "a", "name": "x", "hash": "", "algorithm": "md5"}]}',
        b'{"items": [{"account_id": "a", "name": "x", "hash": "", "algorithm": "sha256",'
        b' "expires_at": "2030-01-01T00:00:00"}]}',
    ],
)
def test_file_that_is_no_import_is_refused_before_anything_is_opened(
    body: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(body)
    done = CliRunner().invoke(build(), ["keys", "import", str(file)], obj=Session(None))  # type: ignore[arg-type]
    assert done.exit_code == 1
    assert isinstance(done.exception, InvalidCommand)
