"""What sessions need from the outside: their rows, the refresh tokens, and what is ended by now."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from domain.accounts import Account
from domain.sessions import Session

Outcome = Literal["rotated", "repeated", "reused", "over", "inactive"]
"""Of a refresh token: it was the current one, and has a successor now; it is the one before,
and was the current one a moment ago; it was spent long ago; its session is over or unknown; its
account is not active, and nothing was done."""

Access = Literal["active", "suspended", "closed", "erased", "unreadable"]


class RefreshClaims(NamedTuple):
    """What a refresh token of ours says: which session's it is, and which in its row."""

    session_id: str
    generation: int


class Rotation(NamedTuple):
    """What a session's row says of a refresh token, and its account as it is now. The rest may
    be None where it is `over`."""

    outcome: Outcome
    account: Account | None = None
    started_at: datetime | None = None
    expires_at: datetime | None = None
    amr: tuple[str, ...] = ()
    impersonator: str | None = None


class SessionRecord(NamedTuple):
    """A session's row, as lists show it. `last_seen_at`: signed in or refreshed."""

    session_id: str
    account_id: str
    started_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    amr: tuple[str, ...]
    impersonator: str | None


class Living(NamedTuple):
    """A session that has not ended, and the version of its stream."""

    session: Session
    version: int


class RefreshTokens(Protocol):
    """Makes and reads refresh tokens under the pepper. A session's tokens stay under the pepper
    that its first one was made under."""

    def first(self, session_id: str) -> str:
        """A session's first token: 256 random bits."""
        ...

    def read(self, token: str) -> RefreshClaims | None:
        """What a token says, whatever became of it since; None for what was never ours."""
        ...

    def successor(self, token: str) -> str:
        """What follows this token of ours: always the same, and known to nobody without it."""
        ...

    def digest(self, token: str) -> bytes:
        """What the row keeps of a token of ours."""
        ...

    def csrf(self, session_id: str) -> str:
        """What a page must show to act with this session's cookies."""
        ...

    def is_csrf(self, shown: str, session_id: str) -> bool:
        """Whether this was shown by who may know it; compared in constant time."""
        ...


class Sessions(Protocol):
    """The rows of sessions. Each call is one statement, so two at once can't both be right."""

    async def rotate(
        self, claims: RefreshClaims, digest: bytes, next_digest: bytes, now: datetime
    ) -> Rotation:
        """Put the successor in the place of this token, if it is the current one. Asked again
        after a lost answer it says `repeated`."""
        ...

    async def current(self, claims: RefreshClaims, digest: bytes, now: datetime) -> Rotation:
        """What `rotate` would find, and nothing is changed: `rotated` for the current one."""
        ...

    async def living(self, account_id: str, now: datetime) -> list[Living]:
        """The sessions of an account that have not ended, with their streams' versions."""
        ...

    async def too_many(self, account_id: str, most: int, now: datetime) -> list[Living]:
        """The sessions that have not ended though `most` newer ones go on: the hundred newest
        of them, oldest first."""
        ...

    async def page(
        self, account_id: str, now: datetime, after: str | None, limit: int
    ) -> list[SessionRecord]:
        """The sessions of an account that have not ended, newest first, after this id."""
        ...


class AccessGate(Protocol):
    """What ends an access token before its time, from memory."""

    def epoch(self, account_id: str) -> int:
        """Tokens of a lower epoch have ended."""
        ...

    def access(self, account_id: str) -> Access:
        """Whether the account may do anything at all."""
        ...

    def is_over(self, session_id: str) -> bool:
        """Whether the session has ended; known for as long as its tokens could live."""
        ...


class PublishedKey(NamedTuple):
    """A public signing key as the JWKS has it (RFC 7517, RFC 8037)."""

    kid: str
    x: str


class SigningKeys(Protocol):
    """The keys that access tokens are signed with, all processes' alike."""

    async def rotate(self, now: datetime, signs_in_seconds: int, *, end_others: bool) -> str:
        """Make another key that signs from then on; answers its id. `end_others`: what others
        have signed is refused from then on, as after a leak."""
        ...

    def published(self, now: datetime) -> Sequence[PublishedKey]:
        """Those that sign, will sign, or signed tokens that may still live."""
        ...
