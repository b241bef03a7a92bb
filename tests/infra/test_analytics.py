"""SQL of other people reads the lake, and can do nothing else: to files, to time, to memory."""

import asyncio
import contextlib
import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import duckdb
import msgspec
import pyarrow
import pytest
from moto.server import ThreadedMotoServer

from application.errors import AnalyticsUnavailable, Overloaded, QueryNotAnswered
from application.ports import LakeFormat, UsageWanted
from infra.analytics.queries import Limits, S3Access, SandboxedQueries
from infra.httpfs import httpfs_path
from tests.analytics_lake import files_of, write_lake, write_snapshot

pytestmark = pytest.mark.anyio

SINCE, UNTIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)
QUICK = Limits(seconds=3, rows=1000, answer_bytes=1_000_000, memory_bytes=500_000_000)
BRIEF = msgspec.structs.replace(QUICK, seconds=1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lake")
    write_lake(root)
    return root


@pytest.fixture
def before(root: Path) -> Iterator[None]:
    """Whatever a test asks: the lake is as it was, and no process is left."""
    held = _contents(root)
    yield
    assert _contents(root) == held
    assert _query_processes() == []


@pytest.fixture
def queries(root: Path, before: None) -> Iterator[SandboxedQueries]:
    queries = SandboxedQueries(root / "analytics.duckdb", str(root), limits=QUICK)
    yield queries
    queries.close()


@pytest.fixture
def brief(root: Path, before: None) -> Iterator[SandboxedQueries]:
    """For what takes every second that it is given."""
    queries = SandboxedQueries(root / "analytics.duckdb", str(root), limits=BRIEF)
    yield queries
    queries.close()


def _contents(root: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in root.rglob("*")}


def _query_processes() -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == str(os.getpid()) and (b"query_process" in words or not words):
            found.append(f"{folder.name} {words!r}")
    return found


async def ask(queries: SandboxedQueries, sql: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(await queries.query(sql, "json"), parse_constant=refuse)


async def fault(queries: SandboxedQueries, sql: str) -> QueryNotAnswered:
    with pytest.raises(QueryNotAnswered) as refused:
        await queries.query(sql, "json")
    assert refused.value.detail
    assert "/site-packages/" not in refused.value.detail
    return refused.value


# What it answers


async def test_rows_come_with_columns_and_the_positions_they_were_read_at(
    queries: SandboxedQueries,
) -> None:
    answer = await ask(
        queries, 'SELECT outcome, sum("cost") AS "cost" FROM verifications GROUP BY 1 ORDER BY 1'
    )
    assert answer["columns"] == [
        {"name": "outcome", "type": "VARCHAR"},
        {"name": "cost", "type": "HUGEINT"},
    ]
    assert answer["rows"] == [["QUOTA_EXCEEDED", 0], ["VALID", 72]]
    assert answer["row_count"] == 2
    assert answer["elapsed_ms"] > 0
    assert answer["snapshot"] == {
        "published_at": "2026-03-04T05:06:07.25Z",
        "usage_position": 48210,
        "events_position": 1042,
        "complete_until": "2026-03-04T05:06:06.5Z",
    }


VALUES: list[tuple[str, object]] = [
    ("'nan'::DOUBLE", None),
    ("'-infinity'::FLOAT", None),
    ("1.5::DOUBLE", 1.5),
    ("9007199254740992", 9007199254740992),
    ("9007199254740993", "9007199254740993"),
    ("-9223372036854775808", "-9223372036854775808"),
    ("170141183460469231731687303715884105727::HUGEINT", "170141183460469231731687303715884105727"),
    (
        "340282366920938463463374607431768211455::UHUGEINT",
        "340282366920938463463374607431768211455",
    ),
    ("1.50::DECIMAL(9, 2)", "1.50"),
    ("'\\xAA\\x00'::BLOB", "qgA="),
    ("TIMESTAMPTZ '2026-01-31 12:00:00.5+02'", "2026-01-31T10:00:00.5Z"),
    ("TIMESTAMP '290000-01-31 12:00:00'", "290000-01-31T12:00:00"),
    ("'infinity'::DATE", "infinity"),
    ("DATE '2026-01-31'", "2026-01-31"),
    ("TIME '12:00'", "12:00:00"),
    ("INTERVAL '1 month 2 days'", "1 month 2 days"),
    ("'4b1f0e4c-7a1d-4b7e-9d3e-0a2a4c0d8f11'::UUID", "4b1f0e4c-7a1d-4b7e-9d3e-0a2a4c0d8f11"),
    ("'101'::BIT", "101"),
    ("'x'::ENUM ('x', 'y')", "x"),
    ("true", True),
    ("NULL", None),
    ("['a', NULL]", ["a", None]),
    ("[1.5::DOUBLE, 'nan'::DOUBLE, 'infinity'::DOUBLE]", [1.5, None, None]),
    ("[9007199254740993, 0]", ["9007199254740993", 0]),
    ("{'a': {'b': [1]}, 'c': '\"'}", {"a": {"b": [1]}, "c": '"'}),
    ("MAP {'k': 1}", {"k": 1}),
    ("union_value(k := 1)", {"k": 1}),
    ("array_value(1, 2)", [1, 2]),
    ("'{\"a\": [1, null]}'::JSON", {"a": [1, None]}),
    ("'\u2028 \\ \" é 🔑'", '\u2028 \\ " é 🔑'),
    ("chr(1)", "\x01"),
]


async def test_every_kind_of_value_is_valid_json(queries: SandboxedQueries) -> None:
    answer = await ask(queries, "SELECT " + ", ".join(text for text, _ in VALUES))
    for found, (text, expected) in zip(answer["rows"][0], VALUES, strict=True):
        assert found == expected, text


async def test_equal_column_names_and_no_rows_are_fine(queries: SandboxedQueries) -> None:
    answer = await ask(queries, "SELECT 1 AS a, 2 AS a, 3 AS A")
    assert answer["rows"] == [[1, 2, 3]]
    answer = await ask(queries, "SELECT 1 AS a WHERE false")
    assert (answer["rows"], answer["row_count"]) == ([], 0)


async def test_csv_is_what_spreadsheets_read_and_no_formula(queries: SandboxedQueries) -> None:
    sql = """SELECT x AS "=name", -1 AS n, 'a,"b"' || chr(10) AS quoted, [1] AS list, NULL AS none
             FROM (VALUES ('=1+1'), ('+1'), ('-1'), ('@a'), (chr(9)), (chr(13)), ('fine')) t(x)"""
    text = (await queries.query(sql, "csv")).decode()
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    assert head == ["'=name", "n", "quoted", "list", "none"]
    assert [row[0] for row in rows] == ["'=1+1", "'+1", "'-1", "'@a", "'\t", "'\r", "fine"]
    assert rows[0][1:] == ["-1", 'a,"b"\n', "[1]", ""]


async def test_arrow_keeps_the_types(queries: SandboxedQueries) -> None:
    sql = """SELECT key_id, verified_at, count(*) AS n FROM verifications GROUP BY ALL"""
    table = pyarrow.ipc.open_stream(await queries.query(sql, "arrow")).read_all()
    assert table.num_rows == 48
    assert [str(each) for each in table.schema.types] == [
        "string",
        "timestamp[us, tz=UTC]",
        "int64",
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "FROM keys",
        "WITH k AS (SELECT 1) SELECT * FROM k -- and so on",
        "VALUES (1), (2);",
        "TABLE snapshot",
        "DESCRIBE verifications",
        "SUMMARIZE snapshot",
        "SHOW TABLES",
        "EXPLAIN SELECT 1",
        "EXPLAIN (FORMAT json) SELECT 1",
        "explain analyze select count(*) from verifications",
        "PIVOT daily_usage ON outcome IN ('VALID') USING sum(verifications)",
        "SELECT * FROM query('SELECT 1')",
        "SELECT getvariable('x')",
        "SELECT data->>'kind' FROM events",
    ],
)
async def test_whatever_reads_is_answered(queries: SandboxedQueries, sql: str) -> None:
    answer = await ask(queries, sql)
    assert answer["row_count"] == len(answer["rows"]) > 0


# What it refuses


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("INSERT INTO keys (key_id) VALUES ('x')", "INSERT"),
        ("UPDATE keys SET name = 'x'", "UPDATE"),
        ("DELETE FROM keys", "DELETE"),
        ("MERGE INTO keys USING keys AS k ON true WHEN MATCHED THEN DELETE", "MERGE INTO"),
        ("CREATE TABLE t (a INTEGER)", "CREATE"),
        ("CREATE TEMP TABLE t AS SELECT 1", "CREATE"),
        ("DROP TABLE keys", "DROP"),
        ("ALTER TABLE keys ADD COLUMN a INTEGER", "ALTER"),
        ("ATTACH ':memory:' AS m", "ATTACH"),
        ("DETACH analytics", "DETACH"),
        ("COPY (SELECT 1) TO '{root}/x.csv'", "COPY"),
        ("COPY keys FROM '/etc/passwd'", "COPY"),
        ("COPY (SELECT * FROM keys) TO '{root}/x' (FORMAT parquet)", "COPY"),
        ("EXPORT DATABASE '{root}/x'", "EXPORT"),
        ("IMPORT DATABASE '{root}'", ""),
        ("INSTALL httpfs", "LOAD"),
        ("LOAD httpfs", "LOAD"),
        ("SET threads = 100", "SET"),
        ("SET VARIABLE x = 1", "SET"),
        ("RESET memory_limit", "SET"),
        ("USE temp", "SET"),
        ("PRAGMA enable_profiling", "PRAGMA"),
        ("CALL pragma_version()", "CALL"),
        ("CHECKPOINT", "CALL"),
        ("VACUUM", "VACUUM"),
        ("BEGIN", "TRANSACTION"),
        ("PREPARE p AS SELECT 1", "PREPARE"),
        ("CREATE SECRET s (TYPE s3)", "CREATE"),
        ("EXPLAIN ANALYZE COPY (SELECT 1) TO '{root}/x.csv'", "EXPLAIN"),
        ("EXPLAIN ANALYZE INSERT INTO keys (key_id) VALUES ('x')", "EXPLAIN"),
        ("EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{root}/x.csv'", "EXPLAIN"),
        ("SELECT 1; SELECT 2", "One statement"),
        ("SELECT 1; DROP TABLE keys", "One statement"),
        ("PIVOT daily_usage ON outcome USING sum(verifications)", "PIVOT"),
    ],
)
async def test_whatever_does_more_is_refused_by_name(
    queries: SandboxedQueries, root: Path, sql: str, what: str
) -> None:
    refusal = await fault(queries, sql.replace("{root}", str(root)))
    assert refusal.fault in ("refused", "invalid")
    assert what in refusal.detail
    if what:
        assert refusal.fault == "refused"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/proc/self/environ')",
        "SELECT * FROM read_csv('{root}/../../../../../../etc/passwd', header = false)",
        "SELECT * FROM '{root}/../x.parquet'",
        "SELECT * FROM glob('/**')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM query('SELECT * FROM read_text(''/etc/passwd'')')",
        "SELECT * FROM query_table('/etc/passwd')",
        "SELECT * FROM read_parquet('http://127.0.0.1:1/x.parquet')",
        "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
        "SELECT * FROM read_csv('/dev/stdin')",
        "SELECT * FROM read_duckdb('/tmp/other.duckdb')",
        "SELECT * FROM sqlite_scan('/tmp/x.db', 't')",
        "SELECT * FROM parquet_metadata('/etc/passwd')",
        "SELECT getenv('HOME')",
        "SELECT * FROM no_such_table",
        "SELEC 1",
        "SELECT no_such_column FROM keys",
        "SELECT 'x'::INTEGER",
        "SELECT error('my own words')",
        "SELECT $1",
        "SELECT ?",
        "",
        " ; ",
        "-- nothing",
        "SELECT 1 \0; DROP TABLE keys",
        "SELECT * FROM duckdb_secrets(redact = false)",
    ],
)
async def test_other_files_and_wrong_sql_are_clear_refusals(
    queries: SandboxedQueries, root: Path, sql: str
) -> None:
    refusal = await fault(queries, sql.replace("{root}", str(root)))
    assert refusal.fault in ("refused", "invalid")
    assert "root:" not in refusal.detail


