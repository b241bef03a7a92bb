"""What the use cases need from the outside, as Protocols; `infra` implements them.

What must be right at commit is in `rows`: written with the events, or not at all.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from application.payment_ports import PaymentProvider as PaymentProvider
from application.rows import DataKeyRow, Row
from domain.accounts import Account
from domain.allowances import Allowance, Calendar, Rule, Window
from domain.api_keys import Algorithm, ApiKey
from domain.event import Metadata, NewEvent, Recorded
from domain.event import Unreadable as Unreadable
from domain.plans import Plan
from domain.purchases import SHIPPED, Package, Purchase
from domain.verification import Counter

T = TypeVar("T")


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


class CounterLock(NamedTuple):
    """A counter to lock, and the stream that is decided with it."""

    counter_id: int
    owner_id: str
    account_id: str
    stream: str


class Locked(NamedTuple):
    """A counter and its stream's state (as the StateRow has it) while they are locked."""

    counter: Counter
    version: int
    state: bytes | None


class Decided(msgspec.Struct, Generic[T], frozen=True):
    """What was decided under locks: events to append, rows to write with them, an answer."""

    events: Sequence[NewEvent]
    rows: Sequence[Row]
    result: T


class Appended(msgspec.Struct, Generic[T], frozen=True):
    """What came of it. `position` is that of the last event; None if there was none."""

    position: int | None
    result: T


Decide = Callable[[Sequence[Locked], datetime], Decided[T]]


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

    async def append_locked(
        self, locks: Sequence[CounterLock], decide: Decide[T], metadata: Metadata
    ) -> Appended[T]:
        """Lock these counters, decide on what they and their streams hold then, and append
        what was decided, in one transaction. Rows that aren't there are made first.

        `decide` runs in another thread, more than once if need be, and must be pure; what it
        raises is raised, and nothing was written. `metadata.at` becomes the database's clock
        as it was read under the locks: that is the instant that `decide` is told. Raises as
        `append` does. A commit whose reply was lost is looked up under the locks, and then
        not decided again.
        """
        ...

    def follow(self, after: int) -> AsyncIterator[Followed]:
        """Every event after this position, in order, and then whatever comes, for ever.

        Survives the store's restarts; an event that can't be read comes as Unreadable.
        """
        ...


class Flush(msgspec.Struct, frozen=True):
    """What one flush asks of the database: of each counter its rule, in order of their ids,
    and of each of their calendars the windows around now. `takes` is flat: request row,
    counter (1-based), amount."""

    stream: str
    version: int
    metadata: bytes
    batch: bytes
    rules: list[Rule]
    windows: dict[Calendar, Window]
    takes: list[int]


class Counted(msgspec.Struct, frozen=True):
    """What the database decided. Lists are per counter, but for `refused`: per refused row
    the counter (1-based) that refused it, STALE or UNSETTLED. `position` is that of the usage
    event, `limits` with what was carried over."""

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


class CreditRow(NamedTuple):
    """The counter of an account's credits and its stream's state; None where nobody has
    looked yet. `now_us` is the database's clock."""

    now_us: int
    counter: Counter | None
    state: bytes | None


class HoldRow(NamedTuple):
    """A hold as it was last written down: an open one may have expired since. Hundredths."""

    hold_id: str
    account_id: str
    status: Literal["held", "captured", "released", "expired"]
    amount: int
    captured: int
    expires_at_us: int


