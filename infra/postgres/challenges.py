"""Challenges in Postgres: each judged by one statement, so of many at once one is right."""

from collections.abc import Sequence
from datetime import datetime

from application.challenge_ports import StoredChallenge
from infra.postgres.lookups import PostgresLookups

_COLUMNS = "challenge_id, purpose, account_id, sealed, master_key_id"


class PostgresChallenges:
    """Implements application.challenge_ports.Challenges."""

    def __init__(self, lookups: PostgresLookups) -> None:
        self._lookups = lookups

    async def guess(
        self,
        challenge_id: str,
        purposes: Sequence[str],
        codes: Sequence[bytes],
        now: datetime,
        token: bytes | None = None,
        token_until: datetime | None = None,
    ) -> StoredChallenge | None:
        """The challenge, if one of these is its code's digest; a wrong guess is counted."""
        rows = await self._lookups.rows(
            f"SELECT {_COLUMNS} FROM guess_challenge"  # noqa: S608 - names of ours only
            "(%s, %s::text[], %s::bytea[], %s, %s, %s)",
            (challenge_id, list(purposes), list(codes), now, token, token_until),
        )
        return StoredChallenge(*rows[0]) if rows else None

    async def newest(self, addresses: Sequence[bytes], purpose: str, now: datetime) -> str | None:
        """The id of the newest challenge for this address and purpose."""
        rows = await self._lookups.rows(
            "SELECT challenge_id FROM challenges WHERE address_digest = ANY (%s) "
            "AND purpose = %s AND expires_at > %s AND code_digest IS NOT NULL "
            "ORDER BY made_at DESC, challenge_id DESC LIMIT 1",
            (list(addresses), purpose, now),
        )
        return rows[0][0] if rows else None

    async def of_token(
        self, tokens: Sequence[bytes], purpose: str, now: datetime
    ) -> StoredChallenge | None:
        """The challenge that a token of one of these digests stands for; nothing is spent."""
        rows = await self._lookups.rows(
            f"SELECT {_COLUMNS} FROM challenges "  # noqa: S608 - names of ours only
            "WHERE token_digest = ANY (%s) AND purpose = %s AND expires_at > %s",
            (list(tokens), purpose, now),
        )
        return StoredChallenge(*rows[0]) if rows else None


class PostgresBreached:
    """Implements application.challenge_ports.Breached."""

    def __init__(self, lookups: PostgresLookups) -> None:
        self._lookups = lookups

    async def holds(self, sha1: bytes) -> bool:
        """Whether this password's SHA-1 is on the list."""
        rows = await self._lookups.rows(
            "SELECT 1 FROM breached_passwords WHERE digest = %s", (sha1,)
        )
        return bool(rows)

    async def add(self, sha1s: Sequence[bytes]) -> int:
        """Know these, too; answers how many are new."""
        rows = await self._lookups.rows(
            "WITH added AS (INSERT INTO breached_passwords (digest) "
            "SELECT DISTINCT unnest(%s::bytea[]) ON CONFLICT DO NOTHING RETURNING 1) "
            "SELECT count(*) FROM added",
            (list(sha1s),),
        )
        return int(rows[0][0])
