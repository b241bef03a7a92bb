"""Reads the logs at any place: pages by filter from the read model `history`, events by position
or stream from the log itself.

Each page is found by an index whatever the filter is: by stream; by actor and type; by type; or
by position. Where several types are asked for, each gives its first few, and those are merged,
so neither a rare type nor a common one makes anybody read on and on.
"""

import asyncio
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from application.errors import PositionNotReached, StreamUnreadable
from application.history_ports import EventFilter
from application.ports import HistoryEntry
from application.rows import DataKeyRow
from domain.event import Recorded, Unreadable
from infra.event_mapper import CannotDecode, EventMapper, account_of
from infra.postgres.lookups import PostgresLookups
from infra.postgres.read_models import PATIENCE_SECONDS, POLL_SECONDS, entry
from infra.vault import MasterKeyVault

_LAST = 2**62
_COLUMNS = "position, stream, version, type, at, actor, request_id, data::text, account_id"

# See the migration 0019_history: instants rise with positions, but for stragglers.
_BOUNDS = """
SELECT (SELECT position FROM history WHERE latest >= %s::timestamptz
         ORDER BY latest, position LIMIT 1),
       (SELECT position - 1 FROM history WHERE latest >= %s::timestamptz + interval '10 seconds'
         ORDER BY latest, position LIMIT 1),
       (SELECT max(position) FROM history WHERE straggler AND at < %s::timestamptz)
"""
# The types that this actor's events have: a step of the index for each, however many events.
_TYPES_OF_ACTOR = """
WITH RECURSIVE found AS (
    SELECT min(type) AS type FROM history WHERE actor = %s
    UNION ALL
    SELECT (SELECT min(type) FROM history WHERE actor = %s AND type > found.type)
      FROM found WHERE found.type IS NOT NULL
) SELECT type FROM found WHERE type IS NOT NULL
"""


class PostgresLogPages:
    """Implements application.history_ports.LogPages on the pool of the lookups."""

    def __init__(
        self, lookups: PostgresLookups, vault: MasterKeyVault, mapper: EventMapper | None = None
    ) -> None:
        self._lookups = lookups
        self._vault = vault
        self._mapper = mapper or EventMapper()

    async def page(
        self, wanted: EventFilter, limit: int, at_least: int | None
    ) -> list[HistoryEntry]:
        """The first so many of these, in the order of the log."""
        await self._reach(at_least)
        bounds = await self._bounds(wanted)
        if bounds is None:
            return []
        types = wanted.types
        if wanted.stream is None and wanted.actor is not None and not types:
            types = await self._types_of(wanted.actor)
        sql, parameters = page_statement(wanted, types, bounds, limit)
        rows = await self._lookups.rows(sql, parameters)
        return [entry((0, *row)) for row in rows]

    async def _reach(self, at_least: int | None) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while at_least is not None:
            rows = await self._lookups.rows(
                "SELECT position FROM followers WHERE name = 'history'", ()
            )
            reached = rows[0][0] if rows else 0
            if reached >= at_least:
                return
            if time.monotonic() > deadline:
                raise PositionNotReached(at_least, reached)
            await asyncio.sleep(POLL_SECONDS)

    async def _bounds(self, wanted: EventFilter) -> tuple[int, int] | None:
        """The first and the last position that there can be anything at; None for nowhere."""
        first = wanted.after + 1
        last = _LAST if wanted.before is None else wanted.before - 1
        if wanted.since is not None or wanted.until is not None:
            asked = (wanted.since, wanted.until, wanted.until)
            begin, end, straggler = (await self._lookups.rows(_BOUNDS, asked))[0]
            if wanted.since is not None:
                if begin is None:
                    return None
                first = max(first, begin)
            if end is not None:
                last = min(last, max(end, straggler or 0))
        return (first, last) if first <= last else None

    async def _types_of(self, actor: str) -> tuple[str, ...]:
        return tuple(row[0] for row in await self._lookups.rows(_TYPES_OF_ACTOR, (actor, actor)))

    async def at(
        self, positions: Collection[int], *, personal: bool
    ) -> dict[int, Recorded | Unreadable]:
        """The events at these positions."""
        rows = await self._lookups.rows(
            "SELECT notification_id, originator_id, originator_version, topic, state "
            "FROM decisions WHERE notification_id = ANY (%s)",
            (sorted(positions),),
        )
        keys = await self._data_keys(row[4] for row in rows) if personal else {}
        return {row[0]: self._decoded(row, keys) for row in rows}

    def _decoded(self, row: Sequence[Any], keys: dict[str, bytes | None]) -> Recorded | Unreadable:
        position, stream, version, name, state = row
        try:
            return self._mapper.decode(position, stream, version, name, bytes(state), keys.get)
        except CannotDecode as error:
            owner = account_of(bytes(state))
            return Unreadable(position, stream, version, name, str(error), owner)

    async def _data_keys(self, states: Iterable[bytes]) -> dict[str, bytes | None]:
        """The data keys of whoever these events are about; None of who was erased."""
        owners = {owner for state in states if (owner := account_of(bytes(state))) is not None}
        keys = {owner: self._vault.known(owner) for owner in owners}
        missing = [owner for owner, key in keys.items() if key is None]
        if missing:
            rows = await self._lookups.rows(
                "SELECT account_id, wrapped, master_key_id FROM data_keys "
                "WHERE account_id = ANY (%s)",
                (missing,),
            )
            for owner, wrapped, master_key_id in rows:
                keys[owner] = self._vault.unwrap(DataKeyRow(owner, bytes(wrapped), master_key_id))
        return keys

    async def of(
        self, streams: Sequence[str], up_to: int | None = None, *, personal: bool = False
    ) -> list[Recorded]:
        """All events of these streams up to and with this position, in order."""
        rows = await self._lookups.rows(
            "SELECT notification_id, originator_id, originator_version, topic, state "
            "FROM decisions WHERE originator_id = ANY (%s) AND notification_id <= %s "
            "ORDER BY notification_id",
            (list(streams), _LAST if up_to is None else up_to),
        )
        keys = await self._data_keys(row[4] for row in rows) if personal else {}
        found = []
        for row in rows:
            decoded = self._decoded(row, keys)
            if isinstance(decoded, Unreadable):
                raise StreamUnreadable(decoded.problem)
            found.append(decoded)
        return found

    async def moment(self, position: int) -> datetime | None:
        """When the last event up to there was; None where the log doesn't reach so far."""
        rows = await self._lookups.rows(
            "SELECT notification_id, originator_id, originator_version, topic, state, "
            "(SELECT max(notification_id) FROM decisions) "
            "FROM decisions WHERE notification_id <= %s ORDER BY notification_id DESC LIMIT 1",
            (position,),
        )
        if not rows or rows[0][5] < position:
            return None
        decoded = self._decoded(rows[0][:5], {})
        if isinstance(decoded, Unreadable):
            raise StreamUnreadable(decoded.problem)
        return decoded.metadata.at.astimezone(UTC)

    async def counted(self, stream: str, version: int) -> Recorded | None:
        """The usage event of this flush."""
        rows = await self._lookups.rows(
            "SELECT notification_id, originator_id, originator_version, topic, state "
            "FROM usage WHERE originator_id = %s AND originator_version = %s",
            (stream, version),
        )
        decoded = self._decoded(rows[0], {}) if rows else None
        if isinstance(decoded, Unreadable):
            raise StreamUnreadable(decoded.problem)
        return decoded