class Lookups(Protocol):
    """Rows that were right at commit, read by those who need no more than that."""

    async def followers(self) -> list[Follower]:
        """Everybody who follows a log, and how far they are."""
        ...

    async def claim_holder(self, kind: str, digests: Sequence[bytes]) -> str | None: ...

    async def password_hash(self, account_id: str) -> str | None: ...

    async def counters(self, counter_ids: Sequence[int]) -> dict[int, Counter]: ...

    async def key_holders(self, digests: Sequence[bytes]) -> dict[bytes, str]:
        """The keys that hold these digests, by digest; those that nobody holds are missing."""
        ...

    async def keys_of(self, account_id: str, after: str | None, limit: int) -> list[ApiKey]: ...

    async def accounts(self, after: str | None, limit: int) -> list[Account]: ...

    async def purchases_of(
        self, account_id: str, after: str | None, limit: int
    ) -> list[Purchase]: ...

    async def credit_row(self, stream: str, counter_id: int) -> CreditRow:
        """An account's credits as they are at this moment, all of one instant."""
        ...

    async def credit_hold(self, hold_id: str) -> HoldRow | None:
        """What became of a hold."""
        ...

    async def living_keys(self, account_id: str) -> int:
        """How many keys the account has that have not ended."""
        ...

    async def due_plan_changes(self, now: datetime, after: str | None, limit: int) -> list[str]:
        """The accounts whose plan change is due by now, after this one, by id."""
        ...

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


CreditEntryKind = Literal[
    "granted",
    "begun",
    "expired",
    "spent",
    "held",
    "captured",
    "released",
    "withdrawn",
    "verification",
]


class CreditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of an account's credits, in hundredths. `amount` is what it is about, `before`
    and `after` what was available around it."""

    entry_no: int
    at_us: int
    kind: CreditEntryKind
    amount: int
    before: int
    after: int
    operation: str | None = None
    verification_id: str | None = None
    key_id: str | None = None
    hold_id: str | None = None
    lot: int | None = None
    source: str | None = None
    expires_at_us: int | None = None


class Moment(NamedTuple):
    """When a position of the decisions log was, and how many events a stream had then."""

    at: datetime
    version: int


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

    async def credit_entries(
        self,
        account_id: str,
        before: int | None,
        until_us: int | None,
        limit: int,
        at_least: int | None,
    ) -> list[CreditEntry]:
        """An account's entries up to this instant, before this one, newest first. `at_least`
        as for histories."""
        ...

    async def credits_used(
        self,
        account_id: str,
        *,
        until_us: int,
        after_entry: int,
        before_entry: int,
        complete_to: int,
    ) -> int:
        """What the account's verifications had spent in all: up to `after_entry`, and then by
        this instant, but not from `before_entry` on. Waits until the entry `complete_to` is
        there; PositionNotReached if that takes longer than 2 s."""
        ...

    async def moment(self, position: int, stream: str) -> Moment | None:
        """When this position was, or the last one before it; None if there was nothing yet.
        Waits as histories do."""
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

    @property
    def reset_at_us(self) -> int:
        """When everybody's quotas were reset the last time; 0 for never."""
        ...

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

    def importable(self) -> frozenset[str]:
        """The algorithms of keys that can be imported here."""
        ...

    def imported(self, algorithm: Algorithm, hash: bytes) -> bytes:
        """The digest that stands for a hash that was made elsewhere."""
        ...

    def foreign(self, secret: str, algorithms: Collection[str]) -> list[bytes]:
        """What stands for this secret, had it been imported under one of these algorithms."""
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


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """Verifications of one key that have something in common: a day, a tag, a resource or a
    model, and their outcome."""

    kind: Literal["day", "tag", "resource", "model"]
    value: str
    outcome: str
    verifications: int
    cost: int
    first_at: datetime
    last_at: datetime


class KeyTrail(msgspec.Struct, frozen=True):
    """How a key was used, as the lake has it: all that was counted up to `published_at`, by its
    `usage_position` in the usage log."""

    traces: list[Trace]
    published_at: datetime | None
    usage_position: int | None


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

    async def key_trail(self, key_id: str, since: datetime) -> KeyTrail:
        """How this key was used from this instant on; the most frequent labels only."""
        ...


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that use cases obey."""

    key_prefix: str = "th"
    access_token_ttl_seconds: int = 900
    refresh_token_ttl_seconds: int = 604_800
    require_verified_email: bool = False
    packages: tuple[Package, ...] = SHIPPED


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
    payments: dict[str, PaymentProvider] = {}
