"""Everything that the master key seals, sealed anew under the current one.

While both are set (MASTER_KEY and MASTER_KEY_PREVIOUS) everything opens under either, so this
runs beside everything else. A row is changed only if it is still the one that was read, and none
is made: what was erased or replaced meanwhile stays as it is. Data keys, and with them all that
they seal, stay the same: only their wrapping changes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg

from application.rewrapping import Rewrapped
from infra.postgres.connection import conninfo
from infra.vault import MasterKeyVault, Unsealable

BATCH = 500


class Sealed(NamedTuple):
    """A table with a blob under the master key, and what the blob of a row is bound to."""

    table: str
    id: str
    blob: str
    bound_to: str


SEALED = (
    Sealed("data_keys", "account_id", "wrapped", "data-key:{}"),
    Sealed("signing_keys", "key_id", "sealed", "signing-key:{}"),
    Sealed("totps", "account_id", "sealed", "totp:{}"),
    Sealed("totp_enrolments", "account_id", "sealed", "totp:{}"),
    Sealed("challenges", "challenge_id", "sealed", "challenge:{}"),
    Sealed("mail", "mail_id", "sealed", "mail:{}"),
)


def rewrap(
    url: str, vault: MasterKeyVault, progress: Callable[[str, int], None]
) -> list[Rewrapped]:
    """Seal anew what is not under the current master key; answers what was done, by table.

    `progress` hears a table and how many of its rows were done. Safe to run twice, by two, and
    again after it was interrupted. What can't be opened stays, and is counted.
    """
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        return [_rewrap(connection, vault, each, progress) for each in SEALED]


def _rewrap(
    connection: psycopg.Connection[Any],
    vault: MasterKeyVault,
    sealed: Sealed,
    progress: Callable[[str, int], None],
) -> Rewrapped:
    table, id, blob, _ = sealed
    done = unreadable = 0
    after = ""
    current = vault.seal_secret(b"", "")[1]
    # Names of ours, never a caller's.
    page = (
        f"SELECT {id}, {blob}, master_key_id FROM {table} WHERE {id} > %s "  # noqa: S608
        f"AND master_key_id <> %s AND {blob} IS NOT NULL ORDER BY {id} LIMIT {BATCH}"
    )
    write = (
        f"UPDATE {table} SET {blob} = %s, master_key_id = %s "  # noqa: S608
        f"WHERE {id} = %s AND {blob} = %s"
    )
    while rows := connection.execute(page.encode(), (after, current), binary=True).fetchall():
        changes = []
        for name, before, master_key_id in rows:
            place = sealed.bound_to.format(name)
            try:
                plain = vault.open_secret(bytes(before), master_key_id, place)
            except Unsealable:
                unreadable += 1
                continue
            changes.append((*vault.seal_secret(plain, place), name, before))
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(write.encode(), changes)
            done += cursor.rowcount if changes else 0
        after = rows[-1][0]
        progress(table, done)
    return Rewrapped(table=table, rewrapped=done, unreadable=unreadable)
