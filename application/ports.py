"""What the use cases need from the outside, as Protocols; `infra` implements them.

What must be right at commit is in `rows`: written with the events, or not at all.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from application.rows import DataKeyRow, Row
from domain.accounts import Account
from domain.allowances import Allowance, Window
from domain.api_keys import ApiKey
from domain.event import Metadata, NewEvent, Recorded
from domain.event import Unreadable as Unreadable
from domain.plans import Plan
from domain.verification import Counter


class AnswerExists(Exception):
    """The same Idempotency-Key was answered in the meantime, or is being answered now."""


class Followed(NamedTuple):
    """A step along a log. Empty `events` means: nothing after what was read before.

    `asked_at` is the monotonic time just before the log was asked, so a full reading up to
    its end is confirmed as of that instant.
    """

    events: Sequence[Recorded | Unreadable]
    at_end: bool
    asked_at: float


class Found(NamedTuple):
    """One event of a log, and its bytes as they are stored."""

    event: Recorded | Unreadable
    state: bytes


class EventStore(Protocol):
    """An append-only log of streams. Three verbs: read, append, follow."""

    @property
    def log_id(self) -> str:
        """Names this log; position tokens of another one are refused."""
        ...

    async def read(self, stream: str, *, personal: bool = False) -> list[Recorded]:
        """The stream's events, oldest first; personal fields are None unless asked for."""
        ...

    async def append(
        self, events: Sequence[NewEvent], metadata: Metadata, rows: Sequence[Row] = ()
    ) -> int:
        """Append all events to their streams, and write all rows, or nothing.

        Answers the position of the last event. Raises VersionConflict when a stream has
        moved on, Taken, AnswerExists, StoreUnavailable. A commit whose reply was lost is
        looked up by its command id, never reported as a conflict and never done twice.
        """
        ...

    def follow(self, after: int) -> AsyncIterator[Followed]:
        """Every event after this position, in order, and then whatever comes, for ever.

        Survives the store's restarts; an event that can't be read comes as Unreadable.
        """
        ...


class Flush(msgspec.Struct, frozen=True):
    """What one flush asks of the database. `takes` is flat: request row, counter, amount."""

    stream: str
    version: int
    metadata: bytes
    batch: bytes
    counters: list[int]
    rules: list[int]
    windows: list[Window]
    takes: list[int]


class Counted(msgspec.Struct, frozen=True):
    """What the database decided. Lists are per counter, but for `refused`: per refused row
    the counter (1-based) that refused it, or STALE. `position` is that of the usage event."""

    position: int
    now_us: int
    windows: list[int]
    limits: list[int | None]
    opening: list[int]
    entry_no: list[int]
    refused: dict[int, int]


class UsageLog(Protocol):
    """Counts by group commit: counters and usage event in one transaction."""

    async def count(self, flush: Flush) -> Counted:
        """Take the counters and append the batch, once per (stream, version) whatever
        happens to the connection. Raises StoreUnavailable while that can't be known."""
        ...

    async def now_us(self) -> int:
        """The database's clock, in microseconds since 1970 UTC."""
        ...


class Follower(msgspec.Struct, frozen=True, kw_only=True):
    """How far one follower of a log is. `behind` is in events, and counted up to MOST_BEHIND.

    Ages are in seconds, None where it never was: since somebody who follows was heard of, and
    since the end of the log was reached. `problem` is why it stopped, at `stopped_at`.
    """

    name: str
    log: Literal["decisions", "usage"]
    position: int
    behind: int
    seen_seconds: float | None
    caught_up_seconds: float | None
    stopped_at: int | None = None
    problem: str | None = None

    @property
    def held(self) -> bool:
        """Whether a process follows: it was heard of not long ago."""
        return self.seen_seconds is not None and self.seen_seconds < SILENT_SECONDS

    @property
    def status(self) -> Literal["ok", "behind", "stopped", "away"]:
        """In a word. `behind`: it has not seen the end of its log for a while."""
        if self.problem is not None:
            return "stopped"
        if not self.held:
            return "away"
        late = self.caught_up_seconds is None or self.caught_up_seconds > LATE_SECONDS
        return "behind" if self.behind and late else "ok"


MOST_BEHIND = 10_000
SILENT_SECONDS = 30.0
LATE_SECONDS = 60.0


class Lookups(Protocol):
    """Rows that were right at commit, read by those who need no more than that."""

    async def followers(self) -> list[Follower]:
        """Everybody who follows a log, and how far they are."""
        ...

    async def claim_holder(self, kind: str, digests: Sequence[bytes]) -> str | None: ...

    async def password_hash(self, account_id: str) -> str | None: ...

    async def counters(self, counter_ids: Sequence[int]) -> dict[int, Counter]: ...

    async def keys_of(self, account_id: str, after: str | None, limit: int) -> list[ApiKey]: ...

    async def accounts(self, after: str | None, limit: int) -> list[Account]: ...

    async def answer(self, digest: bytes) -> tuple[bytes, bytes, int] | None:
        """Body digest, sealed answer and position for an Idempotency-Key's digest."""
        ...


