"""`tollhouse plans …` and `tollhouse quotas …`, on a real Postgres."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from api.cli.app import Session, build
from domain.errors import InvalidCommand, KeyRevoked, NotFound, PlanInUse
from domain.quotas import Quota
from tests.application.house import House, opened


class Wiring:
    """As much of the wiring as these commands need."""

    def __init__(self, url: str) -> None:
        self._url = url

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[House]:
        async with opened(self._url) as house:
            yield house


class Commands:
    """Runs the command line, with an account and a key that are there."""

    def __init__(self, url: str) -> None:
        self._session = Session(Wiring(url))  # type: ignore[arg-type]  # it has what is needed
        self.account_id, self.key_id = asyncio.run(self._register(url))

    async def _register(self, url: str) -> tuple[str, str]:
        async with opened(url) as house:
            account = await house.account("ada@example.org")
            return account.id, (await house.key(account, quota=Quota(3, "day"))).key.id

    def run(self, *words: str, given: str | None = None) -> Result:
        return CliRunner().invoke(build(), words, obj=self._session, input=given)

    def answer(self, *words: str, given: str | None = None) -> dict[str, Any]:
        done = self.run(*words, "--json", given=given)
        assert done.exit_code == 0, done.output
        answered: dict[str, Any] = json.loads(done.stdout)
        return answered


@pytest.fixture
def commands(database_url: str) -> Commands:
    return Commands(database_url)


def test_a_plan_lives_from_its_file_over_a_change_to_its_end(
    commands: Commands, tmp_path: Path
) -> None:
    file = tmp_path / "team.json"
    file.write_text('{"name": "team", "title": "Team", "entitlements": {"keys": 0}}')
    assert commands.answer("plans", "publish", str(file))["revision"] == 1
    on = commands.answer("plans", "assign", "ada@example.org", "team", "--reason", "paid")
    assert (on["plan"], on["over"]) == ("team", {"keys": {"have": 1, "allowed": 0}})
    change = '{"entitlements": {"keys": 9, "monthly_credits": "2.50"}}'
    changed = commands.answer("plans", "change", "team", "-", given=change)
    assert (changed["revision"], changed["entitlements"]["keys"]) == (2, 9)
    assert commands.answer("plans", "retire", "team")["retired"]
    assert commands.answer("plans", "show", "team")["entitlements"]["monthly_credits"] == "2.50"
    later = commands.answer("plans", "assign", commands.account_id, "pro", "--at-renewal")
    assert (later["plan"], later["next"]["plan"]) == ("team", "pro")
    listed = commands.run("plans", "list")
    assert "enterprise" in listed.stdout
    assert "team" in listed.stdout
    shown = commands.run("plans", "show", "pro")
    assert "operation_costs" in shown.stdout


@pytest.mark.parametrize("content", ["{", "[]", '{"name": "x", "title": "X", "keyz": 1}', "{}"])
def test_a_file_that_is_no_plan_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(content)
    done = CliRunner().invoke(build(), ["plans", "publish", str(file)], obj=Session(None))  # type: ignore[arg-type]
    assert isinstance(done.exception, InvalidCommand)


def test_a_plan_that_is_not_there_is_not_found(commands: Commands) -> None:
    assert isinstance(commands.run("plans", "show", "zz").exception, NotFound)


def test_quotas_are_set_and_lifted(commands: Commands) -> None:
    def limits() -> list[int]:
        items = commands.answer("quotas", "show", commands.account_id)["items"]
        return [each["limit"] for each in items]

    done = commands.answer("quotas", "set", "ada@example.org", "1000/month", "--reason", "trial")
    assert (done["owner"], done["quota"]) == (
        commands.account_id,
        {"limit": 1000, "period": "month"},
    )
    assert "7/day" in commands.run("quotas", "set", commands.key_id, "7/day").stdout
    assert limits() == [1000, 1000, 7]
    assert commands.answer("quotas", "set", commands.account_id, "none")["quota"] is None
    assert commands.run("quotas", "set", commands.key_id, "none").exit_code == 0
    assert limits() == [10, 10]
    for wrong, refusal in (
        ((commands.key_id, "many"), InvalidCommand),
        ((commands.key_id, "1/year"), InvalidCommand),
        (("key_00000000000000000000000000", "1/day"), NotFound),
    ):
        assert isinstance(commands.run("quotas", "set", *wrong).exception, refusal), wrong


def test_a_key_is_paused_and_resumed(commands: Commands) -> None:
    assert commands.answer("keys", "pause", commands.key_id)["state"] == "paused"
    assert "is paused" in commands.run("keys", "pause", commands.key_id).stdout
    assert commands.answer("keys", "resume", commands.key_id)["state"] == "active"
    commands.run("keys", "revoke", commands.key_id)
    assert isinstance(commands.run("keys", "resume", commands.key_id).exception, KeyRevoked)


def test_a_plan_that_is_needed_is_not_retired(commands: Commands) -> None:
    assert isinstance(commands.run("plans", "retire", "free").exception, PlanInUse)


def test_quotas_are_shown_and_reset(commands: Commands) -> None:
    items = commands.answer("quotas", "show", "ada@example.org")["items"]
    assert [each["limit"] for each in items] == [10, 10, 3]
    table = commands.run("quotas", "show", commands.account_id).stdout
    assert commands.key_id in table
    reason = ("--reason", "an outage")
    done = commands.answer("quotas", "reset", "ada@example.org", commands.key_id, *reason)
    assert done["reset"] == 2
    assert commands.answer("quotas", "reset", "--all")["reset"] is None
    assert "everybody" in commands.run("quotas", "reset", "--all").stdout


@pytest.mark.parametrize("words", [[], ["--all", "ada@example.org"], ["--all", "--reason", "x"]])
def test_a_reset_says_whose(words: list[str]) -> None:
    done = CliRunner().invoke(build(), ["quotas", "reset", *words], obj=Session(None))  # type: ignore[arg-type]
    assert done.exit_code == 2
