"""The mail server is down: registration answers, and the code comes once it is up again."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.running import Up
from tests.infra.following import until
from tests.infra.smtp_server import mail_server

pytestmark = pytest.mark.anyio

PERSON = {"email": "ada@example.org", "password": "correct horse battery staple"}


async def test_smtp_down_registration_answers_and_the_mail_goes_later_and_once(
    folder: Path,
) -> None:
    """Even if the process that sends is killed meanwhile."""
    async with mail_server() as server:
        await server.stop()
        url = f"smtp://127.0.0.1:{server.port}"
        up = Up(folder, MAIL_URL=url, REQUIRE_VERIFIED_EMAIL="true")
        await in_a_thread(up.start)
        try:
            async with httpx.AsyncClient(base_url=up.facts["http_url"], timeout=10) as client:
                asked = await client.post("/v1/auth/register", json=PERSON)
                assert asked.status_code == 202, asked.text
                health = (await client.get("/health")).json()
                assert health["checks"]["mail"]["waiting"] == 1
                for process in up.tree():
                    if "work" in process.cmdline():
                        process.send_signal(signal.SIGKILL)
                await server.start()
                await until(lambda: server.messages, 30)
                code = server.messages[0].get_body(("plain",)).get_content().split()  # type: ignore[union-attr]
                digits = next(word for word in code if word.isdecimal() and len(word) == 6)
                made = await client.post(
                    "/v1/auth/register/confirm",
                    json={"registration_id": asked.json()["registration_id"], "code": digits},
                )
                assert made.status_code == 201, made.text
                # The server has the mail before the sender has written so.
                await until(lambda: nothing_waits(client), 30)
        finally:
            await in_a_thread(up.stop)
        assert server.recipients == [PERSON["email"]]


async def nothing_waits(client: httpx.AsyncClient) -> bool:
    """Whether the outbox is said to be empty, and well."""
    health = (await client.get("/health")).json()
    return bool(health["checks"]["mail"] == {"status": "ok"})


async def in_a_thread(call: Callable[[], Any]) -> None:
    """Run what blocks beside the server."""
    await asyncio.get_running_loop().run_in_executor(None, call)
