"""`tollhouse credits …`, on a real Postgres."""

import asyncio
from datetime import UTC, datetime

import pytest

from domain.errors import InvalidAmount, InvalidCommand, NotFound
from tests.api.test_cli_plans import Commands
from tests.infra.following import followed


@pytest.fixture
def commands(database_url: str) -> Commands:
    return Commands(database_url)


def test_credits_are_granted_shown_and_followed(commands: Commands, database_url: str) -> None:
    before = datetime.now(UTC)
    granted = commands.answer(
        "credits", "grant", "ada@example.org", "12.50", "--every", "month", "--times", "2"
    )
    assert (granted["amount"], granted["available"]) == ("12.50", "17.50")
    assert (len(granted["lots"]), granted["priority"]) == (2, 50)
    balance = commands.answer("credits", "balance", commands.account_id)
    assert (balance["available"], balance["upcoming"], balance["held"]) == (
        "17.50",
        "12.50",
        "0.00",
    )
    assert balance["currency"] == "credits"
    [expiring] = balance["expiring"]
    assert expiring["amount"] == "5.00"
    asyncio.run(followed(database_url))
    history = commands.answer("credits", "history", "ada@example.org")["items"]
    assert [(each["kind"], each["amount"], each["after"]) for each in history] == [
        ("granted", "12.50", "17.50"),
        ("granted", "12.50", "17.50"),
        ("granted", "5.00", "5.00"),
    ]
    page = commands.answer("credits", "history", "ada@example.org", "--before", "2")["items"]
    assert [each["entry_no"] for each in page] == [1]
    past = commands.run("credits", "balance", "ada@example.org", "--as-of", before.isoformat())
    assert past.exit_code == 0, past.output
    assert "17.50" not in past.output


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("grant", "ada@example.org", "-1"), SystemExit),
        (("grant", "ada@example.org", "0"), InvalidAmount),
        (("grant", "ada@example.org", "1", "--every", "year"), InvalidCommand),
        (("grant", "ada@example.org", "1", "--times", "2"), InvalidCommand),
        (("grant", "ada@example.org", "1", "--expires-at", "soon"), InvalidCommand),
        (("balance", "ada@example.org", "--as-of", "2030-01-01T00:00:00"), InvalidCommand),
        (("balance", "nobody@example.org"), NotFound),
    ],
)
def test_what_makes_no_sense_is_refused(
    commands: Commands, words: tuple[str, ...], refusal: type[Exception]
) -> None:
    done = commands.run("credits", *words)
    assert done.exit_code != 0
    assert isinstance(done.exception, refusal), done.output
