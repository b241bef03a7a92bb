"""Loads the states that the key directory starts from, by binary COPY, at one position."""

import struct
from collections.abc import Callable

import msgspec
import psycopg

from application.deciding import ACCOUNT, ALLOWANCE, API_KEY, PLAN
from application.ports import Unreadable
from domain.accounts import Account
from domain.allowances import Allowance
from domain.api_keys import ApiKey
from domain.events import CATALOGUE
from domain.plans import Plan
from infra.event_mapper import account_of
from infra.postgres.connection import connect

_DECODERS: dict[bytes, Callable[[bytes], msgspec.Struct]] = {
    ACCOUNT.name.encode(): msgspec.json.Decoder(Account).decode,
    API_KEY.name.encode(): msgspec.json.Decoder(ApiKey).decode,
    PLAN.name.encode(): msgspec.json.Decoder(Plan).decode,
    ALLOWANCE.name.encode(): msgspec.json.Decoder(Allowance).decode,
}
_COPY = b"""
COPY (SELECT noun, state FROM states WHERE noun IN ('account', 'api_key', 'plan', 'allowance'))
TO STDOUT (FORMAT binary)
"""
_HEADER_BYTES = 19


# Reads the whole log's topics, about a third of a second a million events: the price for
# closing, after a restart too, the streams that hold what this version doesn't know.
_UNKNOWN = b"""
SELECT notification_id, originator_id, originator_version, topic, state FROM decisions
WHERE topic <> ALL (%s)
"""


async def load_states(
    url: str,
    keep: Callable[[msgspec.Struct], None],
    distrust: Callable[[Unreadable], None] = lambda _: None,
) -> int:
    """Hand every state to `keep`; answer the position of the log that they stand at.

    Events before it of a type that this version doesn't know go to `distrust`.
    """
    connection = await connect(url)
    try:
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        async with connection.transaction(), connection.cursor() as cursor:
            await cursor.execute("SELECT coalesce(max(notification_id), 0) FROM decisions")
            row = await cursor.fetchone()
            async with cursor.copy(_COPY) as copy:
                rest = b""
                header = True
                async for chunk in copy:
                    rest += bytes(chunk)
                    if header and len(rest) >= _HEADER_BYTES:
                        rest, header = rest[_HEADER_BYTES:], False
                    if not header:
                        rest = _tuples(rest, keep)
            await cursor.execute(_UNKNOWN, (CATALOGUE.names(),), binary=True)
            for position, stream, version, name, state in await cursor.fetchall():
                problem = f"unknown event type {name}"
                distrust(Unreadable(position, stream, version, name, problem, account_of(state)))
        assert row is not None
        return int(row[0])
    finally:
        await connection.close()


def _tuples(buffer: bytes, keep: Callable[[msgspec.Struct], None]) -> bytes:
    """Decode every whole tuple; the rest waits for the next chunk.

    Binary COPY: per tuple a count of fields (int16, -1 at the end), per field its length
    (int32) and bytes.
    """
    at = 0
    while len(buffer) - at >= 10:
        fields, noun_length = struct.unpack_from("!hi", buffer, at)
        if fields == -1:
            return b""
        noun_end = at + 6 + noun_length
        if len(buffer) < noun_end + 4:
            break
        (state_length,) = struct.unpack_from("!i", buffer, noun_end)
        end = noun_end + 4 + state_length
        if len(buffer) < end:
            break
        keep(_DECODERS[buffer[at + 6 : noun_end]](buffer[noun_end + 4 : end]))
        at = end
    return buffer[at:]
