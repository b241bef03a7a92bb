"""The outbox in Postgres: mails under leases, each change one statement."""

from collections.abc import Sequence
from datetime import datetime

from application.mailing import Due, MailStanding, Outcome
from infra.postgres.lookups import PostgresLookups

_LEASE = """
UPDATE mail SET leased_until = %s WHERE mail_id IN (
    SELECT mail_id FROM mail WHERE outcome IS NULL AND due_at <= %s AND leased_until <= %s
    ORDER BY due_at, mail_id LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING mail_id, template, sealed, master_key_id, created_at, tries
"""

# One that was forgotten meanwhile stays so, but is held no longer.
_END = """
UPDATE mail SET leased_until = '-infinity', tries = tries + 1, sealed = NULL,
    problem = CASE WHEN outcome IS NULL THEN %s END,
    ended_at = coalesce(ended_at, %s), outcome = coalesce(outcome, %s)
WHERE mail_id = %s RETURNING mail_id
"""

_PUT_OFF = """
UPDATE mail SET leased_until = '-infinity', tries = tries + 1, due_at = %s,
    problem = CASE WHEN outcome IS NULL THEN %s END
WHERE mail_id = %s RETURNING mail_id
"""

_RELEASE = """
UPDATE mail SET leased_until = '-infinity' WHERE mail_id = ANY (%s) RETURNING mail_id
"""

_DISCARDABLE = """
(SELECT mail_id FROM mail WHERE outcome = 'forgotten' AND leased_until <= %s LIMIT %s)
UNION
(SELECT mail_id FROM mail WHERE outcome IS NOT NULL AND ended_at < %s LIMIT %s)
"""

_STANDING = """
SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8,
       (SELECT count(*) FROM mail WHERE outcome IN ('refused', 'given_up')
           AND ended_at > now() - interval '1 day')
  FROM (SELECT created_at FROM mail WHERE outcome IS NULL ORDER BY created_at LIMIT 10000) _
"""


async def mail_standing(lookups: PostgresLookups) -> MailStanding:
    """How the outbox is; StoreUnavailable."""
    (row,) = await lookups.rows(_STANDING, ())
    return MailStanding(*row)


class PostgresOutbox:
    """Implements application.mailing.Outbox."""

    def __init__(self, lookups: PostgresLookups) -> None:
        self._lookups = lookups

    async def lease(self, now: datetime, until: datetime, limit: int) -> list[Due]:
        """The oldest mails that are due and that nobody holds."""
        rows = await self._lookups.rows(_LEASE, (until, now, now, limit))
        due = [Due(row[0], row[1], bytes(row[2]), *row[3:]) for row in rows]
        return sorted(due, key=lambda each: (each.created_at, each.mail_id))

    async def end(self, mail_id: str, outcome: Outcome, problem: str | None, now: datetime) -> None:
        """It is over with this mail."""
        await self._lookups.rows(_END, (problem, now, outcome, mail_id))

    async def put_off(self, mail_id: str, until: datetime, problem: str) -> None:
        """Nobody tries before then."""
        await self._lookups.rows(_PUT_OFF, (until, problem, mail_id))

    async def release(self, mail_ids: Sequence[str]) -> None:
        """Give back what was held and not tried."""
        if mail_ids:
            await self._lookups.rows(_RELEASE, (list(mail_ids),))

    async def discardable(self, now: datetime, ended_before: datetime, limit: int) -> list[str]:
        """Forgotten mails that nobody holds, and those that ended before then."""
        rows = await self._lookups.rows(_DISCARDABLE, (now, limit, ended_before, limit))
        return [row[0] for row in rows]

    async def discard(self, mail_ids: Sequence[str]) -> None:
        """Delete their rows."""
        await self._lookups.rows(
            "DELETE FROM mail WHERE mail_id = ANY (%s) RETURNING mail_id", (list(mail_ids),)
        )
