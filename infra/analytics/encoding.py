"""A query's rows as JSON, CSV and Arrow: the same values, whatever DuckDB calls them.

In JSON and CSV: integers are numbers up to 2^53, and strings beyond (no double holds them);
decimals are strings; NaN and infinities are null; bytes are base64; instants are RFC 3339 in UTC;
lists, structs, maps and JSON are JSON. What else there is, is text as DuckDB writes it.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import duckdb
import msgspec

MAX_SAFE = 2**53
BATCH = 10_000

_AS_IS = {"boolean", "tinyint", "smallint", "integer", "utinyint", "usmallint", "uinteger"}
_AS_IS |= {"bigint", "ubigint", "hugeint", "uhugeint", "float", "double"}
_LARGE = {"bigint", "ubigint", "hugeint", "uhugeint"}
_NUMBERS = _AS_IS - {"boolean"} | {"decimal"}
_NESTED = {"list", "array", "struct", "map", "union", "variant"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Column(NamedTuple):
    """`type` as DuckDB writes it, `kind` the family that it belongs to."""

    name: str
    type: str
    kind: str

    @property
    def numeric(self) -> bool:
        return self.kind in _NUMBERS


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes, /) -> object: ...


def columns_of(relation: duckdb.DuckDBPyRelation) -> list[Column]:
    """The columns, in their order; names may occur twice."""
    return [
        Column(name, str(each), "json" if str(each) == "JSON" else each.id)
        for name, each in zip(relation.columns, relation.types, strict=True)
    ]


def plain(relation: duckdb.DuckDBPyRelation, columns: Sequence[Column]) -> duckdb.DuckDBPyRelation:
    """The same rows in nothing but booleans, numbers and text. DuckDB does the work: Python's
    own types can't hold its larger dates."""
    return relation.project(
        ", ".join(_plain(f"#{at}", column.kind) for at, column in enumerate(columns, start=1))
    )


def _plain(value: str, kind: str) -> str:
    if kind in _AS_IS:
        return value
    if kind == "blob":
        return f"base64({value})"
    if kind == "timestamp with time zone":
        return f"replace(replace({value}::VARCHAR, ' ', 'T'), '+00', 'Z')"
    if kind.startswith("timestamp"):
        return f"replace({value}::VARCHAR, ' ', 'T')"
    if kind in _NESTED:
        return f"to_json({value})::VARCHAR"
    return f"{value}::VARCHAR"


def rows_of(
    relation: duckdb.DuckDBPyRelation, columns: Sequence[Column]
) -> Iterator[list[list[Any]]]:
    """What `plain` made, in batches, as values that JSON has."""
    large = [at for at, column in enumerate(columns) if column.kind in _LARGE]
    nested = [at for at, column in enumerate(columns) if column.kind in _NESTED | {"json"}]
    while batch := relation.fetchmany(BATCH):
        rows = [list(row) for row in batch]
        for row in rows:
            for at in large:
                row[at] = _whole(row[at])
            for at in nested:
                row[at] = _tree(row[at])
        yield rows


def _whole(number: int | None) -> int | str | None:
    return str(number) if number is not None and abs(number) > MAX_SAFE else number


def _tree(text: str | None) -> Any:
    if text is None:
        return None
    try:
        # NaN and the like are not JSON, but DuckDB writes them.
        return json.loads(text, parse_int=_read_whole, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return text


def _read_whole(digits: str) -> int | str:
    return digits if len(digits) > 18 else _whole(int(digits)) or 0


def as_json(rows: Iterable[list[list[Any]]]) -> list[list[Any]]:
    """All rows at once."""
    return [row for batch in rows for row in batch]


def write_csv(sink: Sink, columns: Sequence[Column], rows: Iterable[list[list[Any]]]) -> int:
    """RFC 4180 with a header; answers how many rows it were.

    Text that a spreadsheet would take for a formula gets a ' in front (OWASP, CSV injection).
    """
    count = 0
    textual = [at for at, column in enumerate(columns) if not column.numeric]
    _write_lines(sink, [[_harmless(column.name) for column in columns]])
    for batch in rows:
        for row in batch:
            for at in textual:
                row[at] = _cell(row[at])
        _write_lines(sink, batch)
        count += len(batch)
    return count


def _write_lines(sink: Sink, rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    sink.write(text.getvalue().encode())


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return _harmless(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None else msgspec.json.encode(value).decode()


def _harmless(text: str) -> str:
    return "'" + text if text.startswith(_FORMULA) else text


def write_lines(sink: Sink, columns: Sequence[Column], rows: Iterable[list[list[Any]]]) -> int:
    """A JSON object a line; of columns with the same name the later ones get a number."""
    names: list[str] = []
    for column in columns:
        again = names.count(column.name)
        names.append(f"{column.name}_{again}" if again else column.name)
    count = 0
    for batch in rows:
        objects = (dict(zip(names, row, strict=True)) for row in batch)
        sink.write(msgspec.json.Encoder().encode_lines(objects))
        count += len(batch)
    return count


def write_arrow(sink: Sink, relation: duckdb.DuckDBPyRelation) -> int:
    """The rows with their own types as an Arrow IPC stream; answers how many it were."""
    import pyarrow

    reader = relation.to_arrow_reader(BATCH)
    count = 0
    with pyarrow.ipc.new_stream(sink, reader.schema) as stream:
        for batch in reader:
            stream.write_batch(batch)
            count += batch.num_rows
    return count


def write_parquet(sink: Sink, relation: duckdb.DuckDBPyRelation) -> int:
    """The rows with their own types as Parquet (zstd); answers how many it were."""
    import pyarrow.parquet

    reader = relation.to_arrow_reader(BATCH * 10)
    count = 0
    with pyarrow.parquet.ParquetWriter(sink, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
            count += batch.num_rows
    return count
