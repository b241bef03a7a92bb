"""Rows that must be right at commit: written in the transaction that appends the events.

One class a table, its fields the columns. The adapter holds one statement for each.
"""

from datetime import datetime

import msgspec


class Row(msgspec.Struct, frozen=True):
    """One row written with the events; its fields are the columns."""


class ClaimRow(Row, frozen=True):
    """Only one account may hold this. A claim that is held raises `Taken`."""

    kind: str
    digest: bytes
    account_id: str


class StateRow(Row, frozen=True):
    """The state that the stream's events fold to: what a starting process loads."""

    stream_id: str
    noun: str
    account_id: str | None
    version: int
    state: msgspec.Struct


class KeyDigestRow(Row, frozen=True):
    """Which key this digest belongs to; a digest that is held raises `Taken`."""

    digest: bytes
    key_id: str


class CounterRow(Row, frozen=True):
    """A counter's rule. Set on one that exists, what it has counted stays; but under another
    calendar only what was counted since `counts_since`, in the old calendar's last window."""

    counter_id: int
    owner_id: str
    account_id: str
    limit_amount: int | None
    rule_no: int
    window_start: int
    counts_since: int = 0
    carry_max: int = 0


class MovedUseRow(Row, frozen=True):
    """What was used of the counter `left`, if its window began at `since` or later, counts in
    this one, too. Both are there already."""

    counter_id: int
    left: int
    since: int


class DataKeyRow(Row, frozen=True):
    """An account's data key, wrapped by the master key."""

    account_id: str
    wrapped: bytes
    master_key_id: str


class PasswordRow(Row, frozen=True):
    """An account's password hash, in PHC string format."""

    account_id: str
    hash: str


class SessionRow(Row, frozen=True):
    """A sign-in and the digest of its current refresh token."""

    session_id: str
    account_id: str
    refresh_digest: bytes
    expires_at: datetime


class AnswerRow(Row, frozen=True):
    """The sealed first answer to an Idempotency-Key; a second one raises `AnswerExists`."""

    digest: bytes
    body_digest: bytes
    answer: bytes
    stream_id: str
    version: int


class EntitlementRow(Row, frozen=True):
    """Not a row but a guard: the account may have only so many of this noun that have not
    ended, these `adding` ones included. Checked alone for this account, before their states
    are written; raises `EntitlementExceeded`."""

    account_id: str
    noun: str
    entitlement: str
    limit: int
    plan: str
    adding: int = 1


class KeyIssuedRow(Row, frozen=True):
    """Not only a row but a guard: the account is issued one more key, of at most `limit` in the
    window around `at`; raises `TooManyKeys`. All in microseconds."""

    account_id: str
    limit: int
    window_start: int
    window_end: int
    at: int


class PlanChangeRow(Row, frozen=True):
    """The account changes to this plan when it is due; in the place of an earlier one."""

    account_id: str
    plan: str
    due_at: datetime


class PlanChangeOverRow(Row, frozen=True):
    """Not a row but the end of one: the account's plan change is done, or is off."""

    account_id: str


class CreditCounterRow(Row, frozen=True):
    """What an account's verifications may spend until `changes_at`. The row is there, and
    locked; what was used stays."""

    counter_id: int
    limit_amount: int
    changes_at: int
    rule_no: int
    entry_no: int


class CreditHoldRow(Row, frozen=True):
    """A hold that was just made."""

    hold_id: str
    account_id: str
    amount: int
    expires_at: int


class CreditHoldOverRow(Row, frozen=True):
    """The hold has ended like this, with so much of it spent."""

    hold_id: str
    status: str
    captured: int
