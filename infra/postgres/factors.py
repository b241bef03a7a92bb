"""Second factors in rows (0014_factors.sql). One statement each: what it decides is atomic."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from application.factor_ports import HeldPasskey, SealedTotp
from infra.postgres.lookups import PostgresLookups

_TRY = """
UPDATE totps
   SET guesses = CASE WHEN guessing_since > %(since)s THEN guesses + 1 ELSE 1 END,
       guessing_since = CASE WHEN guessing_since > %(since)s THEN guessing_since
                             ELSE %(now)s END
 WHERE account_id = %(account_id)s
   AND (%(limit)s::integer = 0 OR guesses < %(limit)s OR guessing_since <= %(since)s)
RETURNING sealed, master_key_id, last_step
"""
_USE = """
UPDATE totps SET last_step = %s, guesses = 0 WHERE account_id = %s AND last_step < %s
RETURNING last_step
"""
_OFFER = """
INSERT INTO totp_enrolments (account_id, sealed, master_key_id, expires_at)
VALUES (%s, %s, %s, %s) ON CONFLICT (account_id) DO UPDATE SET sealed = excluded.sealed,
master_key_id = excluded.master_key_id, expires_at = excluded.expires_at RETURNING account_id
"""
_PASSKEY = """
SELECT passkey_id, account_id, credential_id, public_key, sign_count, transports, backed_up,
       made_at, last_used_at FROM passkeys
"""
# Those whose time is over can't be used anyhow, so each use sweeps some of them away; rows that
# somebody else sweeps at the same moment are left to them.
_CHALLENGE = """
WITH swept AS (
    DELETE FROM passkey_challenges WHERE digest IN (
        SELECT digest FROM passkey_challenges WHERE expires_at < %(now)s
         ORDER BY expires_at LIMIT 20 FOR UPDATE SKIP LOCKED)
), used AS (
    INSERT INTO passkey_challenges (digest, expires_at)
    VALUES (%(digest)s, %(expires_at)s) ON CONFLICT DO NOTHING RETURNING digest
)
"""
_USE_CHALLENGE = f"{_CHALLENGE} SELECT digest FROM used"  # noqa: S608 - as below
# A counter of zero is one that the authenticator doesn't keep (WebAuthn, 6.1.1).
_USE_PASSKEY = f"""
{_CHALLENGE}
UPDATE passkeys SET sign_count = %(sign_count)s, backed_up = %(backed_up)s,
       last_used_at = %(now)s
 WHERE passkey_id = %(passkey_id)s AND EXISTS (SELECT FROM used)
   AND (sign_count < %(sign_count)s OR (sign_count = 0 AND %(sign_count)s = 0))
RETURNING passkey_id
"""  # noqa: S608 - a statement of ours only


class PostgresFactors:
    """Implements application.factor_ports.FactorStore."""

    def __init__(self, lookups: PostgresLookups) -> None:
        self._lookups = lookups

    async def totp_to_try(
        self, account_id: str, now: datetime, guesses_per_hour: int
    ) -> SealedTotp | None:
        """The account's app, counted as tried; None without one, or after too many guesses."""
        since = now - timedelta(hours=1)
        values = {"account_id": account_id, "now": now, "since": since, "limit": guesses_per_hour}
        rows = await self._lookups.rows(_TRY, values)
        return SealedTotp(bytes(rows[0][0]), rows[0][1], rows[0][2]) if rows else None

    async def use_totp(self, account_id: str, step: int) -> bool:
        """Use this step up; False where it or a later one was."""
        return bool(await self._lookups.rows(_USE, (step, account_id, step)))

    async def offer_totp(
        self, account_id: str, sealed: bytes, master_key_id: str, expires_at: datetime
    ) -> None:
        """Keep a secret that was shown and not confirmed."""
        await self._lookups.rows(_OFFER, (account_id, sealed, master_key_id, expires_at))

    async def offered_totp(self, account_id: str, now: datetime) -> SealedTotp | None:
        """The secret that was shown and not confirmed, if its time is not over."""
        rows = await self._lookups.rows(
            "SELECT sealed, master_key_id FROM totp_enrolments "
            "WHERE account_id = %s AND expires_at > %s",
            (account_id, now),
        )
        return SealedTotp(bytes(rows[0][0]), rows[0][1], 0) if rows else None

    async def recovery_code_among(self, account_id: str, digests: Sequence[bytes]) -> bytes | None:
        """Which of these digests is a code of this account that was not used."""
        rows = await self._lookups.rows(
            "SELECT digest FROM recovery_codes WHERE account_id = %s AND digest = ANY (%s)",
            (account_id, list(digests)),
        )
        return bytes(rows[0][0]) if rows else None

    async def passkeys(self, account_id: str) -> list[HeldPasskey]:
        """The account's passkeys, oldest first."""
        rows = await self._lookups.rows(
            f"{_PASSKEY} WHERE account_id = %s ORDER BY passkey_id", (account_id,)
        )
        return [_held(row) for row in rows]

    async def passkey(self, credential_id: bytes) -> HeldPasskey | None:
        """The passkey that an authenticator calls this."""
        rows = await self._lookups.rows(f"{_PASSKEY} WHERE credential_id = %s", (credential_id,))
        return _held(rows[0]) if rows else None

    async def use_challenge(self, digest: bytes, expires_at: datetime, now: datetime) -> bool:
        """Use a challenge up; False where it was."""
        values = {"digest": digest, "expires_at": expires_at, "now": now}
        return bool(await self._lookups.rows(_USE_CHALLENGE, values))

    async def use_passkey(
        self,
        passkey_id: str,
        sign_count: int,
        backed_up: bool,
        digest: bytes,
        expires_at: datetime,
        now: datetime,
    ) -> bool:
        """Use a challenge up and take note of the counter, or refuse both."""
        values = {
            "passkey_id": passkey_id,
            "sign_count": sign_count,
            "backed_up": backed_up,
            "digest": digest,
            "expires_at": expires_at,
            "now": now,
        }
        return bool(await self._lookups.rows(_USE_PASSKEY, values))


def _held(row: Sequence[Any]) -> HeldPasskey:
    passkey_id, account_id, credential_id, public_key, *rest = row
    return HeldPasskey(passkey_id, account_id, bytes(credential_id), bytes(public_key), *rest)
