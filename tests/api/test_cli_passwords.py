"""`tollhouse passwords import`, on a real Postgres."""

import asyncio
import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli.app import Session, build
from application.password_rules import judge
from tests.api.test_cli_plans import Wiring
from tests.application.house import opened

WHOLE, RANGED = "seven breached bottles, one lyre", "nine breached bottles, one flute"


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest().upper()


def test_imported_lists_and_ranges_are_refused_from_then_on(
    database_url: str, tmp_path: Path
) -> None:
    session = Session(Wiring(database_url))  # type: ignore[arg-type]  # it has what is needed
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "all.txt").write_text(f"{sha1(WHOLE)}:3\n\n{sha1('another').lower()}\nhunter2\n")
    prefix, suffix = sha1(RANGED)[:5], sha1(RANGED)[5:]
    (folder / f"{prefix}.txt").write_text(f"{suffix}:12\n{'0' * 35}:0\n")

    done = CliRunner().invoke(build(), ["passwords", "import", str(folder), "--json"], obj=session)
    assert done.exit_code == 1  # of one line it is said that it is none
    assert json.loads(done.stdout) == {"read": 3, "added": 3, "refused": ["all.txt, line 4"]}
    (folder / "all.txt").write_text(f"{sha1(WHOLE)}:3\n")
    done = CliRunner().invoke(build(), ["passwords", "import", str(folder)], obj=session)
    assert done.exit_code == 0, done.output
    assert "2 read, 0 of them new" in done.stdout

    async def judged() -> list[bool]:
        async with opened(database_url) as house:
            found = [await judge(house.ports, text) for text in (WHOLE, RANGED, WHOLE + "!")]
            return [each.acceptable for each in found]

    assert asyncio.run(judged()) == [False, False, True]


def test_a_file_that_is_not_there_is_wrong_usage() -> None:
    done = CliRunner().invoke(build(), ["passwords", "import", "nowhere.txt"])
    assert done.exit_code == 2


@pytest.mark.parametrize("words", [["passwords", "--help"], ["passwords", "import", "--help"]])
def test_help_has_an_example(words: list[str]) -> None:
    assert CliRunner().invoke(build(), words).exit_code == 0
