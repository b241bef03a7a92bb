"""What the account routes of staff take and answer."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from api.http.answers import NO_NUL, SOMETHING, instant
from application.account_amending import AmendAccount
from application.account_making import external_id
from application.accounts import RegisterAccount
from application.closing import Mode
from application.persons import AccountView
from domain.accounts import Account, ActorType, Kind, Profile, Status

Why = Annotated[
    str,
    msgspec.Meta(
        pattern=SOMETHING,
        min_length=1,
        max_length=500,
        description="Why, for the account's history.",
    ),
]
Text = Annotated[str, msgspec.Meta(pattern=NO_NUL, max_length=4_000)]
Email = Annotated[str, msgspec.Meta(max_length=254)]
Username = Annotated[str | None, msgspec.Meta(description="3 to 32 of a-z 0-9 . _ -; public.")]
ExternalId = Annotated[
    str,
    msgspec.Meta(
        pattern=NO_NUL, max_length=200, description="What you call it; of one account only."
    ),
]


class MakeAccountRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new account for somebody. It has no password: the person sets it by a reset."""

    email: Email
    username: Username = None
    external_id: ExternalId | None = None
    email_verified: Annotated[
        bool, msgspec.Meta(description="You vouch that the address is the person's.")
    ] = False
    name: Text | None = None
    phone: Text | None = None
    about: Text | None = None
    hobbies: Text | None = None
    avatar_url: Text | None = None
    wallet_address: Text | None = None
    kind: Kind = "personal"
    actor_type: ActorType = "user"
    reason: Why | None = None

    def command(self) -> RegisterAccount:
        """What to make. InvalidCommand."""
        return RegisterAccount(
            email=self.email,
            password=None,
            username=self.username,
            external_id=None if self.external_id is None else external_id(self.external_id),
            profile=Profile(**{name: getattr(self, name) for name in Profile.__struct_fields__}),
            email_verified=self.email_verified,
        )


class AmendAccountRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change: what is absent stays, null clears it."""

    reason: Why
    email: Email | UnsetType = UNSET
    username: Username | UnsetType = UNSET
    note: Text | UnsetType | None = UNSET
    roles: tuple[Text, ...] | UnsetType = UNSET
    name: Text | UnsetType | None = UNSET
    phone: Text | UnsetType | None = UNSET
    about: Text | UnsetType | None = UNSET
    hobbies: Text | UnsetType | None = UNSET
    avatar_url: Text | UnsetType | None = UNSET
    wallet_address: Text | UnsetType | None = UNSET
    kind: Kind | UnsetType = UNSET
    actor_type: ActorType | UnsetType = UNSET

    def command(self) -> AmendAccount:
        """What to change."""
        given = {name: getattr(self, name) for name in Profile.__struct_fields__}
        return AmendAccount(
            email=self.email,
            username=self.username,
            note=self.note,
            roles=self.roles,
            profile={name: value for name, value in given.items() if value is not UNSET},
        )


class CloseAccountRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Close it, or (`erase`) forget the person as well, after so many days or the usual ones."""

    reason: Why
    mode: Mode = "close"
    grace_days: Annotated[int, msgspec.Meta(ge=0)] | None = None


class ReasonRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why staff does this."""

    reason: Why


class RotateForRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the present secret works on, in seconds, and why."""

    reason: Why
    overlap_seconds: Annotated[int, msgspec.Meta(ge=0, le=2_592_000)] = 0


class AccountListed(msgspec.Struct, frozen=True, kw_only=True):
    """An account in a list: nothing personal."""

    id: str
    username: str | None
    external_id: str | None
    kind: Kind
    actor_type: ActorType
    status: Status
    plan: str
    roles: tuple[str, ...]
    email_verified: bool
    registered_at: datetime


class AccountPage(msgspec.Struct, frozen=True):
    """A page of accounts."""

    items: list[AccountListed]
    next_cursor: str | None


class AccountForStaff(AccountListed, frozen=True, kw_only=True):
    """An account as who asks sees it: what they don't see is absent, what there isn't is null.
    `as_of` is there where the account is told as it was."""

    next_plan: str | None
    next_plan_at: datetime | None
    final_at: datetime | None
    totp: bool
    passkeys: int
    recovery_codes: int
    name: str | None
    about: str | None
    hobbies: str | None
    avatar_url: str | None
    email: str | UnsetType | None = UNSET
    phone: str | UnsetType | None = UNSET
    wallet_address: str | UnsetType | None = UNSET
    note: str | UnsetType | None = UNSET
    as_of: datetime | UnsetType = UNSET


class ImpersonationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A token of somebody else's account, for so many seconds. There is no refresh token."""

    account_id: str
    session_id: str
    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - a word of RFC 6750
    expires_in: int


def listed(account: Account) -> AccountListed:
    """The account without anything personal."""
    return AccountListed(**listed_fields(account))


def listed_fields(account: Account) -> dict[str, Any]:
    """The same, by field."""
    return {name: getattr(account, name) for name in AccountListed.__struct_fields__}


def account_answer(view: AccountView, as_of: datetime | UnsetType = UNSET) -> AccountForStaff:
    """The account without what is hidden of it."""
    account = view.account
    said: dict[str, Any] = {name: getattr(view.profile, name) for name in _SAID}
    said |= {"email": view.email, "note": view.note}
    said |= dict.fromkeys(view.hidden, UNSET)
    return AccountForStaff(
        **listed_fields(account),
        next_plan=account.next_plan,
        next_plan_at=_instant(account.next_plan_at),
        final_at=_instant(account.final_at),
        totp=account.totp,
        passkeys=account.passkeys,
        recovery_codes=account.recovery_codes,
        as_of=as_of,
        **said,
    )


_SAID = ("name", "about", "hobbies", "avatar_url", "phone", "wallet_address")


def _instant(unix_seconds: float | None) -> datetime | None:
    return None if unix_seconds is None else instant(unix_seconds)
