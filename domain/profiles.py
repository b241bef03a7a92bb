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
_OF_LINES = ("about", "hobbies")
# Whoever shows a profile (a page, a terminal, a mail, a log) must not be steered by it: controls of
# C0 and C1, and, where it is one line, what ends it or turns the direction of what follows.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_CONTROLS_OR_TURNS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
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


def checked(profile: Profile, known: Profile | None = None) -> Profile:
    """The profile as it is kept: a wallet address with its checksum. InvalidCommand names a
    field that is too long, has characters that steer who shows it, or isn't what it should be.
    What is `known` already may have any characters: it was let in before there were rules."""
    for field in PERSONAL_FIELDS:
        text: str | None = getattr(profile, field)
        if text is None:
            continue
        if len(text) > _LONGEST[field]:
            raise InvalidCommand(field, f"at most {_LONGEST[field]} characters")
        if known is None or text != getattr(known, field):
            _require_harmless(field, text)
    if profile.avatar_url is not None and _AVATAR.fullmatch(profile.avatar_url) is None:
        raise InvalidCommand("avatar_url", "an address that starts with https:// or http://")
    if profile.wallet_address is None:
        return profile
    return msgspec.structs.replace(profile, wallet_address=wallet_address(profile.wallet_address))


def _require_harmless(field: PersonalField, text: str) -> None:
    if field in _OF_LINES:
        if _CONTROLS.search(text):
            raise InvalidCommand(field, "no control characters but tabs and new lines")
    elif _CONTROLS_OR_TURNS.search(text):
        raise InvalidCommand(
            field, "one line without control characters and without changes of direction"
        )


def change(known: Profile, wanted: Profile) -> list[Event]:
    """What makes the one of the other; nothing where they are the same. InvalidCommand."""
    wanted = checked(wanted, known)
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
