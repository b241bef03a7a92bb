"""Keys by the million: rows that commands wrote, copied under other ids and digests.

A command costs a tenth of a millisecond in Python alone, so a million of them would take longer
than anything that is to be measured. Instead one account with its keys is made by commands, and
the rows that they wrote (events, states, packed states, digests) are the forms for all others:
only ids, digests and what follows from an id are put in. `disagreeing` checks a sample: the
events of a copy fold to its state, and that packs to its packed row, byte for byte. Claims, data
keys and counters are not copied; neither a start nor a verification reads those of others.
"""

import os
from base64 import b64encode
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import psycopg

from application.deciding import FOLLOWED
from bench.seeding import SeededKey
from domain import key_format
from domain.calendars import Period
from domain.counters import quota_counter
from infra.digests import PepperedDigests
from infra.event_mapper import EventMapper
from infra.postgres.connection import conninfo
from projections.packing import ID_BYTES, pack, packed_id, unpacked_id

ACCOUNTS_AT_ONCE = 5_000
SAMPLE = 100
_TABLES = {
    "decisions": ("originator_id", "originator_version", "topic", "state"),
    "states": ("stream_id", "noun", "account_id", "version", "state"),
    "packed_keys": (
        *("part", "stream_id", "noun", "version", "id"),
        *("digest", "previous", "algorithms", "body"),
    ),
    "key_digests": ("digest", "key_id"),
}
_TABLES["packed_accounts"] = _TABLES["packed_keys"]
_FIRST_COLUMN = {"decisions": "originator_id", "key_digests": "key_id"}
_FIRST_MS = 1_700_000_000_000
_COPY_HEAD = b"PGCOPY\n\xff\r\n\x00" + bytes(8)


class Copied(NamedTuple):
    """How many there are now, and the secrets of some."""

    accounts: int
    keys: int
    secrets: list[str]


class Form(NamedTuple):
    """A row of a table, with marks in the place of what differs."""

    table: str
    fields: tuple[bytes | None, ...]


