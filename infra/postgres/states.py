"""Loads the states that the key directory starts from, at one position of the log.

Packed ones come by the page (infra.postgres.directory_pages). Plans, and the few states whose
packed form is void, come as the commands wrote them.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec
import psycopg

from application.deciding import ACCOUNT, ALLOWANCE, API_KEY, PLAN, RESET
from application.ports import Unreadable
from domain.accounts import Account
from domain.allowances import Allowance, GlobalReset
from domain.api_keys import ApiKey
from domain.events import CATALOGUE
from domain.plans import Plan
from infra.event_mapper import account_of
from infra.postgres.connection import connect
from infra.postgres.directory_pages import NOUNS, ranges
from projections.access_gate import AccessGate
from projections.packed_states import Page
from projections.packing import Part

_DECODERS: dict[str, Callable[[bytes], msgspec.Struct]] = {
    ACCOUNT.name: msgspec.json.Decoder(Account).decode,
    API_KEY.name: msgspec.json.Decoder(ApiKey).decode,
    PLAN.name: msgspec.json.Decoder(Plan).decode,
    ALLOWANCE.name: msgspec.json.Decoder(Allowance).decode,
    RESET.name: msgspec.json.Decoder(GlobalReset).decode,
}
_AT_ONCE = 10_000

# Which topics there are, each found by a step in their index: a million events take no longer
# than ten. So the streams that hold what this version doesn't know are closed at a start, too.
_UNKNOWN = b"""
WITH RECURSIVE topics AS (
    SELECT min(topic) AS topic FROM decisions
    UNION ALL
    SELECT (SELECT min(d.topic) FROM decisions d WHERE d.topic > topics.topic) FROM topics
     WHERE topics.topic IS NOT NULL
)
SELECT notification_id, originator_id, originator_version, topic, state FROM decisions
 WHERE topic IN (SELECT topic FROM topics WHERE topic <> ALL (%s)) ORDER BY notification_id
"""


# Read from an index that holds nothing else (0013_sessions.sql).
_RAISED = b"""
SELECT stream_id, (state_json(state) ->> 'epoch')::bigint, state_json(state) ->> 'status'
  FROM states WHERE noun = 'account' AND (state_json(state) ->> 'epoch')::bigint > 0
"""
_ENDED = b"""
SELECT session_id, ended_at FROM sessions
 WHERE ended_at > now() - make_interval(secs => %s) ORDER BY ended_at
"""


class Loading(Protocol):
    """What a key directory takes in."""

    @property
    def gate(self) -> AccessGate: ...

    @property
    def partial(self) -> bool: ...

    def keep(self, state: msgspec.Struct) -> None: ...

    def load(self, noun: str, page: Page) -> None: ...

    def expect(self, noun: str, total: int) -> None: ...

    def also_known_by(self, packed_id: bytes, previous: bytes) -> None: ...

    def know_algorithms(self, algorithms: Iterable[str]) -> None: ...

    def distrust(self, unreadable: Unreadable) -> None: ...


async def load_states(url: str, directory: Loading) -> int:
    """Hand every state to the directory; answer the position of the log that they stand at.

    A partial directory gets no keys. Events before it of a type that this version doesn't know
    go to `distrust`.
    """
    connection = await connect(url)
    try:
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        async with connection.transaction(), connection.cursor() as cursor:
            await cursor.execute("SELECT coalesce(max(notification_id), 0) FROM decisions")
            row = await cursor.fetchone()
            await _load_packed(cursor, directory)
            await _load_others(cursor, directory)
            await _load_gate(cursor, directory.gate)
            await cursor.execute(_UNKNOWN, (CATALOGUE.names(),), binary=True)
            for position, stream, version, name, state in await cursor.fetchall():
                problem = f"unknown event type {name}"
                directory.distrust(
                    Unreadable(position, stream, version, name, problem, account_of(state))
                )
        assert row is not None
        return int(row[0])
    finally:
        await connection.close()


async def _load_packed(cursor: psycopg.AsyncCursor[Any], directory: Loading) -> None:
    parts: tuple[Part, ...] = ("account",) if directory.partial else ("account", "key")
    void: list[str] = []
    for part in parts:
        expected: set[str] = set()
        async for found in ranges(cursor, part):
            for noun, page in found.pages.items():
                if noun not in expected and found.ranges > 1:
                    directory.expect(noun, found.ranges * page.count)
                    expected.add(noun)
                directory.load(noun, page)
            for packed_id, previous in found.previous:
                directory.also_known_by(packed_id, previous)
            void += found.void
    for start in range(0, len(void), _AT_ONCE):
        await cursor.execute(
            "SELECT noun, state FROM states WHERE stream_id = ANY (%s)",
            (void[start : start + _AT_ONCE],),
            binary=True,
        )
        _keep(directory, await cursor.fetchall())


async def _load_others(cursor: psycopg.AsyncCursor[Any], directory: Loading) -> None:
    await cursor.execute(
        "SELECT noun, state FROM states WHERE noun = ANY (%s)",
        ([noun for noun in _DECODERS if noun not in {*NOUNS["account"], *NOUNS["key"]}],),
        binary=True,
    )
    _keep(directory, await cursor.fetchall())
    await cursor.execute(
        "SELECT DISTINCT unnest(algorithms) FROM packed_states WHERE algorithms IS NOT NULL"
    )
    directory.know_algorithms([row[0] for row in await cursor.fetchall()])


async def _load_gate(cursor: psycopg.AsyncCursor[Any], gate: AccessGate) -> None:
    await cursor.execute(_RAISED, binary=True)
    for account_id, epoch, status in await cursor.fetchall():
        gate.keep(account_id, epoch, status)
    await cursor.execute(_ENDED, (gate.keep_seconds,))
    for session_id, ended_at in await cursor.fetchall():
        gate.end(session_id, ended_at)


def _keep(directory: Loading, rows: Iterable[tuple[str, bytes]]) -> None:
    for noun, state in rows:
        directory.keep(_DECODERS[noun](state))
