"""The keys that sign access tokens: kept sealed in the database, rotated, published ahead.

Each key signs from its `signs_from` on, until the next one does. The next one is made, and is
in the JWKS, a day before it signs, so that whoever keeps the JWKS knows it in time; one that
signs no more is accepted, and published, for as long as a token of its could live. Every process
reads the keys again every few seconds; nobody is asked while a token is checked.
"""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import psycopg
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from application.errors import ApplicationError
from application.session_ports import PublishedKey
from infra.postgres.connection import conninfo
from infra.postgres.lookups import PostgresLookups
from infra.vault import MasterKeyVault, key_id

AHEAD_SECONDS = 86_400
REREAD_SECONDS = 20.0
SOONEST_SECONDS = 60
"""Every process has read a new key by then."""
_SLACK_SECONDS = 120

_SELECT = (
    "SELECT key_id, sealed, master_key_id, signs_from, accepted_until FROM signing_keys "
    "ORDER BY signs_from, made_at"
)
_ADD = "SELECT add_signing_key(%s, %s::bytea, %s, %s, %s, %s, %s)"

log = structlog.get_logger()


class SigningKey(NamedTuple):
    """A key, and when it signs. `accepted_until`: what it signed is refused from then on,
    whatever it says."""

    kid: str
    private: Ed25519PrivateKey
    public: Ed25519PublicKey
    signs_from: datetime
    accepted_until: datetime | None = None


def signing_key(
    kid: str, secret: bytes, signs_from: datetime, accepted_until: datetime | None = None
) -> SigningKey:
    """The key of these 32 bytes."""
    private = Ed25519PrivateKey.from_private_bytes(secret)
    return SigningKey(kid, private, private.public_key(), signs_from, accepted_until)


class Keyring:
    """The keys in their order, at least one. Asked by instant, so tests and processes need no
    timer to change keys in time. `lifetime_seconds` is the longest that a token may live."""

    def __init__(self, keys: Sequence[SigningKey], lifetime_seconds: float) -> None:
        self._lifetime = timedelta(seconds=lifetime_seconds + _SLACK_SECONDS)
        self.replace(keys)

    def replace(self, keys: Sequence[SigningKey]) -> None:
        """These are the keys now."""
        if not keys:
            raise ValueError("no signing key")
        self._keys = sorted(keys, key=lambda each: each.signs_from)
        self._by_kid = {each.kid: number for number, each in enumerate(self._keys)}

    @property
    def last(self) -> str:
        """The id of the one that signs last of all."""
        return self._keys[-1].kid

    def lasting(self) -> SigningKey:
        """The last of those that nobody has ended; the next one follows it."""
        living = [each for each in self._keys if each.accepted_until is None]
        return (living or self._keys)[-1]

    def signing(self, now: datetime) -> SigningKey:
        """The one that signs now."""
        begun = [each for each in self._keys if each.signs_from <= now and not _ended(each, now)]
        return begun[-1] if begun else self._keys[0]

    def accepted(self, kid: object, now: datetime) -> Ed25519PublicKey | None:
        """The public key of this id, if what it signed may hold now."""
        number = self._by_kid.get(kid) if isinstance(kid, str) else None
        if number is None or not self._holds(number, now):
            return None
        return self._keys[number].public

    def published(self, now: datetime) -> list[PublishedKey]:
        """The public keys, the one that signs first."""
        current = self.signing(now)
        held = [each for number, each in enumerate(self._keys) if self._holds(number, now)]
        return [
            PublishedKey(each.kid, _base64(each.public.public_bytes_raw()))
            for each in sorted(held, key=lambda each: each is not current)
        ]

    def _holds(self, number: int, now: datetime) -> bool:
        if _ended(self._keys[number], now):
            return False
        following = self._keys[number + 1 :]
        return not following or now < following[0].signs_from + self._lifetime


def _ended(key: SigningKey, now: datetime) -> bool:
    return key.accepted_until is not None and now >= key.accepted_until


