"""`tollhouse verify`, at a server of the test."""

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from api.cli.app import Session, build
from tests.api.conftest import People

pytestmark = pytest.mark.anyio


async def test_what_it_is_for_can_be_said(client: httpx.AsyncClient, people: People) -> None:
    burst = {"name": "burst", "limit": 5, "period": "hour"}
    key = await people.key(await people.user(), permissions=["orders.*"], rate_limits=[burst])
    url = str(client.base_url).rstrip("/")
    session = Session(SimpleNamespace(http_url=lambda: url))

    async def run(*options: str) -> Any:
        words = ["verify", key["key"], *options]
        # In a thread: the server that it asks runs on this loop, and would log between its lines.
        with capture_logs():
            return await asyncio.to_thread(CliRunner().invoke, build(), words, obj=session)

    valid = await run("--permissions", "orders.read AND NOT role:guest", "--operation", "image")
    assert valid.exit_code == 0, valid.output
    assert "2.50" in valid.stdout  # of the free plan's five credits
    assert "burst" in valid.stdout
    denied = await run("--permissions", "billing.read")
    assert (denied.exit_code, denied.stdout.split()[0]) == (3, "INSUFFICIENT_PERMISSIONS")
    unread = await run("--permissions", "orders.read AND (")
    assert unread.exit_code == 1
    assert "INVALID_PERMISSION_QUERY: Column 18" in unread.stderr
    unpriced = await run("--operation", "unheard-of")
    assert unpriced.exit_code == 1
    assert "It prices: ai, " in unpriced.stderr
