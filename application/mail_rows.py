"""Rows of mail that is to be sent, or never."""

from datetime import datetime

from application.row import Row


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


class MailForNobodyRow(MailRow, frozen=True):
    """A mail that is never sent: what is written where nobody has the address, so that it is as
    much work. The sender clears it away."""


class MailForgottenRow(Row, frozen=True):
    """Not a row but the end of many: mail to this account and these addresses is forgotten."""

    account_id: str
    address_digests: list[bytes]
