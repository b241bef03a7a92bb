"""Rows of read models, written in bulk: one statement for all that a batch of events changes.

Rows travel as one JSON document, which costs far less than a parameter for each value. The
state that `evolve` needs is a text column: unlike jsonb, text gives back what was written.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import msgspec

from domain.event import Recorded

if TYPE_CHECKING:  # slow to import, and the command line only wants names
    import psycopg

S = TypeVar("S", bound=msgspec.Struct)

_ENCODER = msgspec.json.Encoder()


class Folded(NamedTuple, Generic[S]):
    """A stream's state after a batch, and the last event that changed it."""

    state: S
    last: Recorded


def upsert(
    table: str, columns: Mapping[str, str], updates: str | None = None, *, keys: int = 1
) -> bytes:
    """The statement that writes rows given as one JSON list of objects; the first columns, so
    many, are the key. `columns` maps names to types; what is there already is replaced, or as
    `updates` says.
    """
    names = ", ".join(columns)
    types = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    key, others = ", ".join(list(columns)[:keys]), list(columns)[keys:]
    updates = updates or ", ".join(f"{name} = excluded.{name}" for name in others)
    return (
        f"INSERT INTO {table} AS t ({names}) "  # noqa: S608 - names of this package only
        f"SELECT {names} FROM json_to_recordset(%s::json) AS r ({types}) "
        f"ON CONFLICT ({key}) DO UPDATE SET {updates}"
    ).encode()


async def write(
    connection: "psycopg.AsyncConnection", statement: bytes, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Run a statement that takes rows as one JSON list, if there are any."""
    if rows:
        await connection.execute(statement, (_ENCODER.encode(rows).decode(),))


async def fold(
    connection: "psycopg.AsyncConnection",
    events: Sequence[Recorded],
    select: bytes,
    decoder: msgspec.json.Decoder[S],
    evolve: Callable[[S | None, Any, datetime], S],
) -> dict[str, Folded[S]]:
    """The states that these events lead to, from those that the table holds.

    `select` answers stream, version and state of a list of streams. ValueError where an event
    doesn't follow the one that the table holds: then it was counted twice, or one was lost.
    """
    cursor = await connection.execute(select, (list({event.stream for event in events}),))
    known = {row[0]: (row[1], row[2]) for row in await cursor.fetchall()}
    folded: dict[str, Folded[S]] = {}
    for event in events:
        before = folded.get(event.stream)
        if before is not None:
            state, version = before.state, before.last.version
        elif event.stream in known:
            version, text = known[event.stream]
            state = decoder.decode(text)
        else:
            state, version = None, 0
        if event.version != version + 1:
            raise ValueError(f"{event.stream}: version {event.version} after {version}")
        folded[event.stream] = Folded(evolve(state, event.event, event.metadata.at), event)
    return folded
