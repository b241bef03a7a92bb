"""What proofs of an address and passwords need from the outside; `infra` implements it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec


class StoredChallenge(msgspec.Struct, frozen=True):
    """A challenge as it is kept; what waits for it is sealed."""

    challenge_id: str
    purpose: str
    account_id: str | None
    sealed: bytes
    master_key_id: str


class Challenges(Protocol):
    """Challenges that are under way. Each call is atomic."""

    async def guess(
        self,
        challenge_id: str,
        purposes: Sequence[str],
        codes: Sequence[bytes],
        now: datetime,
        token: bytes | None = None,
        token_until: datetime | None = None,
    ) -> StoredChallenge | None:
        """The challenge, if one of these is its code's digest; a wrong guess is counted.

        With a token, the code is spent and the token stands in its place until then.
        """
        ...

    async def newest(self, addresses: Sequence[bytes], purpose: str, now: datetime) -> str | None:
        """The id of the newest challenge for this address and purpose whose code is not spent."""
        ...

    async def of_token(
        self, tokens: Sequence[bytes], purpose: str, now: datetime
    ) -> StoredChallenge | None:
        """The challenge that a token of one of these digests stands for; nothing is spent."""
        ...


class Strength(msgspec.Struct, frozen=True):
    """How hard a password is to guess: `score` from 0 to 4, as zxcvbn has it, and why."""

    score: int
    warnings: tuple[str, ...] = ()


class Breached(Protocol):
    """Passwords that are known from breaches."""

    async def holds(self, sha1: bytes) -> bool: ...

    async def add(self, sha1s: Sequence[bytes]) -> int:
        """Know these, too; answers how many are new."""
        ...
