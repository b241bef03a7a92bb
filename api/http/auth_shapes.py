"""What registration and sign-in take and answer."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from application.accounts import Registered
from application.password_rules import MOST_CHARACTERS
from domain.accounts import ActorType, Kind, Profile, Status

Password = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=MOST_CHARACTERS,
        description="Any characters, of any script; 10 at least unless the operator says "
        "otherwise, and hard to guess (`POST /v1/auth/password/strength` tells).",
    ),
]


class RegisterRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new account. Only the address and the password are needed."""

    email: Annotated[str, msgspec.Meta(max_length=254)]
    password: Password
    username: Annotated[
        str | None, msgspec.Meta(description="3 to 32 of a-z 0-9 . _ -; public.")
    ] = None
    name: str | None = None
    phone: str | None = None
    about: str | None = None
    hobbies: str | None = None
    avatar_url: str | None = None
    kind: Kind = "personal"
    actor_type: ActorType = "user"
    wallet_address: str | None = None

    def profile(self) -> Profile:
        """What the person says of themselves."""
        return Profile(**{field: getattr(self, field) for field in Profile.__struct_fields__})


class AccountAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An account, as its owner sees it."""

    id: str
    email: str
    username: str | None
    name: str | None
    phone: str | None
    about: str | None
    hobbies: str | None
    avatar_url: str | None
    wallet_address: str | None
    kind: Kind
    actor_type: ActorType
    plan: str
    roles: tuple[str, ...]
    status: Status
    email_verified: bool
    registered_at: datetime


class RegisteredAnswer(msgspec.Struct, frozen=True):
    """The account that was made."""

    account: AccountAnswer


class SignedInAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of a sign-in; where they are in cookies, `csrf_token` in their place. Lifetimes
    are seconds."""

    access_token: str | msgspec.UnsetType = msgspec.UNSET
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a word of RFC 6750
    expires_in: int
    refresh_token: str | msgspec.UnsetType = msgspec.UNSET
    refresh_expires_in: int
    csrf_token: str | msgspec.UnsetType = msgspec.UNSET
    account: AccountAnswer


def account_answer(registered: Registered) -> AccountAnswer:
    """The account with what is personal, for its owner only."""
    account, profile = registered.account, registered.profile
    return AccountAnswer(
        id=account.id,
        email=registered.email,
        username=account.username,
        name=profile.name,
        phone=profile.phone,
        about=profile.about,
        hobbies=profile.hobbies,
        avatar_url=profile.avatar_url,
        wallet_address=profile.wallet_address,
        kind=account.kind,
        actor_type=account.actor_type,
        plan=account.plan,
        roles=account.roles,
        status=account.status,
        email_verified=account.email_verified,
        registered_at=account.registered_at,
    )
