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


class ClaimGoneRow(Row, frozen=True):
    """Not a row but the end of one: the account gives this claim up (one row a pepper's digest)."""

    kind: str
    digest: bytes
    account_id: str


class ChallengeRow(Row, frozen=True):
    """A code that was mailed (`application.challenges`). Written again, it changes nothing."""

    challenge_id: str
    purpose: str
    address_digest: bytes
    account_id: str | None
    code_digest: bytes
    guesses_left: int
    sealed: bytes
    master_key_id: str
    made_at: datetime
    expires_at: datetime


class ChallengeSpentRow(Row, frozen=True):
    """Not a row but a guard: the proof is spent by this commit; WrongCredentials if it was."""

    challenge_id: str


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


class PasswordGoneRow(Row, frozen=True):
    """Not a row but the end of one: the account has no password."""

    account_id: str


class SessionRow(Row, frozen=True):
    """A sign-in and the digest of its current refresh token. Also a guard: the account's epoch
    is still this one; raises `VersionConflict`."""

    session_id: str
    account_id: str
    refresh_digest: bytes
    expires_at: datetime
    started_at: datetime
    amr: list[str]
    impersonator: str | None
    epoch: int


class SessionOverRow(Row, frozen=True):
    """Not a row but the end of one: the session's refresh token works no more."""

    session_id: str
    ended_at: datetime


class SessionsOverRow(Row, frozen=True):
    """The end of all sessions of an account, `but` one, those that are just being started as
    well: it takes the account's lock, and their SessionRow has looked under it, or will."""

    account_id: str
    but: str | None
    ended_at: datetime


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


class ClosingRow(Row, frozen=True):
    """The account is closed, and erased at `final_at`; in the place of an earlier date."""

    account_id: str
    final_at: datetime


class ClosingOverRow(Row, frozen=True):
    """Not a row but the end of one: the account was restored, or will not be erased."""

    account_id: str


class ErasedRow(Row, frozen=True):
    """The account is erased by the event of this version: all rows that are about the person go
    with it, the data key first of all (`erase_account`, 0018_closing.sql)."""

    account_id: str
    version: int
    erased_at: datetime


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


class KnownNetworkRow(Row, frozen=True):
    """The account signed in from this network (a digest of both) and is known there until then."""

    digest: bytes
    account_id: str
    known_until: datetime


class SignInsClearedRow(Row, frozen=True):
    """Not a row but the end of some: the account's failed sign-ins, and what they lock."""

    account_id: str


class LockToldRow(Row, frozen=True):
    """Not a row but a mark: the account's history has this lock."""

    subject: bytes


class TotpRow(Row, frozen=True):
    """The account's authenticator app, in the place of an earlier one; nothing is being enrolled
    any more. `last_step` is the step that it was confirmed with."""

    account_id: str
    sealed: bytes
    master_key_id: str
    last_step: int


class TotpGoneRow(Row, frozen=True):
    """Not a row but the end of one: the account has no authenticator app."""

    account_id: str


class RecoveryCodesRow(Row, frozen=True):
    """The digests of the account's recovery codes, in the place of all others; or of none."""

    account_id: str
    digests: list[bytes]


class RecoveryCodeUsedRow(Row, frozen=True):
    """Not a row but the end of one: this recovery code was used."""

    account_id: str
    digest: bytes


class PasskeyRow(Row, frozen=True):
    """A passkey that was just registered."""

    passkey_id: str
    account_id: str
    credential_id: bytes
    public_key: bytes
    sign_count: int
    transports: list[str]
    backed_up: bool
    made_at: datetime


class PasskeyGoneRow(Row, frozen=True):
    """Not a row but the end of one: the passkey signs nobody in any more."""

    passkey_id: str


class MailRow(Row, frozen=True):
    """A mail to be sent (`application.mail.mail_row`), sealed. A second one of the same
    `once_digest`, and the same one written again, change nothing."""

    mail_id: str
    account_id: str | None
    address_digest: bytes
    template: str
    once_digest: bytes | None
    sealed: bytes
    master_key_id: str
    created_at: datetime


class MailForNobodyRow(Row, frozen=True):
    """A mail that is never sent: what is written where nobody has the address, so that it is as
    much work. The sender clears it away."""

    mail_id: str
    account_id: str | None
    address_digest: bytes
    template: str
    once_digest: bytes | None
    sealed: bytes
    master_key_id: str
    created_at: datetime


class MailForgottenRow(Row, frozen=True):
    """Not a row but the end of many: mail to this account and these addresses is forgotten."""

    account_id: str
    address_digests: list[bytes]
