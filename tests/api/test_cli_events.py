"""`tollhouse events show`: positions as anybody prints them, and fields that are aligned."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest
from typer.testing import CliRunner, Result

from api.cli import output
from api.cli.app import Session, build
from application.ports import Follower, Found
from domain.accounts import PlanAssigned
from domain.event import Recorded
from tests.factories import metadata


class Wiring:
    """One event in each log; nobody is stopped. As much of the wiring as the command needs."""

    def event_at(self, log: str, position: int) -> Found | None:
        about = msgspec.structs.replace(metadata(), at=datetime(2026, 1, 31, 12, tzinfo=UTC))
        if (log, position) not in (("decisions", 4), ("usage", 7)):
            return None
        event = PlanAssigned(plan=f"of-{log}")
        return Found(Recorded(position, "acct_1", 1, event, about, "acct_1"), b"")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[SimpleNamespace]:
        async def followers() -> list[Follower]:
            return []

        store, lookups = SimpleNamespace(log_id="log12ab"), SimpleNamespace(followers=followers)
        yield SimpleNamespace(ports=SimpleNamespace(store=store, lookups=lookups))


def show(*words: str) -> Result:
    session = Session(Wiring())  # type: ignore[arg-type]  # it has what is needed
    return CliRunner().invoke(build(), ["events", "show", *words], obj=session)


@pytest.mark.parametrize(
    ("words", "log"),
    [
        (("4",), "decisions"),
        (("log12ab:4",), "decisions"),
        (("log12ab:4", "--log", "decisions"), "decisions"),
        (("7", "--log", "usage"), "usage"),
        (("log12abu:7",), "usage"),
    ],
)
def test_a_position_is_taken_as_http_and_nats_print_it(words: tuple[str, ...], log: str) -> None:
    shown = show(*words)
    assert shown.exit_code == 0, shown.stderr
    assert f"of-{log}" in shown.stdout


@pytest.mark.parametrize(
    "words", [("abc",), ("0",), ("4:log12ab",), ("log12ab:",), ("x12:4",), ("٤",), ("4" * 30,)]
)
def test_what_is_no_position_is_told_how_one_looks(words: tuple[str, ...]) -> None:
    refused = show(*words)
    assert refused.exit_code == 2
    assert "a position, as in 42" in " ".join(refused.stderr.replace("│", " ").split())


def test_positions_of_another_log_are_not_mistaken_for_ours() -> None:
    foreign = show("log99ff:4")
    assert foreign.exit_code == 1
    assert "another installation" in foreign.stderr
    assert show("log12abu:7", "--log", "decisions").exit_code == 2
    assert "no event at 5 of the decisions log" in show("log12ab:5").stderr


def test_fields_are_aligned_and_the_inner_ones_stand_below_their_name() -> None:
    lines = show("4").stdout.splitlines()
    assert "at          2026-01-31T12:00:00Z" in lines
    data = lines.index("data")
    assert lines[data + 1] == "  plan      of-decisions"
    assert lines[0].index("4") == lines[data + 1].index("of-")


def test_fields_without_anything_are_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_fields({"id": "x", "none": None, "empty": {}, "no": 0, "uses": {"longer_one": 1}})
    assert capsys.readouterr().out.splitlines() == [
        "id            x",
        "none          -",
        "empty         -",
        "no            0",
        "uses",
        "  longer_one  1",
    ]
