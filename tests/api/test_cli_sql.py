"""`tollhouse sql`: tables for people, all rows for programs, one sentence for what goes wrong."""

import contextlib
import csv
import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow
import pytest
from typer.testing import CliRunner, Result

from api.cli.app import build
from api.cli.sql import fitted
from infra.analytics.local import LocalLake
from tests.analytics_lake import write_lake

ENDLESS = "SELECT sum(hash(a.range + b.range)) FROM range(10000000) a, range(10000000) b"


class LakeOnly:
    """As much of the session and its wiring as `sql` needs."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.wiring = self

    def lake(self) -> LocalLake:
        return LocalLake(self._root / "analytics.duckdb", str(self._root))

    def refusals(self) -> tuple[type[Exception], ...]:
        return ()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lake")
    write_lake(root)
    return root


@pytest.fixture
def unchanged(root: Path) -> Iterator[None]:
    def contents() -> dict[Path, int]:
        return {path: path.lstat().st_mtime_ns for path in root.rglob("*")}

    held = contents()
    yield
    assert contents() == held


def run(root: Path, *words: str, given: str | None = None) -> Result:
    return CliRunner().invoke(build(), ["sql", *words], obj=LakeOnly(root), input=given)


def test_a_table_has_names_types_and_right_aligned_numbers(root: Path, unchanged: None) -> None:
    answer = run(root, "SELECT name, count(*) AS n, NULL AS none FROM keys GROUP BY 1 ORDER BY 1")
    assert answer.exit_code == 0
    head, types, *rows = answer.stdout.splitlines()
    assert head.split() == ["name", "n", "none"]
    assert types.split() == ["VARCHAR", "BIGINT", "INTEGER"]
    assert [row.split() for row in rows] == [
        [name, "1", "null"] for name in ("=cmd()", "ci", "shop")
    ]
    assert rows[0].index("1") == types.index("BIGINT") + len("BIGINT") - 1


def test_a_table_shows_forty_rows_and_says_how_many_more(root: Path) -> None:
    lines = run(root, "SELECT range AS n FROM range(1042)").stdout.splitlines()
    assert len(lines) == 2 + 40 + 1
    assert lines[-1] == "… and 1,002 more: --format csv shows all"
    lines = run(root, "SELECT range AS n FROM range(1000000000)").stdout.splitlines()
    assert lines[-1] == "… and more than 100,000 more: --format csv shows all"
    assert run(root, "SELECT 1 AS n WHERE false").stdout.splitlines()[-1] == "no rows"


def test_a_wide_table_is_cut_to_the_terminal_and_says_what_it_left_out(root: Path) -> None:
    shown = _on_a_terminal(root, "FROM verifications LIMIT 3")
    lines = shown.splitlines()
    assert len(lines) == 2 + 3 + 1
    assert all(len(line) <= 80 for line in lines)
    assert "…" in lines[2]
    names = lines[0].split()
    assert names[0].startswith("verif")
    assert lines[-1] == f"… and {14 - len(names)} more columns: --format csv shows all"
    whole = _on_a_terminal(root, f"SELECT '{'x' * 100}' AS long, 12345678901 AS n")
    assert "x" * 60 in whole
    assert "x…" in whole
    assert "12345678901" in whole
    assert "more column" not in whole


def test_a_wide_table_in_a_pipe_is_whole(root: Path) -> None:
    shown = run(root, f"SELECT '{'x' * 1000}' AS long, repeat('é', 300) AS other").stdout
    assert "x" * 1000 + "  " + "é" * 300 in shown


@pytest.mark.parametrize(
    ("natural", "most", "widths"),
    [
        ([5, 5], 80, [5, 5]),
        ([5, 500], 80, [5, 73]),
        ([60, 60], 80, [39, 39]),
        ([500], 80, [80]),
        ([30] * 20, 80, [14] * 5),
        ([500], 5, [5]),
        ([5, 500], None, [5, 500]),
        ([], 80, []),
    ],
)
def test_the_widest_columns_give_way_first(
    natural: list[int], most: int | None, widths: list[int]
) -> None:
    assert fitted(natural, [12] * len(natural), most) == widths


def test_what_callers_named_can_not_steer_the_terminal(root: Path) -> None:
    shown = run(root, "SELECT chr(27) || '[2J' || chr(10) || '[bold]x[/bold]' AS a").stdout
    assert r"\x1b[2J\n[bold]x[/bold]" in shown
    assert "\x1b" not in shown


def test_csv_and_json_have_all_rows(root: Path, unchanged: None) -> None:
    sql = "SELECT range AS n, [1.5] AS list FROM range(25000)"
    rows = list(csv.reader(io.StringIO(run(root, sql, "--format", "csv").stdout)))
    assert (rows[0], len(rows), rows[-1]) == (["n", "list"], 25001, ["24999", "[1.5]"])
    for words in (("--json",), ("--format", "json")):
        lines = run(root, sql, *words).stdout.splitlines()
        assert len(lines) == 25000
        assert json.loads(lines[7]) == {"n": 7, "list": [1.5]}
    assert run(root, "SELECT 1 AS a, 2 AS a", "--json").stdout == '{"a":1,"a_1":2}\n'


@pytest.mark.parametrize("format", ["csv", "json", "parquet", "arrow"])
def test_output_is_a_whole_file_or_none(
    root: Path, tmp_path: Path, unchanged: None, format: str
) -> None:
    file = tmp_path / "answer"
    file.write_text("older")
    refused = run(root, "SELECT error('no')", "--format", format, "--output", str(file))
    assert refused.exit_code == 1
    assert file.read_text() == "older"
    done = run(root, "FROM verifications", "--format", format, "--output", str(file))
    assert done.exit_code == 0
    assert done.stdout == ""
    assert "48 rows" in done.stderr
    assert os.listdir(tmp_path) == ["answer"]
    if format == "arrow":
        assert pyarrow.ipc.open_stream(file.read_bytes()).read_all().num_rows == 48
    else:
        read = {"csv": "read_csv", "json": "read_json", "parquet": "read_parquet"}[format]
        counted: Any = duckdb.sql(f"SELECT count(*), sum(cost) FROM {read}('{file}')").fetchone()
        assert counted == (48, 72)


def test_the_query_can_come_from_standard_input(root: Path) -> None:
    assert run(root, "-", "--format", "csv", given="SELECT 1 AS a\n").stdout.split() == ["a", "1"]


def test_without_a_query_it_lists_what_there_is(root: Path) -> None:
    listing = run(root).stdout
    for word in ("verifications", "Every judged key", "VALID, or why not.", "Every key ever"):
        assert word in listing
    tables = [json.loads(line) for line in run(root, "--json").stdout.splitlines()]
    assert {"verifications", "events", "daily_usage", "accounts", "keys", "plans", "snapshot"} == {
        table["name"] for table in tables
    }


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT nothing FROM keys", 'Referenced column "nothing" not found'),
        ("DROP TABLE keys", "This is DROP."),
        ("COPY keys TO '/tmp/x.csv'", "This is COPY."),
        ("SELECT 1; SELECT 2", "One statement at a time"),
        ("FROM read_text('/etc/passwd')", "Permission Error"),
        ("SELECT 1 / 'x'", "Conversion Error"),
        ("", "no statement"),
        ("FROM read_text('/etc/passwd')", "configuration. A query reads"),
    ],
)
def test_what_goes_wrong_is_one_sentence(
    root: Path, unchanged: None, sql: str, sentence: str
) -> None:
    for format in ("table", "csv"):
        answer = run(root, sql, "--format", format)
        assert answer.exit_code == 1
        assert sentence in answer.stderr
        assert len(answer.stderr.splitlines()) == 1


def test_no_lake_says_who_writes_it(tmp_path: Path) -> None:
    answer = run(tmp_path, "SELECT 1")
    assert answer.exit_code == 1
    assert "not been written yet" in answer.stderr
    assert "tollhouse work" in answer.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--format", "xml"),
        ("--format", "parquet"),
        ("--output", "x"),
    ],
)
def test_wrong_usage_is_exit_2(root: Path, words: tuple[str, ...]) -> None:
    assert run(root, "SELECT 1", *words).exit_code == 2


def test_a_folder_that_is_not_there_is_a_sentence(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "none/answer.csv"
    answer = run(root, "SELECT 1", "--format", "csv", "--output", str(file))
    assert answer.exit_code == 1
    assert "No such file" in answer.stderr


_PROGRAM = """
import sys
from pathlib import Path
from api.cli.app import run
from tests.api.test_cli_sql import LakeOnly
sys.exit(run(LakeOnly(Path(sys.argv.pop(1)))))
"""


def test_a_long_query_shows_progress_and_ends_at_ctrl_c(root: Path) -> None:
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-c", _PROGRAM, str(root), "sql", ENDLESS]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(argv, stderr=theirs, stdout=subprocess.PIPE, env=environment)
    os.close(theirs)
    try:
        said = _read_until(ours, b"asking")
        process.send_signal(signal.SIGINT)
        said += _read_until(ours, b"stopped")
        assert process.wait(20) == 130
        assert b"Traceback" not in said
    finally:
        process.kill()
        process.communicate()
        os.close(ours)


def test_who_has_read_enough_ends_it_quietly(root: Path) -> None:
    argv = [sys.executable, "-c", _PROGRAM, str(root), "sql", "--format", "csv"]
    process = subprocess.Popen(
        [*argv, "SELECT range FROM range(3000000)"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"range\r\n"
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(20) == 0
    process.stderr.close()


def _on_a_terminal(root: Path, sql: str) -> str:
    """What it draws on 80 columns, without colours."""
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-c", _PROGRAM, str(root), "sql", sql]
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": "80", "NO_COLOR": "1"}
    process = subprocess.Popen(argv, stdout=theirs, stderr=subprocess.PIPE, env=environment)
    os.close(theirs)
    said = b""
    try:
        with contextlib.suppress(OSError):  # so a terminal says that nobody writes any more
            while more := os.read(ours, 4096):
                said += more
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
        os.close(ours)
    return said.decode()


def _read_until(terminal: int, word: bytes) -> bytes:
    said = b""
    deadline = time.monotonic() + 20
    while word not in said:
        ready, _, _ = select.select([terminal], [], [], max(deadline - time.monotonic(), 0))
        assert ready, said
        said += os.read(terminal, 4096)
    return said
