"""The SQL of the lake, in DuckDB's dialect. Paths are quoted here; nothing else is foreign."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Literal

from projections.lake.tables import (
    DAILY_USAGE,
    EVENTS,
    VERIFICATIONS,
    VIEWS,
    Table,
)

# A writer holds a whole group in memory.
ROW_GROUP_ROWS = 30_720

Kind = Literal["usage", "events"]

KINDS: dict[Kind, Table] = {"usage": VERIFICATIONS, "events": EVENTS}

# Everything that two rows can differ in, so that a batch that is written again has the same
# bytes: same rows, same order, one thread.
_ORDER: dict[Kind, str] = {
    "usage": 'account_id, key_id, verified_at, "position", "row"',
    "events": 'account_id, stream, recorded_at, "position"',
}

_FLUSHES = """
SELECT prefix || "row" AS verification_id, make_timestamptz(at_us) AS verified_at,
       make_timestamp(at_us)::DATE AS date, accounts[a + 1] AS account_id,
       keys[k + 1] AS key_id, outcome, outcome = 'VALID' AS valid, "cost", tags, resource, model,
       operation, credits, judged_at, "position", "row"
  FROM (SELECT prefix, "position", keys, accounts, unnest(at_us) AS at_us, unnest("key") AS k,
               unnest(account) AS a, unnest(outcome) AS outcome, unnest("cost") AS "cost",
               unnest(judged_at) AS judged_at, unnest(tags) AS tags,
               unnest(resource) AS resource, unnest(model) AS model,
               unnest(operation) AS operation, unnest(credits) AS credits,
               unnest(range(len(at_us))::INTEGER[]) AS "row"
          FROM read_ndjson({source}, maximum_object_size = {longest}, columns = {{
               "position": 'BIGINT', prefix: 'VARCHAR', keys: 'VARCHAR[]',
               accounts: 'VARCHAR[]', at_us: 'BIGINT[]', "key": 'INTEGER[]',
               account: 'INTEGER[]', outcome: 'VARCHAR[]', "cost": 'BIGINT[]',
               judged_at: 'BIGINT[]', tags: 'VARCHAR[][]', resource: 'VARCHAR[]',
               model: 'VARCHAR[]', operation: 'VARCHAR[]', credits: 'BIGINT[]'}}))
 WHERE outcome <> 'RETRIED'
"""

_DECISIONS = """
SELECT "position", make_timestamptz(at_us) AS recorded_at,
       make_timestamp(at_us)::DATE AS date, "type", noun, fact, stream, version, account_id,
       actor, request_id, data
  FROM read_ndjson({source}, maximum_object_size = {longest}, columns = {{
       "position": 'BIGINT', at_us: 'BIGINT', "type": 'VARCHAR', noun: 'VARCHAR',
       fact: 'VARCHAR', stream: 'VARCHAR', version: 'BIGINT', account_id: 'VARCHAR',
       actor: 'VARCHAR', request_id: 'VARCHAR', data: 'JSON'}})
"""

# What verifications spent is written down by lot as `drawn`: here they stand for themselves.
_CREDITS = """
CREATE OR REPLACE VIEW credits AS
SELECT account_id, make_timestamptz((data->>'at_us')::BIGINT) AS at, date, fact AS kind,
       (data->>'amount')::BIGINT AS amount,
       (data->>'after')::BIGINT - (data->>'before')::BIGINT AS change,
       data->>'operation' AS operation, (data->>'entry_no')::BIGINT AS entry_no,
       data->>'hold_id' AS hold_id, NULL::VARCHAR AS verification_id, "position"
  FROM events WHERE noun = 'credit' AND fact <> 'drawn'
UNION ALL
SELECT account_id, verified_at, date, 'verification', credits, -credits, operation, NULL, NULL,
       verification_id, "position"
  FROM verifications WHERE credits > 0
"""

_LINES: dict[Kind, str] = {"usage": _FLUSHES, "events": _DECISIONS}


def quoted(text: str) -> str:
    """A SQL string."""
    return "'" + text.replace("'", "''") + "'"


def write_day(kind: Kind, lines: str, longest: int, target: str, day: date | None) -> str:
    """Turn a file of lines into a Parquet file: all of it, or the rows of one UTC day.

    `longest` is that of a line in bytes: DuckDB's buffers follow it.
    """
    where = "" if day is None else f"WHERE date = DATE '{day.isoformat()}'"
    rows = _LINES[kind].format(source=quoted(lines), longest=longest)
    return _copy(f"SELECT * FROM ({rows}) {where} ORDER BY {_ORDER[kind]}", target)  # noqa: S608


def merge(kind: Kind, sources: Sequence[str], target: str) -> str:
    """Turn several Parquet files of one day into one, sorted as each of them is."""
    names = KINDS[kind].column_names
    rows = f"SELECT {names} FROM {_files(sources)} ORDER BY {_ORDER[kind]}"  # noqa: S608
    return _copy(rows, target)


def views(files: Mapping[Kind, Sequence[str]]) -> list[str]:
    """Make the views over exactly these files: typed and empty where there are none."""
    made = []
    for kind, table in KINDS.items():
        if files[kind]:
            rows = f"SELECT {table.column_names} FROM {_files(files[kind])}"  # noqa: S608
        else:
            nulls = ", ".join(f'NULL::{each.type} AS "{each.name}"' for each in table.columns)
            rows = f"SELECT {nulls} WHERE false"
        made.append(f"CREATE OR REPLACE VIEW {table.name} AS {rows}")
    by = ", ".join(f'"{each.name}"' for each in DAILY_USAGE.columns[:4])
    made.append(
        f"CREATE OR REPLACE VIEW {DAILY_USAGE.name} AS SELECT {by}, "  # noqa: S608
        f'count(*)::BIGINT AS verifications, sum("cost")::BIGINT AS "cost" '
        f"FROM {VERIFICATIONS.name} GROUP BY ALL"
    )
    made.append(_CREDITS)
    return made + [line for view in VIEWS for line in _comments(view, "VIEW")]


def create(table: Table) -> list[str]:
    """Make an empty table with its comments."""
    columns = ", ".join(f'"{each.name}" {each.type}' for each in table.columns)
    return [
        f"CREATE OR REPLACE TABLE {table.name} ({columns})",
        *_comments(table, "TABLE"),
    ]


def fill(table: Table, csv: str) -> str:
    """Read a CSV file as Postgres writes it (NULL is empty and unquoted) into a table."""
    columns = ", ".join(f"{quoted(each.name)}: '{each.type}'" for each in table.columns)
    return (
        f"INSERT INTO {table.name} SELECT * FROM read_csv({quoted(csv)}, "  # noqa: S608
        "header = false, auto_detect = false, quote = '\"', escape = '\"', delim = ',', "
        "nullstr = '', allow_quoted_nulls = false, max_line_size = 1048576, "
        f"columns = {{{columns}}})"
    )


def _comments(table: Table, what: Literal["TABLE", "VIEW"]) -> list[str]:
    return [
        f"COMMENT ON {what} {table.name} IS {quoted(table.comment)}",
        *(
            f'COMMENT ON COLUMN {table.name}."{each.name}" IS {quoted(each.comment)}'
            for each in table.columns
        ),
    ]


def _copy(rows: str, target: str) -> str:
    return (
        f"COPY ({rows}) TO {quoted(target)} "
        f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP_ROWS})"
    )


def _files(paths: Sequence[str]) -> str:
    listed = ", ".join(quoted(path) for path in paths)
    return f"read_parquet([{listed}], hive_partitioning = false, union_by_name = true)"
