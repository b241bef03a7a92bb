"""Rows that must be right at commit: written in the transaction that appends the events.

One class a table, its fields the columns. The adapter holds one statement for each. They are in the
modules `*_rows`, by what they are about; all are imported from here.
"""

import msgspec

from application.account_rows import ClaimGoneRow as ClaimGoneRow
from application.account_rows import ClaimRow as ClaimRow
from application.account_rows import ClosingOverRow as ClosingOverRow
from application.account_rows import ClosingRow as ClosingRow
from application.account_rows import DataKeyRow as DataKeyRow
from application.account_rows import ErasedRow as ErasedRow
from application.account_rows import PlanChangeOverRow as PlanChangeOverRow
from application.account_rows import PlanChangeRow as PlanChangeRow
from application.counter_rows import CounterRow as CounterRow
from application.counter_rows import CreditCounterRow as CreditCounterRow
from application.counter_rows import CreditHoldOverRow as CreditHoldOverRow
from application.counter_rows import CreditHoldRow as CreditHoldRow
from application.counter_rows import MovedUseRow as MovedUseRow
from application.credential_rows import ChallengeRow as ChallengeRow
from application.credential_rows import ChallengeSpentRow as ChallengeSpentRow
from application.credential_rows import PasskeyGoneRow as PasskeyGoneRow
from application.credential_rows import PasskeyRow as PasskeyRow
from application.credential_rows import PasswordGoneRow as PasswordGoneRow
from application.credential_rows import PasswordRow as PasswordRow
from application.credential_rows import RecoveryCodesRow as RecoveryCodesRow
from application.credential_rows import RecoveryCodeUsedRow as RecoveryCodeUsedRow
from application.credential_rows import TotpGoneRow as TotpGoneRow
from application.credential_rows import TotpRow as TotpRow
from application.key_rows import EntitlementRow as EntitlementRow
from application.key_rows import KeyDigestRow as KeyDigestRow
from application.key_rows import KeyIssuedRow as KeyIssuedRow
from application.mail_rows import MailForgottenRow as MailForgottenRow
from application.mail_rows import MailForNobodyRow as MailForNobodyRow
from application.mail_rows import MailRow as MailRow
from application.row import Row as Row
from application.session_rows import KnownNetworkRow as KnownNetworkRow
from application.session_rows import LockToldRow as LockToldRow
from application.session_rows import SessionOverRow as SessionOverRow
from application.session_rows import SessionRow as SessionRow
from application.session_rows import SessionsOverRow as SessionsOverRow
from application.session_rows import SignInsClearedRow as SignInsClearedRow


class StateRow(Row, frozen=True):
    """The state that the stream's events fold to: what a starting process loads."""

    stream_id: str
    noun: str
    account_id: str | None
    version: int
    state: msgspec.Struct


class AnswerRow(Row, frozen=True):
    """The sealed first answer to an Idempotency-Key; a second one raises `AnswerExists`."""

    digest: bytes
    body_digest: bytes
    answer: bytes
    stream_id: str
    version: int
