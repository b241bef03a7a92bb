"""The rows of sessions: rotated by one statement, read for lists and for endings."""

from datetime import datetime, timedelta

import msgspec

from application.session_ports import Living, RefreshClaims, Rotation, SessionRecord
from domain.accounts import Account
from domain.sessions import Session
from infra.postgres.lookups import PostgresLookups

GRACE_SECONDS = 10
"""For so long a spent token may come again: an answer that was lost on its way is no theft."""

_ACCOUNT = msgspec.json.Decoder(Account)
_SESSION = msgspec.json.Decoder(Session)


class PostgresSessions:
    """Implements application.session_ports.Sessions."""

    def __init__(self, lookups: PostgresLookups) -> None:
        self._lookups = lookups

    async def rotate(
        self, claims: RefreshClaims, digest: bytes, next_digest: bytes, now: datetime
    ) -> Rotation:
        """Put the successor in this token's place, if it is the current one."""
        return await self._judge(claims, digest, next_digest, now, True)

    async def current(self, claims: RefreshClaims, digest: bytes, now: datetime) -> Rotation:
        """What `rotate` would find."""
        return await self._judge(claims, digest, b"", now, False)

    async def living(self, account_id: str, now: datetime) -> list[Living]:
        """The account's sessions that have not ended."""
        rows = await self._lookups.rows(
            "SELECT s.state, s.version FROM sessions r JOIN states s ON s.stream_id = r.session_id "
            "WHERE r.account_id = %s AND r.ended_at IS NULL AND r.expires_at > %s "
            "ORDER BY r.session_id",
            (account_id, now),
        )
        return [Living(_SESSION.decode(row[0]), row[1]) for row in rows]

    async def too_many(self, account_id: str, most: int, now: datetime) -> list[Living]:
        """Those of an account that go on beyond so many."""
        rows = await self._lookups.rows(
            "SELECT s.state, s.version FROM (SELECT session_id FROM sessions WHERE account_id = %s "
            "AND ended_at IS NULL AND expires_at > %s "
            "ORDER BY session_id DESC OFFSET %s LIMIT 100) r "
            "JOIN states s ON s.stream_id = r.session_id ORDER BY r.session_id",
            (account_id, now, most),
        )
        return [Living(_SESSION.decode(row[0]), row[1]) for row in rows]

    async def page(
        self, account_id: str, now: datetime, after: str | None, limit: int
    ) -> list[SessionRecord]:
        """The account's sessions that have not ended, newest first."""
        rows = await self._lookups.rows(
            "SELECT session_id, account_id, started_at, last_seen_at, expires_at, amr, "
            "impersonator FROM sessions WHERE account_id = %s AND ended_at IS NULL "
            "AND expires_at > %s AND (%s::text IS NULL OR session_id < %s) "
            "ORDER BY session_id DESC LIMIT %s",
            (account_id, now, after, after, limit),
        )
        return [
            SessionRecord(session_id, owner, started, seen, expires, tuple(amr), impersonator)
            for session_id, owner, started, seen, expires, amr, impersonator in rows
        ]

    async def _judge(
        self, claims: RefreshClaims, digest: bytes, next_digest: bytes, now: datetime, rotate: bool
    ) -> Rotation:
        rows = await self._lookups.rows(
            "SELECT outcome, account, started_at, expires_at, amr, impersonator "
            "FROM rotate_session(%s, %s::integer, %s::bytea, %s::bytea, %s, %s::interval, %s)",
            (
                claims.session_id,
                claims.generation,
                digest,
                next_digest,
                now,
                timedelta(seconds=GRACE_SECONDS),
                rotate,
            ),
        )
        outcome, state, started_at, expires_at, amr, impersonator = rows[0]
        account = None if state is None else _ACCOUNT.decode(state)
        return Rotation(outcome, account, started_at, expires_at, tuple(amr or ()), impersonator)
