"""DuckDB on a published snapshot, locked to reading it; and the one statement that is let in.

Imports DuckDB: only query processes and the command line may import this.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import duckdb

from infra.analytics.refusals import Refusal
from infra.httpfs import httpfs_path

_MAX_MESSAGE = 600
_EXPLAIN = re.compile(r"\s*EXPLAIN\s*(?:\([^)]*\)|ANALYZE\s)?", re.IGNORECASE)
_AGGREGATE = "Aggregate, select fewer rows or columns, or add LIMIT."


class S3(NamedTuple):
    """Where the Parquet of a lake in S3 is, and as whom it is read."""

    region: str | None
    endpoint_url: str | None
    key_id: str | None
    secret: str | None
    session_token: str | None


class Caps(NamedTuple):
    """What DuckDB itself may use (None: what it takes by default), and whether to measure its
    progress."""

    memory_bytes: int | None = None
    threads: int | None = None
    progress: bool = False


def open_snapshot(
    snapshot: str | Path, lake_root: str, s3: S3 | None, caps: Caps
) -> duckdb.DuckDBPyConnection:
    """The snapshot, read-only and locked. Refusal("unavailable") if it is not there or unreadable.

    What can be read besides it is what is under `lake_root`; nothing can be written, attached,
    loaded or set. Not to be closed by hand: DuckDB aborts the process when a relation outlives
    its connection, and a traceback is enough to keep one.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "max_temp_directory_size": "0GB",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "allow_persistent_secrets": False,
        "python_enable_replacements": False,
    }
    if caps.memory_bytes is not None:
        config["memory_limit"] = f"{caps.memory_bytes // 1_000_000}MB"
    if caps.threads is not None:
        config["threads"] = caps.threads
    try:
        connection = duckdb.connect(str(snapshot), read_only=True, config=config)
    except duckdb.Error:
        there = Path(snapshot).exists()
        detail = "The lake can't be read." if there else "The lake has not been written yet."
        raise Refusal("unavailable", detail) from None
    if _is_locked(connection):
        return connection  # the same database as an earlier one's of this process
    if s3 is not None:
        _let_into_s3(connection, s3, lake_root)
    if caps.progress:
        connection.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
    _lock(connection, lake_root)
    return connection


def _let_into_s3(connection: duckdb.DuckDBPyConnection, s3: S3, lake_root: str) -> None:
    connection.execute(f"LOAD {_text(str(httpfs_path()))}")
    endpoint = s3.endpoint_url or ""
    scheme, _, host = endpoint.rpartition("://")
    options = {
        "TYPE": "s3",
        "SCOPE": lake_root,
        "KEY_ID": s3.key_id,
        "SECRET": s3.secret,
        "SESSION_TOKEN": s3.session_token,
        "REGION": s3.region,
        "ENDPOINT": host.rstrip("/") or None,
        # Stores that are not Amazon's rarely have a name for each bucket.
        "URL_STYLE": "path" if endpoint else None,
    }
    given = [f"{name} {_text(value)}" for name, value in options.items() if value]
    if scheme == "http":
        given.append("USE_SSL false")
    connection.execute(f"CREATE SECRET lake ({', '.join(given)})")


def _is_locked(connection: duckdb.DuckDBPyConnection) -> bool:
    return connection.execute("SELECT current_setting('lock_configuration')").fetchone() == (True,)


def _lock(connection: duckdb.DuckDBPyConnection, lake_root: str) -> None:
    root = lake_root.rstrip("/") + "/"
    allowed = f"allowed_directories = [{_text(root)}]"
    if root.startswith("s3://"):
        # File by file: in s3://bucket/lake/../other DuckDB sees a name below the lake, and on
        # the way to the store it becomes one beside it.
        allowed = f"allowed_paths = [{', '.join(map(_text, _files(connection, root)))}]"
    # The order matters: each of them forbids to change those before.
    for setting in (
        "TimeZone = 'UTC'",
        allowed,
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")


def _files(connection: duckdb.DuckDBPyConnection, root: str) -> list[str]:
    """The files that the views of the snapshot name."""
    views = connection.execute("SELECT sql FROM duckdb_views() WHERE NOT internal").fetchall()
    named = re.compile(f"'({re.escape(root)}[^']*)'")
    return sorted({file for (view,) in views for file in named.findall(view)})


def one_select(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """The one statement of `sql`, which only reads. Refusal names what it is if it isn't."""
    if "\0" in sql:
        raise Refusal("invalid", "SQL has no NUL characters.")
    statements = connection.extract_statements(sql)
    if not statements:
        raise Refusal("invalid", "There is no statement in this.", "As in: SELECT 1")
    if _kinds(statements) == ["CREATE", "SELECT"] and not any(each.query for each in statements):
        # What DuckDB makes of a PIVOT that has to look for its columns first.
        hint = "Name the values: PIVOT … ON outcome IN ('VALID', 'USAGE_EXCEEDED')."
        raise Refusal("refused", "A PIVOT whose columns aren't named creates a type.", hint)
    if len(statements) > 1:
        detail = f"One statement at a time, please: this is {len(statements)}."
        raise Refusal("refused", detail)
    statement = statements[0]
    kind = statement.type.name
    if kind == "EXPLAIN":
        kind = _explained(connection, statement.query)
    if kind != "SELECT":
        what = kind.replace("_", " ")
        hint = (
            "Only what reads is answered: SELECT, FROM, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW, "
            "EXPLAIN."
        )
        raise Refusal("refused", f"This is {what}.", hint)
    if statement.named_parameters:
        raise Refusal("invalid", "Parameters have no values here.", "Write the values themselves.")
    return statement


def _explained(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    # DuckDB calls it EXPLAIN whatever it explains, and ANALYZE carries it out.
    start = _EXPLAIN.match(sql)
    kinds = _kinds(connection.extract_statements(sql[start.end() :])) if start else []
    return "SELECT" if kinds == ["SELECT"] else "EXPLAIN of what is not SELECT"


def _kinds(statements: Sequence[duckdb.Statement]) -> list[str]:
    return [each.type.name for each in statements]


@contextmanager
def refusing() -> Iterator[None]:
    """Turns what DuckDB says into a Refusal."""
    try:
        yield
    except duckdb.InterruptException:
        raise Refusal("too_long", "The query was stopped.") from None
    except (duckdb.OutOfMemoryException, MemoryError):
        raise Refusal(
            "too_large", "The query needs more memory than it may use.", _AGGREGATE
        ) from (None)
    except duckdb.PermissionException as error:
        hint = "A query reads the tables of the lake, and no other file or address."
        raise Refusal("refused", _message(error), hint) from None
    except (duckdb.InternalException, duckdb.FatalException):
        raise Refusal("failed", "DuckDB failed on this query.", "Write it another way.") from None
    except duckdb.Error as error:
        raise Refusal("invalid", _message(error)) from None
    except RecursionError:
        raise Refusal("too_large", "A value is nested too deeply.") from None


def _message(error: Exception) -> str:
    text = str(error).strip()
    return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 1] + "…"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
