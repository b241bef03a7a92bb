"""What second factors need from the outside: where they are kept, and who understands passkeys."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

Json = dict[str, object]
"""What a browser takes and gives in a ceremony: the JSON forms of WebAuthn Level 3. Only the
port that understands passkeys looks into it."""


class SealedTotp(msgspec.Struct, frozen=True):
    """An app's secret, sealed under that master key, and the newest step that was used."""

    sealed: bytes
    master_key_id: str
    last_step: int


class HeldPasskey(msgspec.Struct, frozen=True):
    """A passkey as it is kept."""

    passkey_id: str
    account_id: str
    credential_id: bytes
    public_key: bytes
    sign_count: int
    transports: list[str]
    backed_up: bool
    made_at: datetime
    last_used_at: datetime | None


class FactorStore(Protocol):
    """Second factors as rows. Each of these is one statement, so what it decides is decided
    once, however many ask at the same moment. Raises StoreUnavailable."""

    async def totp_to_try(
        self, account_id: str, now: datetime, guesses_per_hour: int
    ) -> SealedTotp | None:
        """The account's app, to be tried once: counted before it is tried, as a wrong code.
        None where there is none, or where too many were wrong in this hour (0: never)."""
        ...

    async def use_totp(self, account_id: str, step: int) -> bool:
        """Use this step and all before it up; False where it was. What was counted as wrong
        is forgotten."""
        ...

    async def offer_totp(
        self, account_id: str, sealed: bytes, master_key_id: str, expires_at: datetime
    ) -> None:
        """Keep a secret that was shown and not confirmed, in the place of an earlier one."""
        ...

    async def offered_totp(self, account_id: str, now: datetime) -> SealedTotp | None:
        """The secret that was shown and not confirmed, if its time is not over."""
        ...

    async def recovery_code_among(self, account_id: str, digests: Sequence[bytes]) -> bytes | None:
        """Which of these digests is a code of this account that was not used."""
        ...

    async def passkeys(self, account_id: str) -> list[HeldPasskey]:
        """The account's passkeys, oldest first."""
        ...

    async def passkey(self, credential_id: bytes) -> HeldPasskey | None:
        """The passkey that an authenticator calls this."""
        ...

    async def use_challenge(self, digest: bytes, expires_at: datetime, now: datetime) -> bool:
        """Use a challenge up; False where it was."""
        ...

    async def use_passkey(
        self,
        passkey_id: str,
        sign_count: int,
        backed_up: bool,
        digest: bytes,
        expires_at: datetime,
        now: datetime,
    ) -> bool:
        """Use a challenge up and take note of the counter, or neither: False where the challenge
        was used, the passkey is gone, or its counter is as far already (a copy was used)."""
        ...


class NewPasskey(msgspec.Struct, frozen=True):
    """What a browser proved at a registration."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    transports: list[str]
    backed_up: bool


class UsedPasskey(msgspec.Struct, frozen=True):
    """What a browser proved at a sign-in."""

    sign_count: int
    backed_up: bool


class PasskeyRefused(Exception):
    """The browser's answer proves nothing. The reason is for logs, never for answers."""


class PasskeyCeremonies(Protocol):
    """WebAuthn (Level 3), sections 7.1 and 7.2; user verification is always required."""

    def creation_options(
        self,
        challenge: bytes,
        user_id: bytes,
        user_name: str,
        display_name: str,
        exclude: Sequence[HeldPasskey],
        timeout_seconds: int,
    ) -> Json:
        """What `navigator.credentials.create` takes as `publicKey`, in JSON."""
        ...

    def request_options(self, challenge: bytes, timeout_seconds: int) -> Json:
        """What `navigator.credentials.get` takes as `publicKey`, in JSON. It names no account:
        the authenticator says whose passkey it is."""
        ...

    def challenge_of(self, credential: Json) -> bytes:
        """The challenge that the browser says it answers. Raises PasskeyRefused."""
        ...

    def credential_id_of(self, credential: Json) -> bytes:
        """The credential that the browser says it used. Raises PasskeyRefused."""
        ...

    def registered(self, credential: Json, challenge: bytes) -> NewPasskey:
        """What an answer to `creation_options` proves. Raises PasskeyRefused."""
        ...

    def asserted(self, credential: Json, challenge: bytes, passkey: HeldPasskey) -> UsedPasskey:
        """What an answer to `request_options` proves: that who has this passkey was there, was
        verified, and meant this site. Raises PasskeyRefused, also for a counter that fell."""
        ...