def page_statement(
    wanted: EventFilter, types: Sequence[str], bounds: tuple[int, int], limit: int
) -> tuple[str, list[Any]]:
    """The query for a page, and its parameters."""
    order = "DESC" if wanted.newest_first else "ASC"
    if wanted.stream is None and (wanted.types or wanted.actor is not None):
        return _by_type(wanted, types, bounds, limit, order)
    conditions = ["position BETWEEN %s AND %s"]
    parameters: list[Any] = [*bounds]
    for condition, value in (
        ("stream = %s", wanted.stream),
        ("actor = %s", wanted.actor),
        ("type = ANY (%s)", list(types) or None),
        *_times(wanted),
    ):
        if value is not None:
            conditions.append(condition)
            parameters.append(value)
    return (
        f"SELECT {_COLUMNS} FROM history WHERE {' AND '.join(conditions)} "  # noqa: S608
        f"ORDER BY position {order} LIMIT %s",
        [*parameters, limit],
    )


def _by_type(
    wanted: EventFilter, types: Sequence[str], bounds: tuple[int, int], limit: int, order: str
) -> tuple[str, list[Any]]:
    """The first few of each type, merged. Bounds and order are rows of exactly what the index
    has: else Postgres, who can't know how rare a type is, goes through the whole log for it."""
    columns, place = ["type", "position"], ["t.type", "%s"]
    actor: list[Any] = []
    if wanted.actor is not None:
        columns, place, actor = ["actor", *columns], ["%s", *place], [wanted.actor]
    row, bound = f"({', '.join(columns)})", f"({', '.join(place)})"
    conditions = [f"{row} >= {bound}", f"{row} <= {bound}"]
    parameters = [*actor, bounds[0], *actor, bounds[1]]
    for condition, value in _times(wanted):
        if value is not None:
            conditions.append(condition)
            parameters.append(value)
    ordered = ", ".join(f"{column} {order}" for column in columns)
    return (
        f"SELECT {_COLUMNS} FROM history WHERE position IN ("  # noqa: S608
        "SELECT one.position FROM unnest(%s::text[]) AS t (type) CROSS JOIN LATERAL ("
        f"SELECT position FROM history WHERE {' AND '.join(conditions)} "
        f"ORDER BY {ordered} LIMIT %s) one ORDER BY one.position {order} LIMIT %s) "
        f"ORDER BY position {order}",
        [list(types), *parameters, limit, limit],
    )


def _times(wanted: EventFilter) -> tuple[tuple[str, Any], ...]:
    return (("at >= %s", wanted.since), ("at < %s", wanted.until))
