"""What every event is: a frozen struct with a stored name of ours, and its metadata.

An event class names itself with `tag="noun.fact.v1"`; that name, never a Python path, is
what the log keeps. Fields that name a person or hold their words are annotated
`Annotated[X | None, PERSONAL]`: the mapper seals them with the account's data key, and they
read as None once that key is destroyed.
"""

from datetime import datetime
from functools import cache
from typing import Annotated, Any

import msgspec

PERSONAL = msgspec.Meta(extra={"personal": True})
"""Marks a field that is sealed per account from the first event."""

NAME = msgspec.Meta(extra={"personal": True, "name": True})
"""Marks what somebody is publicly called: sealed like what is personal, so that erasing the person
leaves no name in the log; but whoever folds states is given it, as states show it."""

INTERNAL = msgspec.Meta(extra={"internal": True})
"""Marks a field that never leaves the log: of use to this server only."""

PersonalText = Annotated[str | None, PERSONAL]
PublicName = Annotated[str | None, NAME]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """A fact. Past tense, never changed once shipped; a new shape is a new version."""


class Metadata(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who, when and why. `at` is UTC; `cause` is what led to the command, where it is known;
    `impersonator` is the staff member who acted as the actor.

    `command_id` is the same for every event of one command, so a commit whose reply was
    lost can be looked up.
    """

    at: datetime
    actor: str
    command_id: str
    request_id: str | None = None
    cause: str | None = None
    impersonator: str | None = None
    reason: PersonalText = None


class NewEvent(msgspec.Struct, frozen=True):
    """An event on its way into the log. `version` counts from 1 within its stream.

    `account_id` says whose data key seals the personal fields; None where there are none.
    """

    stream: str
    version: int
    event: Event
    account_id: str | None


class Recorded(msgspec.Struct, frozen=True):
    """An event as the log has it; `position` orders the whole log."""

    position: int
    stream: str
    version: int
    event: Event
    metadata: Metadata
    account_id: str | None


class Unreadable(msgspec.Struct, frozen=True):
    """An event that can't be decoded: of a type or shape that this process doesn't know."""

    position: int
    stream: str
    version: int
    name: str
    problem: str
    account_id: str | None = None


def stored_name(event_type: type[Event]) -> str:
    """The name under which the log keeps events of this class."""
    tag = event_type.__struct_config__.tag
    if not isinstance(tag, str):
        raise TypeError(f"{event_type.__name__} has no stored name")
    return tag


def personal_fields(struct_type: type[msgspec.Struct]) -> tuple[str, ...]:
    """The names of the fields that are declared personal on this class."""
    return _marked(struct_type, "personal")


def name_fields(struct_type: type[msgspec.Struct]) -> tuple[str, ...]:
    """The names of the fields that hold what somebody is publicly called."""
    return _marked(struct_type, "name")


def disclosed(event: Event) -> dict[str, Any]:
    """What may be told of an event outside of the log: neither personal nor internal fields.

    Values are JSON types. Publication, the lake, histories and the command line show this.
    """
    hidden = hidden_fields(type(event))
    facts: dict[str, Any] = msgspec.to_builtins(event)
    return {name: value for name, value in facts.items() if name not in hidden}


@cache
def hidden_fields(event_type: type[Event]) -> frozenset[str]:
    """What `disclosed` leaves out: personal and internal fields, and the tag."""
    marked = (*_marked(event_type, "personal"), *_marked(event_type, "internal"))
    return frozenset(("type", *marked))


@cache  # asked with every event that is read, and 80 µs to find out
def _marked(struct_type: type[msgspec.Struct], mark: str) -> tuple[str, ...]:
    return tuple(
        field.encode_name
        for field in msgspec.structs.fields(struct_type)
        if any(
            isinstance(extra, msgspec.Meta) and bool((extra.extra or {}).get(mark))
            for extra in getattr(field.type, "__metadata__", ())
        )
    )
