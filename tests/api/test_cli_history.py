"""`tollhouse keys history`, `keys show --as-of`, `events list`, `explain`: the log in words."""

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from api.cli.app import Session, build
from domain.errors import InvalidCommand
from domain.verification import VerificationsCounted
from tests.api.test_cli_keys import Wiring
from tests.factories import an_id
from tests.infra.following import followed, written


class Commands:
    """Runs `tollhouse …` on this database."""

    def __init__(self, url: str) -> None:
        self._session = Session(Wiring(url))  # type: ignore[arg-type]  # it has what is needed

    def run(self, *words: str, typed: str | None = None) -> Result:
        return CliRunner().invoke(build(), list(words), obj=self._session, input=typed)

    def answer(self, *words: str, typed: str | None = None) -> Any:
        done = self.run(*words, "--json", typed=typed)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)


def refusal(url: str, account_id: str, key_id: str, judged_at: int) -> str:
    """The id of a verification that was refused because the key was paused."""
    stream = an_id("usage")
    event = VerificationsCounted(
        instance=stream,
        at_us=[1_790_000_000_000_000],
        judged_at=[(0, judged_at)],
        keys=[key_id],
        accounts=[account_id],
        key=[0],
        account=[0],
        code=["DISABLED"],
        cost=[1],
        takes=[],
        counters=[],
    )
    written(url, [(stream, 1, event)])
    return f"ver_{stream.removeprefix('usage_')}_1_0"


def test_the_log_is_told_in_words_on_the_command_line(database_url: str) -> None:
    cli = Commands(database_url)
    password = "correct horse battery staple\n" * 2
    made = cli.answer("accounts", "create", "ada@example.com", "--username", "ada", typed=password)
    key = cli.answer("keys", "create", "@ada", "deploy")
    cli.answer("keys", "pause", key["id"])
    asyncio.run(followed(database_url, "history"))

    history = cli.answer("keys", "history", key["id"])["items"]
    assert [each["summary"].split(":")[0] for each in history] == [
        "The key was paused",
        f"The live key “deploy” ({key['hint']}) was made.",
    ]
    assert {each["by"] for each in history} == {"the operator, on the command line"}
    paused, issued = (each["position"] for each in history)
    assert cli.answer("keys", "show", key["id"], "--as-of", str(issued))["state"] == "active"
    assert cli.answer("keys", "show", key["id"], "--as-of", history[0]["at"])["state"] == "paused"
    of_account = cli.answer("accounts", "history", "@ada")["items"]
    assert of_account[-1]["data"]["email"] == "ada@example.com"
    listed = cli.answer("events", "list", "--types", "api_key.paused", "--newest")["items"]
    assert [each["position"] for each in listed] == [paused]

    verification = refusal(database_url, made["id"], key["id"], paused)
    assert cli.answer("explain", verification)["code"] == "DISABLED"
    told = cli.run("explain", verification).stdout
    assert "Refused (DISABLED): it was paused." in told
    assert f"It was paused.  (event {paused})" in told


@pytest.mark.parametrize("as_of", ["yesterday", "2026-01-01T00:00:00", "x:1"])
def test_what_is_no_instant_and_no_position_is_refused_before_anything_is_opened(
    as_of: str,
) -> None:
    words = ["keys", "show", "key_1", "--as-of", as_of]
    done = CliRunner().invoke(build(), words, obj=Session(None))  # type: ignore[arg-type]
    assert done.exit_code == 1
    assert isinstance(done.exception, InvalidCommand)
