"""Events as the world reads them: CloudEvents 1.0, the same bytes for the same event, always.

A decision becomes one message with the disclosed fields of its event. A usage event becomes
one message as well: columns, one row a verification, without the rows that nobody was told of.
"""

from datetime import UTC
from typing import Any, NamedTuple

import msgspec

from domain.event import Recorded, disclosed, stored_name
from domain.verification import VerificationsCounted, credits_spent, outcomes, verification_id

EVENTS_SUBJECTS = "tollhouse.evt.>"
USAGE_SUBJECT = "tollhouse.usage"
CONTENT_TYPE = "application/cloudevents+json"

_ENCODER = msgspec.json.Encoder()


class Message(NamedTuple):
    """What is published of an event. `id` is `<log id>:<position>`, `body` a CloudEvent."""

    position: int
    id: str
    subject: str
    body: bytes


def message_id(log_id: str, position: int) -> str:
    """What names a message, in every stream that it is ever published to."""
    return f"{log_id}:{position}"


def message(recorded: Recorded, log_id: str) -> Message:
    """The message of this event. `log_id` is that of the log that the event is in."""
    event, metadata = recorded.event, recorded.metadata
    name = stored_name(type(event))
    if isinstance(event, VerificationsCounted):
        subject, data = USAGE_SUBJECT, _columns(recorded.stream, recorded.version, event)
    else:
        noun, fact, _ = name.split(".")
        subject, data = f"tollhouse.evt.{noun}.{fact}", disclosed(event)
    number = message_id(log_id, recorded.position)
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": number,
        "source": f"/tollhouse/{log_id}",
        "type": name,
        "subject": recorded.stream,
        "time": metadata.at.astimezone(UTC),
        "datacontenttype": "application/json",
        "actor": metadata.actor,
        "impersonator": metadata.impersonator,
        "requestid": metadata.request_id,
        "accountid": recorded.account_id,
        "streamversion": recorded.version,
        "data": data,
    }
    present = {name: value for name, value in document.items() if value is not None}
    return Message(recorded.position, number, subject, _ENCODER.encode(present))


def _columns(stream: str, version: int, event: VerificationsCounted) -> dict[str, Any]:
    """Arrays beside `rows`, which holds the numbers of the rows that are listed."""
    codes = outcomes(event)
    rows = [row for row, code in enumerate(codes) if code != "RETRIED"]
    whole = len(rows) == len(codes)

    def listed(column: list[Any]) -> list[Any]:
        return column if whole else [column[row] for row in rows]

    labels = event.labels
    if not whole:
        told = {str(row) for row in rows}
        labels = {row: label for row, label in labels.items() if row in told}
    return {
        "verifications": verification_id(stream, version, ""),
        "rows": rows,
        "at_us": listed(event.at_us),
        "keys": event.keys,
        "accounts": event.accounts,
        "key": listed(event.key),
        "account": listed(event.account),
        "code": listed(codes),
        "cost": listed(event.cost),
        "labels": labels,
        "operations": event.operations,
        "credits": {str(row): spent for row, spent in credits_spent(event).items()},
    }
