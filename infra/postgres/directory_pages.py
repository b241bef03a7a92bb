"""Reads packed states for the key directory: many of them in each row that Postgres sends.

A table is read in ranges of its blocks, in the order in which its rows lie there; Postgres
puts the columns of each range end to end. So a million keys are some hundreds of rows, and all
that is left to do for each key in Python is an entry in an index.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import psycopg

from projections.packed_states import Page
from projections.packing import DIGEST_BYTES, ID_BYTES, Part

BLOCKS = 64
"""In a range: some thousands of states, far below Postgres's limits on a value."""
NOUNS: dict[Part, tuple[str, ...]] = {
    "account": ("account", "allowance"),
    "key": ("api_key", "allowance"),
}
_TABLES: dict[Part, str] = {"account": "packed_accounts", "key": "packed_keys"}


class Range(NamedTuple):
    """What lies in one range of blocks, of `ranges` in all. `void` are streams whose state has
    to be read itself; `previous` are packed ids, each with a digest that the key had before."""

    ranges: int
    pages: dict[str, Page]
    void: Sequence[str]
    previous: Sequence[tuple[bytes, bytes]]


def _statement(part: Part) -> str:
    table = _TABLES[part]
    columns = [
        "string_agg(stream_id, ' ') FILTER (WHERE body IS NULL)",
        "string_agg(id || previous, ''::bytea) FILTER (WHERE body IS NOT NULL)",
    ]
    for noun in NOUNS[part]:
        for each in ("id", "substr(int4send(length(body)), 3)", "body", "digest"):
            columns.append(
                f"string_agg({each}, ''::bytea) FILTER (WHERE noun = '{noun}' AND body IS NOT NULL)"
            )
    return f"""
COPY (
    SELECT ranges.n, found.*
      FROM (SELECT pg_relation_size('{table}') / current_setting('block_size')::int / {BLOCKS} + 1)
               AS ranges (n),
           generate_series(0, ranges.n - 1) AS range,
           LATERAL (SELECT {", ".join(columns)} FROM {table}
                     WHERE ctid >= format('(%s,0)', range * {BLOCKS})::tid
                       AND ctid < format('(%s,0)', (range + 1) * {BLOCKS})::tid) AS found
) TO STDOUT (FORMAT binary)
"""  # noqa: S608


async def ranges(cursor: psycopg.AsyncCursor[Any], part: Part) -> AsyncIterator[Range]:
    """Everything that is packed of this part, and what is void."""
    nouns = NOUNS[part]
    async with cursor.copy(_statement(part).encode()) as copy:
        copy.set_types(["int8", "text", "bytea", *["bytea"] * (4 * len(nouns))])
        async for row in copy.rows():
            count, void, previous, *columns = row
            pages = {
                noun: Page(*(each or b"" for each in columns[4 * number : 4 * number + 4]))
                for number, noun in enumerate(nouns)
                if columns[4 * number] is not None
            }
            yield Range(count, pages, (void or "").split(), _split(previous or b""))


def _split(previous: bytes) -> list[tuple[bytes, bytes]]:
    width = ID_BYTES + DIGEST_BYTES
    return [
        (previous[at : at + ID_BYTES], previous[at + ID_BYTES : at + width])
        for at in range(0, len(previous), width)
    ]
