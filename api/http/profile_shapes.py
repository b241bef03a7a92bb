"""What the own account takes: its profile, and another address."""

from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from api.http.registration_shapes import Address, ChallengeId, CodeText, Presented
from application.profile_changes import AmendProfile
from domain.accounts import ActorType, Kind


class AmendMeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change. What is absent stays; null takes a field, or the username, away."""

    username: Annotated[
        str | UnsetType | None, msgspec.Meta(description="3 to 32 of a-z 0-9 . _ -; public.")
    ] = UNSET
    name: str | UnsetType | None = UNSET
    phone: str | UnsetType | None = UNSET
    about: str | UnsetType | None = UNSET
    hobbies: str | UnsetType | None = UNSET
    avatar_url: str | UnsetType | None = UNSET
    wallet_address: str | UnsetType | None = UNSET
    kind: Kind | UnsetType = UNSET
    actor_type: ActorType | UnsetType = UNSET

    def command(self) -> AmendProfile:
        """The command."""
        return AmendProfile(
            **{field: getattr(self, field) for field in AmendProfile.__struct_fields__}
        )


class EmailChangeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The address the account shall have. Without the password, the sign-in must be of the last
    ten minutes."""

    email: Address
    current_password: Presented | None = None


class EmailConfirmRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The code that was mailed to the new address."""

    challenge_id: ChallengeId
    code: CodeText
