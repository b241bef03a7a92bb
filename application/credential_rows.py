"""Rows of what proves who somebody is: codes by mail, passwords, second factors."""

from datetime import datetime

from application.row import Row


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


class PasswordRow(Row, frozen=True):
    """An account's password hash, in PHC string format."""

    account_id: str
    hash: str


class PasswordGoneRow(Row, frozen=True):
    """Not a row but the end of one: the account has no password."""

    account_id: str


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