async def test_python_variables_are_not_tables(queries: SandboxedQueries) -> None:
    for name in ("job", "sys", "relation", "connection"):
        assert (await fault(queries, f"SELECT * FROM {name}")).fault == "invalid"


async def test_links_in_the_lake_lead_nowhere(root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    lake = tmp_path / "lake"
    snapshot = write_lake(lake)
    (lake / "link.txt").symlink_to(secret)
    (lake / "folder").symlink_to(tmp_path)
    (lake / "own.txt").write_text("of the lake")
    queries = SandboxedQueries(snapshot, str(lake), limits=QUICK)
    answer = await ask(queries, f"SELECT content FROM read_text('{lake}/own.txt')")
    assert answer["rows"] == [["of the lake"]]
    for name in ("link.txt", "folder/secret.txt", "folder/*.txt"):
        with contextlib.suppress(QueryNotAnswered):
            answer = await ask(queries, f"SELECT content FROM read_text('{lake}/{name}')")
            assert "the secret" not in str(answer)


async def test_table_functions_that_write_write_nothing(
    queries: SandboxedQueries, root: Path, tmp_path: Path
) -> None:
    """DuckDB answers `SELECT * FROM enable_logging(…)` by making files, locked or not."""
    for place in (root / "log", tmp_path / "log"):
        sql = f"SELECT * FROM enable_logging(storage = 'file', storage_path = '{place}')"
        assert (await fault(queries, sql)).fault in ("failed", "refused", "invalid")
        assert not place.exists()


async def test_settings_and_secrets_tell_nothing_of_this_machine(
    queries: SandboxedQueries,
) -> None:
    home = os.environ["HOME"]
    answer = await ask(queries, "SELECT * FROM duckdb_settings() WHERE name != 'allowed_paths'")
    assert f"{home}/.duckdb" not in str(answer)
    assert (await ask(queries, "SELECT * FROM duckdb_secrets()"))["rows"] == []


# What it stops


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE t AS (SELECT 1 a UNION ALL SELECT a + 1 FROM t) SELECT max(a) FROM t",
        "SELECT count(*) FROM range(1000000000000)",
        "SELECT sum(hash(a.range + b.range)) FROM range(10000000) a, range(10000000) b",
        "SELECT * FROM range(1000000000) ORDER BY random() LIMIT 1",
    ],
)
async def test_what_runs_for_ever_is_killed_in_time(brief: SandboxedQueries, sql: str) -> None:
    assert (await fault(brief, sql)).fault in ("too_long", "too_large")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT length(repeat('x', 10000000000))",
        "SELECT length(repeat('x', 3000000000))",
        "SELECT list(range) FROM range(1000000000)",
        "SELECT * FROM range(1001)",
        "SELECT * FROM range(1000000000000)",
        "SELECT a.range FROM range(1000000000) a, range(1000000000) b",
        "SELECT repeat('x', 100000) FROM range(100)",
        "SELECT string_agg(repeat('x', 1000), '') FROM range(100000000)",
        "SELECT bitstring_agg(range) FROM range(1000000000000)",
    ],
)
async def test_what_is_too_large_is_stopped(queries: SandboxedQueries, sql: str) -> None:
    refusal = await fault(queries, sql)
    # Some of them DuckDB refuses by itself, as too much of something.
    assert refusal.fault in ("too_large", "too_long", "invalid")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "(" * 30_000 + "1" + ")" * 30_000,
        "SELECT " + "[" * 30_000 + "1" + "]" * 30_000,
        "SELECT " + "1+" * 30_000 + "1",
        "SELECT " + "NOT " * 15_000 + "true",
        "SELECT " + "(SELECT " * 5_000 + "1" + ")" * 5_000,
        "SELECT " + "CASE WHEN true THEN " * 2_000 + "1" + " END" * 2_000,
        "SELECT '" + "[" * 20_000 + "]" * 20_000 + "'::JSON",
        "SELECT 1 " + "UNION ALL SELECT 1 " * 3_000,
        "SELECT " + ", ".join(["1 AS a"] * 9_000),
        "SELECT regexp_matches(repeat('a', 100000), '" + "(a*)*" * 500 + "b')",
        "SELECT regexp_matches('a', '(((a{1,1000}){1,1000}){1,1000})')",
        "SELECT 'x' LIKE '" + "%" * 60_000 + "'",
        "SELECT " + "x" * 60_000,
        "é" * 30_000,
    ],
    ids=lambda sql: sql[:24],
)
async def test_sql_made_to_break_the_parser_gets_an_answer_or_a_refusal(
    queries: SandboxedQueries, sql: str
) -> None:
    (said,) = await asyncio.gather(queries.query(sql, "json"), return_exceptions=True)
    if isinstance(said, bytes):
        assert json.loads(said)["row_count"] >= 1
    else:
        assert isinstance(said, QueryNotAnswered)
        assert 0 < len(said.detail) <= 600