class StoredSigningKeys:
    """Implements application.session_ports.SigningKeys: the database's keys in a ring of this
    process, kept up to date by `run`. A key signs for `days` as shipped."""

    def __init__(
        self, lookups: PostgresLookups, vault: MasterKeyVault, ring: Keyring, days: int
    ) -> None:
        self._lookups = lookups
        self._vault = vault
        self._ring = ring
        self._days = days

    async def rotate(self, now: datetime, signs_in_seconds: int, *, end_others: bool) -> str:
        """Make another key that signs from then on; answers its id."""
        while True:
            await self.read()
            # One that was made ahead may be due later, and then signs after this one.
            signs_from = now + timedelta(seconds=max(signs_in_seconds, SOONEST_SECONDS))
            kid = await self._add(now, signs_from, end_others)
            if kid is not None:
                await self.read()
                return kid

    def published(self, now: datetime) -> Sequence[PublishedKey]:
        """Those that sign, will sign, or signed tokens that may still live."""
        return self._ring.published(now)

    async def keep(self, now: datetime) -> None:
        """Read the keys again, and make the next one when it is time to publish it."""
        await self.read()
        due = self._ring.lasting().signs_from + timedelta(days=self._days)
        if now >= due - timedelta(seconds=AHEAD_SECONDS):
            soonest = now + timedelta(seconds=AHEAD_SECONDS)
            kid = await self._add(now, max(due, soonest), end_others=False)
            if kid is not None:
                log.info("next signing key made", kid=kid)
                await self.read()

    async def run(self, clock: Callable[[], datetime]) -> None:
        """Keep them until cancelled; without Postgres those that are known stay."""
        while True:
            await asyncio.sleep(REREAD_SECONDS)
            try:
                await self.keep(clock())
            except ApplicationError as error:
                log.warning("signing keys can't be read", problem=str(error))

    async def read(self) -> None:
        """Put what the database has into the ring."""
        rows = await self._lookups.rows(_SELECT, ())
        self._ring.replace([_opened(self._vault, *row) for row in rows])

    async def _add(self, now: datetime, signs_from: datetime, end_others: bool) -> str | None:
        """Add a key, unless somebody else has just added one that this process doesn't know."""
        secret = Ed25519PrivateKey.generate().private_bytes_raw()
        kid = key_id(secret)
        sealed, master_key_id = self._vault.seal_secret(secret, _bound(kid))
        rows = await self._lookups.rows(
            _ADD, (kid, sealed, master_key_id, now, signs_from, self._ring.last, end_others)
        )
        return kid if rows[0][0] else None


def first_keys(url: str, vault: MasterKeyVault) -> list[SigningKey]:
    """The signing keys as they are at a start; the first one is made by whoever asks first."""
    with psycopg.connect(conninfo(url)) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('tollhouse signing keys'))")
        rows = connection.execute(_SELECT.encode()).fetchall()
        if not rows:
            secret = Ed25519PrivateKey.generate().private_bytes_raw()
            kid = key_id(secret)
            sealed, master_key_id = vault.seal_secret(secret, _bound(kid))
            connection.execute(
                "INSERT INTO signing_keys (key_id, sealed, master_key_id, signs_from) "
                "VALUES (%s, %s, %s, now())",
                (kid, sealed, master_key_id),
            )
            rows = connection.execute(_SELECT.encode()).fetchall()
    return [_opened(vault, *row) for row in rows]


def _opened(
    vault: MasterKeyVault,
    kid: str,
    sealed: bytes,
    master_key_id: str,
    signs_from: datetime,
    accepted_until: datetime | None,
) -> SigningKey:
    secret = vault.open_secret(bytes(sealed), master_key_id, _bound(kid))
    return signing_key(kid, secret, signs_from, accepted_until)


def _bound(kid: str) -> str:
    return f"signing-key:{kid}"


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
