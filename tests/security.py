"""docs/security.md as a table: what must hold, and the tests that show it. `just security`

python -m tests.security         the table; ends with 1 if a row has no test, or one that isn't
python -m tests.security --run   the same, and then runs those tests
"""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Column, Table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/security.md"
NUMBERS = range(1, 28)
LEAST_COLUMNS = 140

_HEADING = re.compile(r"### (\d+)\. (.+)")
_TEST = re.compile(r"- `(tests/[\w/]+\.py)::(\w+)`")
_OPEN = re.compile(r"- to be filled\b(.*)")


class Guarantee(NamedTuple):
    """A row: what must hold, the tests (file, function) that show it, and what is still open."""

    number: int
    title: str
    tests: list[tuple[str, str]]
    still_open: list[str]


def guarantees(text: str) -> list[Guarantee]:
    """The rows of the page, in its order."""
    found: list[Guarantee] = []
    for line in text.splitlines():
        if line.startswith("#"):
            heading = _HEADING.fullmatch(line)
            if heading:
                found.append(Guarantee(int(heading[1]), heading[2], [], []))
        elif found and (test := _TEST.match(line)):
            found[-1].tests.append((test[1], test[2]))
        elif found and (gap := _OPEN.match(line)):
            found[-1].still_open.append(gap[1].strip(" :."))
    return found


def wrong(rows: list[Guarantee]) -> list[str]:
    """What is wrong with the table, a sentence each; nothing if every row is shown by a test."""
    numbers = [row.number for row in rows]
    problems = []
    if numbers != list(NUMBERS):
        problems.append(f"the rows are {numbers}, and not 1 to {NUMBERS[-1]} in order")
    for row in rows:
        if not row.tests:
            problems.append(f"row {row.number} has no test")
        problems += [f"row {row.number} is to be filled: {each}" for each in row.still_open]
        problems += [
            f"row {row.number} names {file}::{name}, which is not there"
            for file, name in row.tests
            if name not in tests_of(file)
        ]
    return problems


@cache
def tests_of(file: str) -> frozenset[str]:
    """The names of the tests in a file; none if it isn't there."""
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    return frozenset(
        node.name
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    )


def main(words: list[str]) -> int:
    """Print the table, and what is wrong with it; answers the exit code."""
    rows = guarantees(PAGE.read_text("utf-8"))
    table = Table(
        "",
        Column("what must hold", max_width=40),
        Column("shown by", overflow="fold"),
        show_lines=True,
    )
    for row in rows:
        tests = [
            name if name in tests_of(file) else f"{name} (missing)" for file, name in row.tests
        ]
        gaps = [f"TO BE FILLED: {each}" for each in row.still_open]
        table.add_row(str(row.number), row.title, "\n".join([*tests, *gaps]) or "NOTHING")
    console = Console(markup=False, highlight=False)
    console.width = max(console.width, LEAST_COLUMNS)
    console.print(table)
    problems = wrong(rows)
    for problem in problems:
        console.print(problem)
    named = {test for row in rows for test in row.tests}
    console.print(f"{len(rows)} rows, {len(named)} tests, {len(problems)} problems")
    if problems or "--run" not in words:
        return 1 if problems else 0
    ids = sorted(f"{file}::{name}" for file, name in named)
    return subprocess.call([sys.executable, "-m", "pytest", "-q", *ids], cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