async def test_few_run_at_once_and_the_rest_hears_so(root: Path, before: None) -> None:
    limits = Limits(seconds=2, at_once=1, waiting=1, patience_seconds=0.3)
    queries = SandboxedQueries(root / "analytics.duckdb", str(root), limits=limits)
    endless = "SELECT count(*) FROM range(1000000000000)"
    asked = [asyncio.ensure_future(queries.query(endless, "json")) for _ in range(4)]
    said = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each) for each in said] == [QueryNotAnswered, Overloaded, Overloaded, Overloaded]
    assert (await ask(queries, "SELECT 1"))["row_count"] == 1


async def test_a_query_that_nobody_waits_for_is_ended(queries: SandboxedQueries) -> None:
    asking = asyncio.ensure_future(
        queries.query("SELECT count(*) FROM range(1000000000000)", "json")
    )
    await _until(lambda: len(_query_processes()) == 1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert _query_processes() == []
    assert (await ask(queries, "SELECT 1"))["row_count"] == 1


async def test_a_query_process_that_dies_is_one_refusal(queries: SandboxedQueries) -> None:
    asking = asyncio.ensure_future(
        queries.query("SELECT count(*) FROM range(1000000000000)", "json")
    )
    await _until(lambda: len(_query_processes()) == 1)
    os.kill(int(_query_processes()[0].split()[0]), signal.SIGSEGV)
    with pytest.raises(QueryNotAnswered) as refused:
        await asking
    assert refused.value.fault == "failed"


_ASKER = """
import asyncio, sys
from pathlib import Path
from infra.analytics.queries import SandboxedQueries
assert not {"duckdb", "pyarrow"} & set(sys.modules)
queries = SandboxedQueries(Path(sys.argv[1]) / "analytics.duckdb", sys.argv[1])
asyncio.run(queries.query("SELECT count(*) FROM range(1000000000000)", "json"))
"""


async def test_queries_end_with_the_server_that_asked(root: Path, before: None) -> None:
    """Even if it is killed. (The asking process also shows that it imports no DuckDB.)"""
    argv = [sys.executable, "-c", _ASKER, str(root)]
    asker = subprocess.Popen(argv)  # noqa: ASYNC220
    try:
        await _until(lambda: bool(_children(asker.pid)))
        (child,) = _children(asker.pid)
        assert _environment(child) == b""
    finally:
        asker.kill()
        asker.wait()
    await _until(lambda: not Path(f"/proc/{child}").exists())


def _environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(each)
        for each in listed
        if b"query_process" in Path(f"/proc/{each}/cmdline").read_bytes()
    ]


