"""What may stand in the fields of an API key, checked once, on the way in."""

from datetime import UTC, datetime
from typing import Literal

import msgspec

from domain.errors import InvalidCommand
from domain.permission_query import NAME, RESERVED, ROLE, WILDCARD

Kind = Literal["standard", "service"]
Scalar = str | int | float | bool | None

SERVICE_PERMISSIONS = frozenset(
    {
        "accounts.manage",
        "credits.spend",
        "events.read",
        "keys.issue",
        "keys.manage",
        "keys.verify",
        "messages.log",
        "quotas.read",
        "tokens.introspect",
        "tokens.revoke",
    }
)
"""What a service key may be permitted; a standard key's permissions are its owner's words."""

MAX_OVERLAP_SECONDS = 2_592_000
"""Thirty days: as long as the secret before a rotation may go on working."""


class Labels(msgspec.Struct, frozen=True, kw_only=True):
    """What an owner may write on a key to find it again. Not personal, and not secret."""

    metadata: dict[str, Scalar] = {}
    tags: tuple[str, ...] = ()
    external_id: str | None = None


def checked_name(name: str) -> str:
    """The name, trimmed: 1 to 100 characters."""
    name = name.strip()
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise InvalidCommand("name", "1 to 100 printable characters")
    return name


def checked_audience(audience: str | None) -> str | None:
    """The audience, 1 to 100 characters, or none."""
    if audience is not None and not _fits(audience, 100):
        raise InvalidCommand("audience", "1 to 100 characters, no NUL")
    return audience


def checked_permissions(permissions: tuple[str, ...], kind: Kind) -> tuple[str, ...]:
    """The permissions, each once: at most 100; a service key's are from a fixed list.

    A standard key's may be wildcards (`documents.*`, `*`). What the query language could not
    ask for is refused: its own words, and what reads as a role there.
    """
    if len(permissions) > 100:
        raise InvalidCommand("permissions", "at most 100")
    for number, permission in enumerate(permissions):
        here = f"permissions[{number}]"
        if kind == "service" and permission not in SERVICE_PERMISSIONS:
            raise InvalidCommand(here, f"one of {' '.join(sorted(SERVICE_PERMISSIONS))}")
        if len(permission) > 100 or not (
            NAME.fullmatch(permission) or WILDCARD.fullmatch(permission)
        ):
            raise InvalidCommand(
                here,
                "words of a-z 0-9 _ - joined by . or :, at most 100 long; * alone or at the end",
            )
        if permission in RESERVED or permission.startswith(ROLE):
            raise InvalidCommand(here, "and, or, not and role: are words of permission queries")
    return tuple(dict.fromkeys(permissions))


def checked_roles(roles: tuple[str, ...]) -> tuple[str, ...]:
    """The roles, each once: at most 50."""
    if len(roles) > 50:
        raise InvalidCommand("roles", "at most 50")
    for number, role in enumerate(roles):
        if len(role) > 100 or NAME.fullmatch(role) is None:
            raise InvalidCommand(
                f"roles[{number}]", "words of a-z 0-9 _ - joined by . or :, at most 100 long"
            )
    return tuple(dict.fromkeys(roles))


def checked_overlap(overlap_seconds: int) -> int:
    """For how long the secret before a rotation goes on working; 0: not at all."""
    if not 0 <= overlap_seconds <= MAX_OVERLAP_SECONDS:
        raise InvalidCommand("overlap_seconds", f"0 to {MAX_OVERLAP_SECONDS}")
    return overlap_seconds


def checked_hint(hint: str) -> str:
    """What is shown of a key that was made elsewhere: 1 to 40 printable characters."""
    if not 1 <= len(hint) <= 40 or not hint.isprintable():
        raise InvalidCommand("hint", "1 to 40 printable characters")
    return hint


def checked_expiry(expires_at: datetime | None, now: datetime) -> datetime | None:
    """An instant to come, with its time zone; or never."""
    if expires_at is None:
        return None
    if expires_at.tzinfo is None:
        raise InvalidCommand("expires_at", "needs a time zone, as in 2030-01-31T00:00:00Z")
    if not now < expires_at < datetime(9000, 1, 1, tzinfo=UTC):
        raise InvalidCommand("expires_at", "must be in the future, and before the year 9000")
    return expires_at


def check_labels(labels: Labels) -> None:
    """At most 50 metadata fields and 50 tags; names up to 40, values up to 500 characters."""
    if len(labels.metadata) > 50:
        raise InvalidCommand("metadata", "at most 50 fields")
    for field, value in labels.metadata.items():
        if not _fits(field, 40):
            raise InvalidCommand("metadata", "field names of 1 to 40 characters, no NUL")
        if isinstance(value, str) and value and not _fits(value, 500):
            raise InvalidCommand(f"metadata.{field}", "at most 500 characters, no NUL")
        if isinstance(value, int) and abs(value) > 2**53 - 1:
            raise InvalidCommand(f"metadata.{field}", "whole numbers up to 2^53 - 1; else a string")
    if len(labels.tags) > 50 or not all(_fits(tag, 100) for tag in labels.tags):
        raise InvalidCommand("tags", "at most 50, of 1 to 100 characters, no NUL")
    if labels.external_id is not None and not _fits(labels.external_id, 200):
        raise InvalidCommand("external_id", "1 to 200 characters, no NUL")


def _fits(text: str, longest: int) -> bool:
    # Postgres reads states as jsonb, which can't hold a NUL.
    return 1 <= len(text) <= longest and "\0" not in text