def copy_keys(
    url: str,
    model: list[SeededKey],
    period: Period,
    digests: PepperedDigests,
    accounts: int,
    secrets: int,
) -> Copied:
    """So many accounts more, each with as many keys as the model's account has, which have a quota
    by this period; so many of the keys have a secret that is known."""
    known: list[str] = []
    every = max(accounts * len(model) // secrets, 1)

    def digest(number: int) -> bytes:
        if number % every:
            return os.urandom(32)
        secret = key_format.compose("th", "live", os.urandom(32))
        known.append(secret)
        return digests.key(secret)

    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        forms = [_forms(connection, key, digests, first=key is model[0]) for key in model]
        # As a superuser: what the trigger would void is copied with what it belongs to.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        for start in range(0, accounts, ACCOUNTS_AT_ONCE):
            count = min(ACCOUNTS_AT_ONCE, accounts - start)
            blocks = _rows(forms, start * len(model), count, period, digest)
            with connection.transaction(), connection.cursor() as cursor:
                for table, block in blocks.items():
                    names = ", ".join(_TABLES[table])
                    statement = f"COPY {table} ({names}) FROM STDIN (FORMAT binary)"
                    with cursor.copy(statement.encode()) as copy:
                        copy.write(_COPY_HEAD)
                        copy.write(bytes(block))
                        copy.write(b"\xff\xff")
        connection.execute("VACUUM ANALYZE")
        connection.execute(
            "UPDATE followers SET position = (SELECT max(notification_id) FROM decisions) "
            "WHERE log = 'decisions'"
        )
        connection.execute("CHECKPOINT")
    return Copied(accounts, accounts * len(model), known)


def _rows(
    forms: list[list[Form]],
    first: int,
    accounts: int,
    period: Period,
    digest: Callable[[int], bytes],
) -> dict[str, bytearray]:
    """The rows of so many accounts, in the format of a binary COPY."""
    blocks = {table: bytearray() for table in _TABLES}
    number = first
    for _ in range(accounts):
        account = _new_id(number)
        for each in forms:
            key, hashed = _new_id(number), digest(number)
            text = unpacked_id("key", key)
            values = {
                b"account": unpacked_id("acct", account)[5:].encode(),
                b"packed_account": account,
                b"key": text[4:].encode(),
                b"packed_key": key,
                b"digest": hashed,
                b"base64": b64encode(hashed),
                b"counter": str(quota_counter(text, period)).encode(),
            }
            for form in each:
                block = blocks[form.table]
                block += len(form.fields).to_bytes(2, "big")
                for field in form.fields:
                    if field is None:
                        block += b"\xff\xff\xff\xff"
                    else:
                        filled = field % values
                        block += len(filled).to_bytes(4, "big")
                        block += filled
            number += 1
    return blocks


def _new_id(number: int) -> bytes:
    """An id of a millisecond of its own: rows come in the order of their ids, as real ones do."""
    return (_FIRST_MS + number).to_bytes(6, "big") + os.urandom(ID_BYTES - 6)


def _forms(
    connection: psycopg.Connection[Any], key: SeededKey, digests: PepperedDigests, first: bool
) -> list[Form]:
    """The rows of this key and its rule; of the first key, of its account as well."""
    account, owner = packed_id(key.account_id), packed_id(key.key_id)
    assert account is not None
    assert owner is not None
    digest = digests.key(key.secret)
    marks = {
        key.key_id[4:].encode(): b"key",
        owner: b"packed_key",
        key.account_id[5:].encode(): b"account",
        account: b"packed_account",
        digest: b"digest",
        b64encode(digest): b"base64",
        str(key.counter_id).encode(): b"counter",
    }
    streams = [key.key_id, f"alw_{key.key_id[4:]}", *([key.account_id] if first else [])]
    forms = []
    for table, columns in _TABLES.items():
        name = _FIRST_COLUMN.get(table, "stream_id")
        statement = f"SELECT {', '.join(columns)} FROM {table} WHERE {name} = ANY (%s)"
        if table == "decisions":
            statement += " ORDER BY notification_id"
        for row in connection.execute(statement.encode(), (streams,), binary=True):
            forms.append(Form(table, tuple(_marked(each, marks) for each in row)))
    return forms


def _marked(value: Any, marks: dict[bytes, bytes]) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, int):
        return value.to_bytes(8, "big").replace(b"%", b"%%")
    field = value.encode() if isinstance(value, str) else bytes(value)
    field = field.replace(b"%", b"%%")
    for found, name in marks.items():
        field = field.replace(found.replace(b"%", b"%%"), b"%%(%b)b" % name)
    return field


def disagreeing(url: str, keys: int) -> tuple[int, int]:
    """Looks at a sample of so many keys and their rules; how many it saw, and how many of them
    are not what commands would have written."""
    seen = wrong = 0
    mapper = EventMapper()
    with psycopg.connect(conninfo(url)) as connection:
        rows = connection.execute(
            "SELECT stream_id, s.state, p.id, p.digest, p.body FROM packed_keys AS p "
            "TABLESAMPLE BERNOULLI (%s) JOIN states AS s USING (stream_id) LIMIT %s",
            (min(100.0, 100.0 * SAMPLE / keys), SAMPLE),
        ).fetchall()
        for stream, state, *columns in rows:
            folded: msgspec.Struct | None = None
            events = connection.execute(
                "SELECT originator_version, topic, state FROM decisions WHERE originator_id = %s "
                "ORDER BY originator_version",
                (stream,),
            )
            for version, topic, stored in events:
                event = mapper.decode(0, stream, version, topic, stored)
                folded = FOLLOWED[type(event.event)].evolve(folded, event.event, event.metadata.at)
            packed = None if folded is None else pack(folded)
            written = None if packed is None else [packed.id, packed.digest, packed.body]
            seen += 1
            wrong += written != columns or msgspec.json.encode(folded) != state
    return seen, wrong
