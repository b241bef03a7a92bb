"""Instants and positions as the command line takes them."""

import re
from datetime import UTC, datetime

import msgspec

from application.credit_balances import AsOf
from domain.errors import InvalidCommand

_POSITION = re.compile(r"(?:log[0-9a-z]*:)?([0-9]{1,18})")


def moment_or_position(text: str) -> AsOf:
    """What `2026-02-01T00:00:00Z`, `42` or `log1a2b…:42` means. InvalidCommand."""
    position = _POSITION.fullmatch(text)
    return int(position[1]) if position is not None else instant("as_of", text)


def instant(name: str, text: str) -> datetime:
    """The instant. InvalidCommand naming the option."""
    try:
        given = msgspec.convert(text, datetime, strict=False)
    except msgspec.ValidationError:
        raise InvalidCommand(name, "an instant, as in 2026-02-01T00:00:00Z") from None
    if given.tzinfo is None:
        raise InvalidCommand(name, "needs a time zone, as in 2026-02-01T00:00:00Z")
    return given.astimezone(UTC)