class KeyUses(msgspec.Struct, frozen=True):
    """How often a key was verified, as far as usage was summed: about a second ago."""

    valid: int = 0
    denied: int = 0
    last_used_at: datetime | None = None


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An event as histories show it. `data` is what may be told of it; `reason` is personal,
    and only there where it was asked for."""

    position: int
    stream: str
    version: int
    type: str
    at: datetime
    actor: str
    request_id: str | None
    data: dict[str, Any]
    reason: str | None = None


class ReadModels(Protocol):
    """Tables that follow the logs. They are late by a moment: nothing is decided on them."""

    async def key_uses(self, key_ids: Sequence[str]) -> dict[str, KeyUses]:
        """Of these keys; those that were never verified are missing."""
        ...

    async def history_of_streams(
        self, streams: Sequence[str], before: int | None, limit: int, at_least: int | None
    ) -> list[HistoryEntry]:
        """What happened in these streams, newest first, before this position. Waits until
        `at_least` is reached; PositionNotReached if that takes longer than 2 s."""
        ...

    async def history_of_account(
        self, account_id: str, before: int | None, limit: int, at_least: int | None
    ) -> list[HistoryEntry]:
        """The same of everything that is this account's."""
        ...


class Directory(Protocol):
    """What this process knows of accounts, keys, plans and allowances, following the log."""

    @property
    def position(self) -> int: ...

    def account(self, account_id: str) -> Account | None: ...

    def key(self, key_id: str) -> ApiKey | None: ...

    def plan(self, name: str) -> Plan | None: ...

    def plans(self) -> list[Plan]: ...

    def allowances(self, owner_id: str) -> Sequence[Allowance]: ...

    async def catch_up(self, position: int, patience_seconds: float) -> bool:
        """Wait until this position is applied; False if it takes longer."""
        ...


class Digests(Protocol):
    """Keyed digests under the pepper: of keys, tokens and what is claimed."""

    @property
    def pepper_id(self) -> str: ...

    def key(self, secret: str) -> bytes: ...

    def candidates(self, secret: str) -> list[bytes]:
        """The digests under every pepper in use, the current one first."""
        ...

    def refresh_token(self, token: str) -> bytes: ...

    def claims(self, kind: str, text: str) -> list[bytes]:
        """The digests of a claim under every pepper in use: all are held, any finds it. So
        nobody takes an address twice while the pepper rotates, whichever process is asked."""
        ...


class Passwords(Protocol):
    """Argon2id behind a gate; raises Overloaded when its queue is full."""

    async def hash(self, password: str) -> str: ...

    async def verify(self, hash: str | None, password: str) -> bool:
        """Whether it is the password. None takes as long as a hash and is never right."""
        ...


class Vault(Protocol):
    """Makes data keys; what they seal is the event store's business."""

    def new_data_key(self, account_id: str) -> DataKeyRow: ...


class AccessClaims(msgspec.Struct, frozen=True):
    """What an access token says (RFC 9068)."""

    sub: str
    sid: str
    jti: str
    iat: int
    exp: int
    roles: list[str]
    amr: list[str]
    epoch: int


class Tokens(Protocol):
    """Access tokens: EdDSA, one key id per signing key."""

    def issue(self, claims: AccessClaims) -> str: ...

    def check(self, token: str, now: datetime) -> AccessClaims:
        """The claims of a token that is ours and not expired; Unauthenticated otherwise."""
        ...


LakeFormat = Literal["json", "csv", "arrow"]
SheetFormat = Literal["json", "csv", "arrow", "parquet"]


class LakeColumn(NamedTuple):
    """A column of the lake, or of an answer; `type` as DuckDB writes it."""

    name: str
    type: str
    numeric: bool
    comment: str | None


class LakeTable(NamedTuple):
    """A table or a view of the lake."""

    name: str
    comment: str | None
    columns: Sequence[LakeColumn]


class UsageWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Usage from `since` up to, not with, `until`, in sums per `group_by`. `account_id` None is
    everybody's."""

    group_by: tuple[Literal["day", "key", "outcome", "model"], ...]
    since: datetime
    until: datetime
    account_id: str | None


class Analytics(Protocol):
    """Reads the lake as it was last published. Answers whole documents in the format wanted.

    Raises QueryNotAnswered, AnalyticsUnavailable, Overloaded.
    """

    async def query(self, sql: str, format: LakeFormat) -> bytes:
        """The answer to one statement of SQL that only reads. As JSON: columns, rows, row_count,
        elapsed_ms, snapshot."""
        ...

    async def usage(self, wanted: UsageWanted, format: LakeFormat) -> bytes:
        """Counts and costs. As JSON: items, since, until, group_by, snapshot."""
        ...


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that use cases obey."""

    key_prefix: str = "th"
    access_token_ttl_seconds: int = 900
    refresh_token_ttl_seconds: int = 604_800
    require_verified_email: bool = False


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a use case may reach. Put together in `main`, nowhere else."""

    store: EventStore
    lookups: Lookups
    read_models: ReadModels
    directory: Directory
    digests: Digests
    passwords: Passwords
    vault: Vault
    tokens: Tokens
    policy: Policy
    clock: Callable[[], datetime]
    entropy: Callable[[int], bytes]
