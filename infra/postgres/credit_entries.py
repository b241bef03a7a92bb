"""Queries on the read models of credits: entries of both logs, and what was spent by when."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC
from typing import TypeVar

from application.errors import PositionNotReached
from application.ports import CreditEntry, Moment
from infra.postgres.lookups import PostgresLookups

T = TypeVar("T")

PATIENCE_SECONDS = 2.0
POLL_SECONDS = 0.05
_END = 2**62

# Of the flushes only as many are opened as have entries that are wanted: a hot account has
# thousands in each.
_ENTRIES = """
WITH asked AS (
    SELECT %s::text AS account_id, %s::bigint AS before, %s::bigint AS until_us, %s::bigint AS many
), flushes AS (
    SELECT u.*, a.before AS upto, a.many,
           sum(least(u.last_entry, a.before - 1) - u.first_entry)
               OVER (ORDER BY u.last_entry DESC)
               - (least(u.last_entry, a.before - 1) - u.first_entry) AS newer
      FROM asked a CROSS JOIN LATERAL (
           SELECT * FROM credit_uses c
            WHERE c.account_id = a.account_id AND c.first_entry + 1 < a.before
              AND c.at_us <= a.until_us
            ORDER BY c.last_entry DESC LIMIT a.many) u
), entries AS (
    SELECT f.first_entry + one.number AS entry_no, f.at_us, 'verification' AS kind, one.amount,
           f.before - sum(one.amount) OVER same + one.amount AS before,
           f.before - sum(one.amount) OVER same AS after,
           one.operation, f.verification || one.row AS verification_id, one.key AS key_id,
           NULL::text AS hold_id, NULL::bigint AS lot, NULL::text AS source,
           NULL::bigint AS expires_at_us
      FROM flushes f CROSS JOIN LATERAL unnest(f.amounts, f.rows, f.keys, f.operations)
           WITH ORDINALITY AS one (amount, row, key, operation, number)
     WHERE f.newer < f.many
    WINDOW same AS (PARTITION BY f.last_entry ORDER BY one.number)
    UNION ALL
    SELECT * FROM (
        SELECT d.entry_no, d.at_us, d.kind, d.amount, d.before, d.after, d.operation, NULL, NULL,
               d.hold_id, d.lot, d.source, d.expires_at_us
          FROM asked a JOIN credit_decisions d ON d.account_id = a.account_id
         WHERE d.entry_no < a.before AND d.at_us <= a.until_us AND d.kind <> 'drawn'
         ORDER BY d.entry_no DESC LIMIT (SELECT many FROM asked)) d
)
SELECT f.position, e.entry_no, e.at_us, e.kind, e.amount, e.before::bigint, e.after::bigint,
       e.operation, e.verification_id, e.key_id, e.hold_id, e.lot, e.source, e.expires_at_us
  FROM followers f LEFT JOIN (
       SELECT e.* FROM entries e, asked a WHERE e.entry_no < a.before AND e.amount > 0
        ORDER BY e.entry_no DESC LIMIT (SELECT many FROM asked)) e ON true
 WHERE f.name = 'credit_decisions' ORDER BY e.entry_no DESC
"""
_USED = """
SELECT (SELECT coalesce(max(last_entry), 0) FROM credit_uses WHERE account_id = a.account_id),
       (SELECT used FROM credit_uses u WHERE u.account_id = a.account_id
           AND (u.at_us <= a.until_us OR u.last_entry < a.after_entry)
           AND u.last_entry < a.before_entry ORDER BY u.last_entry DESC LIMIT 1)
  FROM (SELECT %s::text AS account_id, %s::bigint AS until_us, %s::bigint AS after_entry,
               %s::bigint AS before_entry) a
"""
_MOMENT = """
SELECT f.position, h.at,
       (SELECT coalesce(max(version), 0) FROM history
         WHERE stream = a.stream AND position <= a.position)
  FROM (SELECT %s::bigint AS position, %s::text AS stream) a
  CROSS JOIN followers f LEFT JOIN LATERAL (
       SELECT at FROM history WHERE position <= a.position ORDER BY position DESC LIMIT 1) h ON true
 WHERE f.name = 'history'
"""


async def credit_entries(
    lookups: PostgresLookups,
    account_id: str,
    before: int | None,
    until_us: int | None,
    limit: int,
    at_least: int | None,
) -> list[CreditEntry]:
    """The account's entries before this one and up to this instant, newest first."""
    bounds = (_END if before is None else before, _END if until_us is None else until_us)

    async def ask() -> tuple[int, list[CreditEntry]]:
        rows = await lookups.rows(_ENTRIES, (account_id, *bounds, limit))
        fields = CreditEntry.__struct_fields__
        entries = [
            CreditEntry(**dict(zip(fields, row[1:], strict=True)))
            for row in rows
            if row[1] is not None
        ]
        return rows[0][0] if rows else 0, entries

    return await _reaching(at_least, ask)


async def credits_used(
    lookups: PostgresLookups, account_id: str, bounds: tuple[int, int, int], complete_to: int
) -> int:
    """What verifications had spent in all within these bounds: until this instant or up to
    this entry, and before that one."""

    async def ask() -> tuple[int, int]:
        reached, used = (await lookups.rows(_USED, (account_id, *bounds)))[0]
        return reached, used or 0

    return await _reaching(complete_to, ask)


async def moment(lookups: PostgresLookups, position: int, stream: str) -> Moment | None:
    """When this position of the decisions log was, and how long the stream was then."""

    async def ask() -> tuple[int, Moment | None]:
        rows = await lookups.rows(_MOMENT, (position, stream))
        if not rows or rows[0][1] is None:
            return (rows[0][0] if rows else 0), None
        return rows[0][0], Moment(rows[0][1].astimezone(UTC), rows[0][2])

    return await _reaching(position, ask)


async def _reaching(wanted: int | None, ask: Callable[[], Awaitable[tuple[int, T]]]) -> T:
    """What is answered once it is as late as wanted; PositionNotReached after 2 s."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        reached, answer = await ask()
        if wanted is None or reached >= wanted:
            return answer
        if time.monotonic() > deadline:
            raise PositionNotReached(wanted, reached)
        await asyncio.sleep(POLL_SECONDS)
