"""The data keys of accounts whose names a page of the log says: for who folds states from it."""

from collections.abc import Callable, Iterable

import psycopg

from application.rows import DataKeyRow
from infra.event_mapper import EventMapper, account_of
from infra.postgres.connection import SCHEMA

KeyOf = Callable[[str], bytes | None]


async def name_keys(
    connection: psycopg.AsyncConnection, mapper: EventMapper, rows: Iterable[tuple[str, bytes]]
) -> KeyOf | None:
    """How to open the names in these events (stored name, bytes); None where none has any, or
    the mapper has no vault. An account that was erased has no key, and so no name.

    A key that can't be unwrapped raises when it is asked for: decoding says then of which event.
    """
    vault = mapper.vault
    if vault is None:
        return None
    wanted = {account_of(state) for name, state in rows if name in mapper.naming}
    if not wanted:
        return None
    cursor = await connection.execute(
        # Named whole: a rebuild looks for its tables in another schema.
        "SELECT account_id, wrapped, master_key_id "  # noqa: S608 - a name of ours
        f"FROM {SCHEMA}.data_keys WHERE account_id = ANY (%s)".encode(),
        ([each for each in wanted if each is not None],),
        binary=True,
    )
    found = {row[0]: DataKeyRow(row[0], bytes(row[1]), row[2]) for row in await cursor.fetchall()}

    def key_of(account_id: str) -> bytes | None:
        row = found.get(account_id)
        return None if row is None else vault.opened(row)

    return key_of
