"""What is only read: rows that were right at commit, and read models that are late by a moment."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from application.rows import Row
from domain.accounts import Account
from domain.api_keys import ApiKey
from domain.purchases import Purchase
from domain.verification import Counter


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


class Credential(NamedTuple):
    """What an account's password is checked against; and its version then, which rises with
    every change of it. `hash` is None where it has no password."""

    account_id: str
    hash: str | None
    version: int


class Lookups(Protocol):
    """Rows that were right at commit, read by those who need no more than that."""

    async def followers(self) -> list[Follower]:
        """Everybody who follows a log, and how far they are."""
        ...

    async def write(self, rows: Sequence[Row]) -> None:
        """Rows that follow from no event, all or none; StoreUnavailable."""
        ...

    async def claim_holder(self, kind: str, digests: Sequence[bytes]) -> str | None: ...

    async def password_hash(self, account_id: str) -> str | None: ...

    async def credential(self, kind: str, digests: Sequence[bytes]) -> Credential | None:
        """Of the account that holds a claim under one of these digests."""
        ...

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
    """An event as its read model has it. `data` is what may be told of it to everybody;
    `account_id` is whose it is."""

    position: int
    stream: str
    version: int
    type: str
    at: datetime
    actor: str
    request_id: str | None
    data: dict[str, Any]
    account_id: str | None = None


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
