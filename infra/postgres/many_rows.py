"""Rows by the thousand, as an import writes them: one statement for each run of equal ones.

Postgres plans every statement anew here (connections prepare nothing), and that costs more than
writing the row. What a statement does with a row is taken from the one for a single row.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from application.rows import (
    ClaimRow,
    CounterRow,
    CreditCounterRow,
    DataKeyRow,
    KeyDigestRow,
    PasswordRow,
    Row,
    StateRow,
)
from infra.postgres.rows import INTO_PACKED, PACKED_STATE, STATEMENTS, statement

LEAST = 16
"""Shorter runs are written row by row."""

Values = dict[str, Any]


class _Many(NamedTuple):
    """`columns` are arrays in `sql`; `shared` are values that all rows of a run have in common."""

    sql: str
    columns: tuple[str, ...]
    shared: tuple[str, ...] = ()


def statements(rows: Sequence[Row]) -> Iterator[tuple[str, Values]]:
    """The SQL and parameters that write these rows, in their order.

    No two rows of a run may be of the same key: one statement changes a row once.
    """
    for single, run in groupby(map(statement, rows), key=lambda each: each[0]):
        values = [parameters for _, parameters in run]
        many = _MANY.get(single)
        if many is None or len(values) < LEAST or not _alike(values, many.shared):
            for parameters in values:
                yield single, parameters
        else:
            arrays = {name: [_element(row[name]) for row in values] for name in many.columns}
            yield many.sql, arrays | {name: values[0][name] for name in many.shared}


def _alike(values: Sequence[Values], shared: tuple[str, ...]) -> bool:
    return all(row[name] == values[0][name] for row in values for name in shared)


def _element(value: Any) -> Any:
    # Arrays of arrays can't be ragged.
    return ",".join(value) if isinstance(value, list) else value


def _from_arrays(single: str, columns: dict[str, str]) -> str:
    """`INSERT ... VALUES (...)` for one row as `INSERT ... SELECT` from arrays. `columns` are
    the parameters in the order of the values, and their types."""
    head, _, rest = single.partition("VALUES (")
    _, conflict, action = rest.partition(" ON CONFLICT")
    chosen = ", ".join(
        f"string_to_array(r.{name}, ',')" if name == "algorithms" else f"r.{name}"
        for name in columns
    )
    arrays = ", ".join(f"%({name})s::{kind}[]" for name, kind in columns.items())
    return (
        f"{head}SELECT {chosen} FROM unnest({arrays}) "  # noqa: S608 - names of ours only
        f"AS r ({', '.join(columns)}){conflict}{action}"
    )


_STATE = {
    "stream_id": "text",
    "noun": "text",
    "account_id": "text",
    "version": "bigint",
    "state": "bytea",
}
_PACKED = {
    "part": "text",
    "stream_id": "text",
    "noun": "text",
    "version": "bigint",
    "packed_id": "bytea",
    "digest": "bytea",
    "previous": "bytea",
    "algorithms": "text",
    "body": "bytea",
}
_COUNTER = {
    "counter_id": "bigint",
    "owner_id": "text",
    "account_id": "text",
    "limit_amount": "bigint",
    "rule_no": "bigint",
    "window_start": "bigint",
    "carry_max": "bigint",
}
_CLAIM = {"kind": "text", "digest": "bytea", "account_id": "text"}
_DATA_KEY = {"account_id": "text", "wrapped": "bytea", "master_key_id": "text"}
_PASSWORD = {"account_id": "text", "hash": "text"}
_DIGEST = {"digest": "bytea", "key_id": "text"}
_CREDIT_COUNTER = ("counter_id", "limit_amount", "changes_at", "rule_no", "entry_no")
_CREDIT_COUNTERS = (
    "UPDATE counters AS c SET limit_amount = r.limit_amount, changes_at = r.changes_at, "
    "rule_no = r.rule_no, entry_no = r.entry_no FROM unnest(%(counter_id)s::bigint[], "
    "%(limit_amount)s::bigint[], %(changes_at)s::bigint[], %(rule_no)s::bigint[], "
    "%(entry_no)s::bigint[]) AS r (counter_id, limit_amount, changes_at, rule_no, entry_no) "
    "WHERE c.counter_id = r.counter_id"
)
_STATES = _from_arrays(STATEMENTS[StateRow], _STATE)

_MANY = {
    STATEMENTS[StateRow]: _Many(_STATES, tuple(_STATE)),
    PACKED_STATE: _Many(
        f"WITH packed AS ({_from_arrays(INTO_PACKED, _PACKED)}) {_STATES}",
        tuple(_STATE | _PACKED),
    ),
    STATEMENTS[CounterRow]: _Many(
        _from_arrays(STATEMENTS[CounterRow], _COUNTER), tuple(_COUNTER), ("counts_since",)
    ),
    STATEMENTS[CreditCounterRow]: _Many(_CREDIT_COUNTERS, _CREDIT_COUNTER),
    STATEMENTS[ClaimRow]: _Many(_from_arrays(STATEMENTS[ClaimRow], _CLAIM), tuple(_CLAIM)),
    STATEMENTS[DataKeyRow]: _Many(
        _from_arrays(STATEMENTS[DataKeyRow], _DATA_KEY), tuple(_DATA_KEY)
    ),
    STATEMENTS[PasswordRow]: _Many(
        _from_arrays(STATEMENTS[PasswordRow], _PASSWORD), tuple(_PASSWORD)
    ),
    STATEMENTS[KeyDigestRow]: _Many(
        _from_arrays(STATEMENTS[KeyDigestRow], _DIGEST), tuple(_DIGEST)
    ),
}
