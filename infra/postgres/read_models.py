"""Queries on the read models: rows and the checkpoint that they stand at, in one snapshot."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from application.errors import PositionNotReached
from application.ports import CreditEntry, HistoryEntry, KeyUses, Moment
from infra.postgres.credit_entries import credit_entries, credits_used, moment
from infra.postgres.lookups import PostgresLookups

PATIENCE_SECONDS = 2.0
POLL_SECONDS = 0.05

# The follower writes rows and checkpoint in one transaction, and one statement sees one
# snapshot: what is answered is all of the log up to that position.
_HISTORY = """
SELECT f.position, h.* FROM followers f LEFT JOIN LATERAL (
    SELECT position, stream, version, type, at, actor, request_id, data::text, account_id
      FROM history
     WHERE {whose} AND position < %s ORDER BY position DESC LIMIT %s
) h ON true
WHERE f.name = 'history' ORDER BY h.position DESC
"""
_OF_STREAMS = _HISTORY.format(whose="stream = ANY (%s)")
_OF_ACCOUNT = _HISTORY.format(whose="account_id = %s")
_END = 2**63 - 1


class PostgresReadModels:
    """Implements application.ports.ReadModels on the pool of the lookups."""

    def __init__(self, lookups: PostgresLookups) -> None:
        self._lookups = lookups

    async def key_uses(self, key_ids: Sequence[str]) -> dict[str, KeyUses]:
        """Of these keys; those that were never verified are missing."""
        if not key_ids:
            return {}
        rows = await self._lookups.rows(
            "SELECT key_id, verifications, denied, last_used_at FROM key_uses "
            "WHERE key_id = ANY (%s)",
            (list(key_ids),),
        )
        return {row[0]: KeyUses(row[1], row[2], _in_utc(row[3])) for row in rows}

    async def history_of_streams(
        self, streams: Sequence[str], before: int | None, limit: int, at_least: int | None
    ) -> list[HistoryEntry]:
        """What happened in these streams, newest first."""
        return await self._history(_OF_STREAMS, list(streams), before, limit, at_least)

    async def history_of_account(
        self, account_id: str, before: int | None, limit: int, at_least: int | None
    ) -> list[HistoryEntry]:
        """What happened in all streams of this account, newest first."""
        return await self._history(_OF_ACCOUNT, account_id, before, limit, at_least)

    async def _history(
        self, sql: str, whose: Any, before: int | None, limit: int, at_least: int | None
    ) -> list[HistoryEntry]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            parameters = (whose, _END if before is None else before, limit)
            rows = await self._lookups.rows(sql, parameters)
            reached = rows[0][0] if rows else 0
            if at_least is None or reached >= at_least:
                return [entry(row) for row in rows if row[1] is not None]
            if time.monotonic() > deadline:
                raise PositionNotReached(at_least, reached)
            await asyncio.sleep(POLL_SECONDS)

    async def credit_entries(
        self,
        account_id: str,
        before: int | None,
        until_us: int | None,
        limit: int,
        at_least: int | None,
    ) -> list[CreditEntry]:
        """The account's entries of both logs, newest first."""
        return await credit_entries(self._lookups, account_id, before, until_us, limit, at_least)

    async def credits_used(
        self,
        account_id: str,
        *,
        until_us: int,
        after_entry: int,
        before_entry: int,
        complete_to: int,
    ) -> int:
        """What the account's verifications had spent by then."""
        bounds = (until_us, after_entry, before_entry)
        return await credits_used(self._lookups, account_id, bounds, complete_to)

    async def moment(self, position: int, stream: str) -> Moment | None:
        """When this position was."""
        return await moment(self._lookups, position, stream)


def entry(row: Sequence[Any]) -> HistoryEntry:
    """A row of the read model, behind the position that it stands at."""
    _, position, stream, version, type_, at, actor, request_id, data, account_id = row
    return HistoryEntry(
        position=position,
        stream=stream,
        version=version,
        type=type_,
        at=at.astimezone(UTC),
        actor=actor,
        request_id=request_id,
        data=msgspec.json.decode(data),
        account_id=account_id,
    )


def _in_utc(instant: datetime | None) -> datetime | None:
    # The server's time zone is what psycopg gives; answers are in UTC.
    return None if instant is None else instant.astimezone(UTC)