async def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


# When there is no lake


async def test_no_lake_and_a_broken_one_say_so(tmp_path: Path) -> None:
    queries = SandboxedQueries(tmp_path / "analytics.duckdb", str(tmp_path))
    with pytest.raises(AnalyticsUnavailable, match="not been written"):
        await queries.query("SELECT 1", "json")
    (tmp_path / "analytics.duckdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(AnalyticsUnavailable, match="can't be read"):
        await queries.query("SELECT 1", "json")


async def test_a_new_snapshot_is_seen_by_the_next_query(tmp_path: Path) -> None:
    snapshot = write_lake(tmp_path / "lake")
    queries = SandboxedQueries(snapshot, str(tmp_path / "lake"))
    beside = tmp_path / "lake/next.duckdb"
    beside.write_bytes(snapshot.read_bytes())
    with duckdb.connect(beside) as database:
        database.execute("UPDATE snapshot SET usage_position = 99999")
    assert (await ask(queries, "SELECT 1"))["snapshot"]["usage_position"] == 48210
    beside.rename(snapshot)
    assert (await ask(queries, "SELECT 1"))["snapshot"]["usage_position"] == 99999


# Usage


def wanted(*group_by: Any, **changes: Any) -> UsageWanted:
    fields = {"group_by": group_by, "since": SINCE, "until": UNTIL, "account_id": None, **changes}
    return UsageWanted(**fields)


async def usage(queries: SandboxedQueries, wanted: UsageWanted, format: LakeFormat = "json") -> Any:
    return json.loads(await queries.usage(wanted, format))


async def test_usage_is_summed_by_what_is_asked_for(queries: SandboxedQueries) -> None:
    answer = await usage(queries, wanted("day"))
    assert answer["items"] == [
        {"day": f"2026-03-0{day}", "verifications": 16, "cost": 24} for day in (1, 2, 3)
    ]
    assert answer["group_by"] == ["day"]
    assert answer["since"] == "2026-03-01T00:00:00Z"
    assert answer["snapshot"]["usage_position"] == 48210
    answer = await usage(queries, wanted("key", "outcome", account_id="acct_ada"))
    assert answer["items"] == [
        {"key_id": key, "key_name": name, "outcome": outcome, "verifications": n, "cost": cost}
        for key, name, outcome, n, cost in (
            ("key_ada1", "ci", "QUOTA_EXCEEDED", 6, 0),
            ("key_ada1", "ci", "VALID", 6, 18),
            ("key_ada2", "=cmd()", "QUOTA_EXCEEDED", 3, 0),
            ("key_ada2", "=cmd()", "VALID", 3, 9),
        )
    ]
    answer = await usage(queries, wanted("model", "day", account_id="acct_bob"))
    assert [list(item) for item in answer["items"]] == [
        ["model", "day", "verifications", "cost"]
    ] * 3


async def test_usage_is_exact_at_both_ends(queries: SandboxedQueries) -> None:
    """From `since` on, before `until`; what is bound is a value whatever it looks like."""
    noon = datetime(2026, 3, 2, 12, 0, 1, tzinfo=UTC)
    until = datetime(2026, 3, 2, 12, 0, 3, tzinfo=UTC)
    answer = await usage(queries, wanted("day", since=noon, until=until, account_id="acct_bob"))
    assert [item["verifications"] for item in answer["items"]] == [2]
    answer = await usage(queries, wanted("day", account_id="x' OR 'a' = 'a"))
    assert answer["items"] == []


async def test_usage_as_csv_and_arrow(queries: SandboxedQueries) -> None:
    text = (await queries.usage(wanted("key"), "csv")).decode()
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["key_id", "key_name", "verifications", "cost"]
    assert rows[2] == ["key_ada2", "'=cmd()", "6", "9"]
    table = pyarrow.ipc.open_stream(await queries.usage(wanted("day"), "arrow")).read_all()
    assert table.column("verifications").to_pylist() == [16, 16, 16]


async def test_usage_of_a_lake_that_is_not_as_it_should_be(tmp_path: Path) -> None:
    snapshot = write_lake(tmp_path)
    shutil.rmtree(tmp_path / "usage")
    queries = SandboxedQueries(snapshot, str(tmp_path))
    with pytest.raises(AnalyticsUnavailable, match="can't be read"):
        await queries.usage(wanted("day"), "json")


# The page for analysts


def _examples() -> list[str]:
    page = Path("docs/analytics.md").read_text("utf-8")
    blocks = "".join(re.findall(r"^```sql\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    return [*blocks.split(";\n")[:-1], *re.findall(r"`(PIVOT .*?)`", page)]


async def test_the_examples_of_the_page_work(queries: SandboxedQueries) -> None:
    examples = _examples()
    assert len(examples) == 5
    for sql in examples:
        await ask(queries, sql)


# A lake in S3


@pytest.fixture
def s3() -> Iterator[S3Access]:
    """A store that speaks S3, on loopback, with the bucket `lakes`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    access = S3Access(
        region="us-east-1",
        endpoint_url=f"http://{host}:{port}",
        key_id="reader",
        secret="a secret of the store",
    )
    yield access
    server.stop()


def _upload(access: S3Access, root: Path) -> None:
    store = boto3.client(
        "s3",
        endpoint_url=access.endpoint_url,
        region_name=access.region,
        aws_access_key_id=access.key_id,
        aws_secret_access_key=access.secret,
    )
    store.create_bucket(Bucket="lakes")
    for file in root.rglob("*.parquet"):
        store.upload_file(str(file), "lakes", f"one/{file.relative_to(root)}")
    store.put_object(Bucket="lakes", Key="two/secret.txt", Body=b"of others")


async def test_a_lake_in_s3_is_read_and_its_secret_is_not(s3: S3Access, tmp_path: Path) -> None:
    write_lake(tmp_path / "written")
    _upload(s3, tmp_path / "written")
    snapshot = write_snapshot(
        tmp_path / "lake.duckdb",
        files_of(tmp_path / "written"),
        "s3://lakes/one",
        opening=(
            f"LOAD '{httpfs_path()}'",
            f"CREATE SECRET (TYPE s3, KEY_ID '{s3.key_id}', SECRET '{s3.secret}',"
            f" ENDPOINT '{str(s3.endpoint_url)[7:]}', URL_STYLE path, USE_SSL false)",
        ),
    )
    limits = Limits(seconds=10)
    queries = SandboxedQueries(snapshot, "s3://lakes/one", s3=lambda: s3, limits=limits)
    answer = await ask(queries, "SELECT count(*) FROM verifications WHERE date = '2026-03-02'")
    assert answer["rows"] == [[16]]
    assert (await usage(queries, wanted("day")))["items"][0]["verifications"] == 16
    for sql in (
        "FROM read_text('s3://lakes/two/secret.txt')",
        "FROM read_text('s3://lakes/one/../two/secret.txt')",
        "FROM read_text('s3://lakes/one/usage/../../two/secret.txt')",
        "FROM read_text('s3://lakes/one/%2e%2e/two/secret.txt')",
        "FROM glob('s3://lakes/**')",
        "FROM read_text('/etc/passwd')",
        "FROM read_text('/etc/hosts')",
        f"FROM read_text('{s3.endpoint_url}/lakes/two/secret.txt')",
    ):
        assert (await fault(queries, sql)).fault in ("refused", "invalid")
    for sql in ("FROM duckdb_secrets()", "FROM duckdb_settings()", "SELECT current_query()"):
        assert s3.secret is not None
        assert s3.secret not in str(await ask(queries, sql))
    assert (await fault(queries, "FROM duckdb_secrets(redact = false)")).fault == "invalid"
