"""What closing, restoring and importing accounts take and answer."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from api.http.problems import HttpProblem
from application.account_import import MAX_ITEMS, ImportedAccount, ImportReport
from application.closing import Mode, Receipt
from application.second_factors import SecondFactor
from domain import plans
from domain.accounts import ActorType, Kind, Profile, Status
from domain.foreign_hashes import MAX_CHARACTERS

Reason = Annotated[str, msgspec.Meta(max_length=500)] | None


class CloseRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the account ends. `close`: it works no more, and after the grace period it can't be
    restored; `erase`: then the person is forgotten, too. `grace_days` waives days of it."""

    mode: Mode = "close"
    grace_days: Annotated[int, msgspec.Meta(ge=0, le=365)] | None = None
    reason: Reason = None


class RestoreRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose account is restored, proven as for signing in: by `email` or `username` and the
    password, or by a mailed code's token; and by a second factor where the account has one."""

    email: Annotated[str, msgspec.Meta(max_length=254)] | None = None
    username: Annotated[str, msgspec.Meta(max_length=254)] | None = None
    password: str | None = None
    verification_token: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    totp: Annotated[str, msgspec.Meta(max_length=20)] | None = None
    recovery_code: Annotated[str, msgspec.Meta(max_length=60)] | None = None

    def name(self) -> str:
        """The address or username; HttpProblem unless it is exactly one."""
        if (self.email is None) == (self.username is None):
            raise HttpProblem(
                "INVALID_REQUEST", "Give either `email` or `username`.", param="email"
            )
        return self.email or self.username or ""

    def first_factor(self) -> tuple[str | None, str | None]:
        """The password or the token; HttpProblem unless it is exactly one."""
        if (self.password is None) == (self.verification_token is None):
            detail = "Give either `password` or `verification_token`."
            raise HttpProblem("INVALID_REQUEST", detail, param="password")
        return self.password, self.verification_token

    def second_factor(self) -> SecondFactor:
        """What came beside it; HttpProblem for both."""
        if self.totp is not None and self.recovery_code is not None:
            detail = "Give one of `totp` and `recovery_code`."
            raise HttpProblem("INVALID_REQUEST", detail, param="totp")
        return SecondFactor(totp=self.totp, recovery_code=self.recovery_code)


class RestoredAnswer(msgspec.Struct, frozen=True):
    """The account works again: its keys at once, its owner by signing in."""

    account_id: str
    status: Status


class ReceiptAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The receipt: what became of the account, when, and where the log says so.

    `erased` counts what was destroyed, and is null as long as nothing was. Until `final_at` the
    account can be restored; null where it can't be any more. The position of the erasure is one
    that anybody may look up later.
    """

    account_id: str
    mode: Mode
    status: Literal["closed", "erased"]
    at: datetime
    final_at: datetime | None
    position: str
    erased: dict[str, int] | None


class AccountItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account of another system. Only the address is needed."""

    email: Annotated[str, msgspec.Meta(max_length=254)]
    username: str | None = None
    external_id: (
        Annotated[str, msgspec.Meta(max_length=200, description="What the other system calls it.")]
        | None
    ) = None
    password_hash: (
        Annotated[
            str,
            msgspec.Meta(
                max_length=MAX_CHARACTERS,
                description="bcrypt, argon2, scrypt or pbkdf2, in PHC format or as Django or "
                "Werkzeug write it. Left out, the owner sets a password by a reset.",
            ),
        ]
        | None
    ) = None
    email_verified: bool = False
    plan: str = plans.FREE
    name: str | None = None
    phone: str | None = None
    about: str | None = None
    hobbies: str | None = None
    avatar_url: str | None = None
    wallet_address: str | None = None
    kind: Kind = "personal"
    actor_type: ActorType = "user"

    def imported(self) -> ImportedAccount:
        """What the use case takes."""
        return ImportedAccount(
            email=self.email,
            username=self.username,
            external_id=self.external_id,
            password_hash=self.password_hash,
            email_verified=self.email_verified,
            plan=self.plan,
            profile=Profile(**{field: getattr(self, field) for field in Profile.__struct_fields__}),
        )


class ImportAccountsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Up to 1,000 accounts; those that can be are imported."""

    items: Annotated[tuple[AccountItem, ...], msgspec.Meta(min_length=1, max_length=MAX_ITEMS)]
    reason: Reason = None


class ImportedAccountAnswer(msgspec.Struct, frozen=True):
    """The account that the item of this index became."""

    index: int
    id: str


class RefusedAccountAnswer(msgspec.Struct, frozen=True):
    """Why the item of this index was not imported; `param` names its field."""

    index: int
    param: str
    reason: str


class ImportAccountsAnswer(msgspec.Struct, frozen=True):
    """What became of the items: each is in one of the lists, by its index."""

    imported: list[ImportedAccountAnswer]
    refused: list[RefusedAccountAnswer]


def receipt_answer(receipt: Receipt, log_id: str) -> ReceiptAnswer:
    """The receipt as it is answered."""
    return ReceiptAnswer(
        account_id=receipt.account_id,
        mode=receipt.mode,
        status=receipt.status,
        at=receipt.at,
        final_at=receipt.final_at,
        position=f"{log_id}:{receipt.position}",
        erased=receipt.erased,
    )


def import_answer(report: ImportReport) -> ImportAccountsAnswer:
    """The report as it is answered."""
    return ImportAccountsAnswer(
        [ImportedAccountAnswer(each.index, each.id) for each in report.imported],
        [RefusedAccountAnswer(each.index, each.param, each.reason) for each in report.refused],
    )
