"""`tollhouse staff …`, on a real Postgres."""

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli.app import Session, build
from domain.errors import InvalidCommand, NotFound
from tests.api.test_cli_plans import Wiring
from tests.application.house import opened
from tests.infra.following import followed


def test_staff_is_appointed_listed_and_dismissed_by_the_operator(database_url: str) -> None:
    async def register() -> str:
        async with opened(database_url) as house:
            return (await house.account("ada@example.org")).id

    account_id = asyncio.run(register())
    session = Session(Wiring(database_url))  # type: ignore[arg-type]  # it has what is needed

    def run(*words: str) -> Any:
        result = CliRunner().invoke(build(), ["staff", *words, "--json"], obj=session)
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout)

    made = run("appoint", "ada@example.org", "--level", "support", "--reason", "help desk")
    assert (made["level"], made["plan"]) == ("support", "internal")
    asyncio.run(followed(database_url, "accounts"))
    assert [each["id"] for each in run("list")["items"]] == [account_id]
    assert run("list", "--level", "admin")["items"] == []
    with pytest.raises(InvalidCommand):
        run("appoint", account_id, "--level", "king")
    gone = run("dismiss", account_id)
    assert (gone["level"], gone["plan"]) == (None, "free")
    with pytest.raises(NotFound):
        run("dismiss", account_id)
