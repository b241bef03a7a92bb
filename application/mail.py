"""Mail to people: what a use case says is to be sent. Sending it is `application.mailing`'s.

A mail is a row written in the command's own transaction: who was answered has a mail in the
outbox, whatever the mail server does meanwhile. What it says, and to whom, is sealed under the
master key and gone once it was sent.
"""

import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, get_args

import msgspec

from application.deciding import new_id
from application.ports import Ports
from application.rows import MailForgottenRow, MailRow
from domain import claims

MailTemplate = Literal[
    "register_code",
    "address_taken",
    "verify_email",
    "reset_password",
    "sign_in_code",
    "email_change_code",
    "email_changed",
    "password_changed",
    "factor_added",
    "factor_removed",
    "recovery_codes_issued",
    "recovery_code_used",
    "impersonated",
    "account_closed",
    "account_restored",
    "reset_started",
    "reuse_detected",
    "locked_out",
]
TEMPLATES: tuple[MailTemplate, ...] = get_args(MailTemplate)

NEEDED: dict[MailTemplate, frozenset[str]] = {
    **{
        template: frozenset({"code"})
        for template in TEMPLATES
        if template.endswith("_code") or template in ("verify_email", "reset_password")
    },
    "factor_added": frozenset({"factor"}),
    "factor_removed": frozenset({"factor"}),
}
"""What a template can't do without."""

ALLOWED = frozenset({"code", "minutes", "factor", "left", "reason", "until", "at", "place"})
"""What templates know. All of it is shown as one line of text; none of it becomes a header."""

MOST_CHARACTERS = 200


class Mail(msgspec.Struct, frozen=True):
    """A mail to one address. `values` fill the template: `code`, `minutes` it is good for,
    `factor` in words, how many are `left`, `reason`, `until` and `at` in words, `place` (a network
    or device).

    `once`: of all mails with the same text here, only the first is ever sent.
    """

    template: MailTemplate
    to: str
    values: dict[str, str] = {}
    account_id: str | None = None
    once: str | None = None


class Letter(msgspec.Struct, frozen=True):
    """What is sealed: the address as SMTP takes it, and the values, one line each."""

    to: str
    values: dict[str, str]


def mail_row(ports: Ports, mail: Mail, now: datetime) -> MailRow:
    """The row that has this mail sent: for `commit(..., rows)`, or for `lookups.write`.

    Raises InvalidCommand if the address is none, ValueError for values the template lacks or
    doesn't know: that is a mistake in the code that asks.
    """
    if missing := NEEDED.get(mail.template, frozenset()) - mail.values.keys():
        raise ValueError(f"mail {mail.template} needs {', '.join(sorted(missing))}")
    if unknown := mail.values.keys() - ALLOWED:
        raise ValueError(f"mail {mail.template} knows no {', '.join(sorted(unknown))}")
    address = claims.email(mail.to)
    mail_id = new_id(ports, "mail")
    letter = Letter(address, {name: one_line(text) for name, text in mail.values.items()})
    sealed, master_key_id = ports.vault.seal_secret(msgspec.json.encode(letter), bound_to(mail_id))
    once = ports.digests.claims("mail", mail.once)[0] if mail.once else None
    return MailRow(
        mail_id=mail_id,
        account_id=mail.account_id,
        address_digest=ports.digests.claims(claims.EMAIL, address)[0],
        template=mail.template,
        once_digest=once,
        sealed=sealed,
        master_key_id=master_key_id,
        created_at=now,
    )


def forgotten(ports: Ports, account_id: str, addresses: Sequence[str] = ()) -> MailForgottenRow:
    """The row that erases all mail to this account and these addresses: unsent mail is never
    sent, and the sender removes the files of a mail folder within a second or so."""
    digests = [
        digest
        for address in addresses
        for digest in ports.digests.claims(claims.EMAIL, claims.email(address))
    ]
    return MailForgottenRow(account_id, digests)


def bound_to(mail_id: str) -> str:
    """What the sealed letter of this mail is bound to."""
    return f"mail:{mail_id}"


def one_line(text: str) -> str:
    """The text without line breaks, control and format characters (bidi marks turn what is
    read around), and not longer than a line may be."""
    spaced = " ".join(text.split())
    plain = "".join(each for each in spaced if not unicodedata.category(each).startswith("C"))
    return plain[:MOST_CHARACTERS]
