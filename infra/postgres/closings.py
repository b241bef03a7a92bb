"""Who is to be erased, what there is of them, and who was."""

from collections.abc import Sequence
from datetime import datetime

from application.closing_ports import Erasure
from infra.postgres.lookups import PostgresLookups

KINDS = ("email", "username", "external_id")
"""The kinds of claims that an account comes with."""

_STRAYS = """
WITH gone AS (
    SELECT account_id FROM erasures WHERE erased_at > %s::timestamptz - interval '1 hour'),
challenge AS (DELETE FROM challenges WHERE account_id IN (SELECT account_id FROM gone)),
failure AS (DELETE FROM sign_in_failures WHERE account_id IN (SELECT account_id FROM gone))
UPDATE mail SET sealed = NULL, outcome = 'forgotten', ended_at = now(), problem = NULL
 WHERE account_id IN (SELECT account_id FROM gone) AND outcome IS DISTINCT FROM 'forgotten'
RETURNING mail_id
"""


class PostgresClosings:
    """Implements application.closing_ports.Closings."""

    def __init__(self, lookups: PostgresLookups) -> None:
        self._lookups = lookups

    async def due(self, now: datetime, limit: int) -> list[str]:
        """Accounts whose time is over by now, the longest first."""
        rows = await self._lookups.rows(
            "SELECT account_id FROM closings WHERE final_at <= %s "
            "ORDER BY final_at, account_id LIMIT %s",
            (now, limit),
        )
        return [row[0] for row in rows]

    async def held_of(self, account_id: str) -> dict[str, int]:
        """How many rows there are about the person, by what they are."""
        rows = await self._lookups.rows("SELECT held_of(%s)", (account_id,))
        found: dict[str, int] = rows[0][0]
        return found

    async def erased_after(self, position: int, limit: int) -> list[Erasure]:
        """Erasures after this position of the log, in its order."""
        rows = await self._lookups.rows(
            "SELECT account_id, erased_at, notification_id FROM erasures JOIN decisions "
            "ON originator_id = account_id AND originator_version = version "
            "WHERE notification_id > %s ORDER BY notification_id LIMIT %s",
            (position, limit),
        )
        return [Erasure(account_id=row[0], erased_at=row[1], position=row[2]) for row in rows]

    async def held_claims(self, digests: Sequence[bytes]) -> frozenset[bytes]:
        """Which of these claims somebody holds."""
        rows = await self._lookups.rows(
            "SELECT digest FROM claims WHERE kind = ANY (%s) AND digest = ANY (%s)",
            (list(KINDS), list(digests)),
        )
        return frozenset(bytes(row[0]) for row in rows)

    async def sweep(self, now: datetime) -> None:
        """Delete what was on its way while its person was erased, and came to lie behind that."""
        await self._lookups.rows(_STRAYS, (now,))

    async def prune(self, now: datetime) -> dict[str, int]:
        """Delete what has expired and is of no use any more; how much of what."""
        rows = await self._lookups.rows("SELECT prune_expired(%s)", (now,))
        found: dict[str, int] = rows[0][0]
        return found
