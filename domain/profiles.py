"""Profiles: what people say of themselves. All of it is personal, but the two kinds."""

import re
from typing import Literal, get_args

import msgspec

from domain.account_events import ActorType, Kind, ProfileChanged, UsernameChanged
from domain.errors import InvalidCommand
from domain.event import Event
from domain.wallets import wallet_address

PersonalField = Literal["name", "phone", "about", "hobbies", "avatar_url", "wallet_address"]
PERSONAL_FIELDS: tuple[PersonalField, ...] = get_args(PersonalField)

_LONGEST: dict[PersonalField, int] = {
    "name": 200,
    "phone": 40,
    "about": 2_000,
    "hobbies": 1_000,
    "avatar_url": 2_000,
    "wallet_address": 100,
}
# Pages show it as an image: neither a script nor a file, and nothing that breaks out of an
# attribute.
_AVATAR = re.compile(r"https?://[^\s\"'<>\\\x00-\x1f\x7f]+")


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person says of themselves."""

    name: str | None = None
    phone: str | None = None
    about: str | None = None
    hobbies: str | None = None
    avatar_url: str | None = None
    wallet_address: str | None = None
    kind: Kind = "personal"
    actor_type: ActorType = "user"


def checked(profile: Profile) -> Profile:
    """The profile as it is kept: a wallet address with its checksum. InvalidCommand names a
    field that is too long, or isn't what it should be."""
    for field in PERSONAL_FIELDS:
        text: str | None = getattr(profile, field)
        if text is not None and len(text) > _LONGEST[field]:
            raise InvalidCommand(field, f"at most {_LONGEST[field]} characters")
    if profile.avatar_url is not None and _AVATAR.fullmatch(profile.avatar_url) is None:
        raise InvalidCommand("avatar_url", "an address that starts with https:// or http://")
    if profile.wallet_address is None:
        return profile
    return msgspec.structs.replace(profile, wallet_address=wallet_address(profile.wallet_address))


def change(known: Profile, wanted: Profile) -> list[Event]:
    """What makes the one of the other; nothing where they are the same. InvalidCommand."""
    wanted = checked(wanted)
    changed = {
        field: value
        for field, value in msgspec.structs.asdict(wanted).items()
        if value != getattr(known, field)
    }
    return [ProfileChanged(changed=tuple(changed), **changed)] if changed else []


def rename(known: str | None, wanted: str | None) -> list[Event]:
    """The account is called this; None gives the name up. `wanted` is as `claims` spells it."""
    return [] if wanted == known else [UsernameChanged(username=wanted)]


def after(known: Profile, event: ProfileChanged) -> Profile:
    """The profile after this event. A value that can't be unsealed any more reads as None."""
    return msgspec.structs.replace(
        known, **{field: getattr(event, field) for field in event.changed}
    )
