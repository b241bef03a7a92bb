"""JSON Schemas of what is published: the CloudEvent, the headers around it, the data in it.

They are in the dialect of AsyncAPI 3, which is JSON Schema draft 7. No schema forbids further
properties: a consumer passes over what it doesn't know.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, get_args

import msgspec

from domain.event import Event, hidden_fields, stored_name
from domain.verification import Code, VerificationsCounted
from projections.publication import CONTENT_TYPE

REF = "#/components/schemas/"
_POSITION = {"type": "string", "pattern": "^[^:]+:[0-9]+$"}

CLOUD_EVENT: dict[str, Any] = {
    "type": "object",
    "description": "CloudEvents 1.0, structured mode. What is null is left out.",
    "required": [
        *("specversion", "id", "source", "type", "subject", "time"),
        *("datacontenttype", "actor", "streamversion", "data"),
    ],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {
            **_POSITION,
            "description": "`<log id>:<position>`; the usage log's id ends in `u`. The same event "
            "has the same id whenever it is published. Positions rise, with holes.",
        },
        "source": {
            "type": "string",
            "format": "uri-reference",
            "description": "`/tollhouse/<log id>`.",
        },
        "type": {"type": "string", "description": "The event's stored name, with its version."},
        "subject": {"type": "string", "description": "The stream: the id of what it happened to."},
        "time": {"type": "string", "format": "date-time", "description": "When, in UTC."},
        "datacontenttype": {"const": "application/json"},
        "actor": {
            "type": "string",
            "description": "Who: an account's or a key's id, `operator` (the command line), "
            "`system`, `public`, `verification`.",
        },
        "impersonator": {
            "type": "string",
            "description": "The member of staff who acted as the actor, where one did.",
        },
        "requestid": {"type": "string", "description": "The HTTP request, as its `Request-Id`."},
        "accountid": {"type": "string", "description": "The account that it concerns."},
        "streamversion": {
            "type": "integer",
            "minimum": 1,
            "description": "Which event of its stream it is.",
        },
        "data": {"type": "object"},
    },
}

HEADERS: dict[str, Any] = {
    "type": "object",
    "required": [
        *("Nats-Msg-Id", "Tollhouse-Position", "Tollhouse-Log"),
        *("Content-Type", "Nats-Expected-Stream"),
    ],
    "properties": {
        "Nats-Msg-Id": {**_POSITION, "description": "The event's id."},
        "Tollhouse-Position": {
            **_POSITION,
            "description": "The event's id: of a decision, what HTTP takes as "
            "`Tollhouse-Min-Position`.",
        },
        "Tollhouse-Log": {"type": "string", "description": "The log id."},
        "Content-Type": {"const": CONTENT_TYPE},
        "Nats-Expected-Stream": {"type": "string", "description": "The JetStream stream."},
        "Nats-Expected-Last-Msg-Id": {
            **_POSITION,
            "description": "The message before, in the whole stream. Missing on the first one, "
            "and now and then after a repair.",
        },
        "Nats-Expected-Last-Sequence": {
            "type": "string",
            "pattern": "^[0-9]+$",
            "description": "On the first message after Tollhouse has looked at the stream.",
        },
    },
}


def _list(items: dict[str, Any], description: str) -> dict[str, Any]:
    return {"type": "array", "items": items, "description": description}


_TEXT = {"type": "string"}
_NUMBER = {"type": "integer", "minimum": 0}
_INDEX = {"type": "integer", "minimum": -1}

USAGE: dict[str, Any] = {
    "type": "object",
    "description": "A batch of verifications in columns. The lists `at_us`, `key`, `account`, "
    "`code` and `cost` are parallel to `rows`: place i of each is one verification.",
    "required": [
        *("verifications", "rows", "at_us", "keys", "accounts"),
        *("key", "account", "code", "cost", "labels", "operations", "credits"),
    ],
    "properties": {
        "verifications": {
            "type": "string",
            "description": "What verification ids begin with: `rows[i]` behind it makes the id.",
        },
        "rows": _list(_NUMBER, "Row numbers, rising. Rows that nobody was told of are not listed."),
        "at_us": _list(_NUMBER, "When it was asked: microseconds since 1970 UTC."),
        "keys": _list(_TEXT, "The ids of the keys of this batch, each once."),
        "accounts": _list(_TEXT, "The ids of the accounts of this batch, each once."),
        "key": _list(_INDEX, "A place in `keys`; -1 where no key was found."),
        "account": _list(_INDEX, "A place in `accounts`; -1 where no key was found."),
        "code": _list(
            {"enum": [*get_args(Code), "UNAVAILABLE"]},
            "What it was answered with. UNAVAILABLE: with 503, and nothing was taken.",
        ),
        "cost": _list(_NUMBER, "How much was asked for; only VALID took it."),
        "labels": {
            "type": "object",
            "description": "What callers attached, by row number (not by place). Rows without "
            "labels are missing.",
            "propertyNames": {"pattern": "^[0-9]+$"},
            "additionalProperties": {
                "type": "object",
                "properties": {
                    "tags": _list(_TEXT, "As given with the verification."),
                    "resource": _TEXT,
                    "model": _TEXT,
                },
            },
        },
        "operations": {
            "type": "object",
            "description": "The operation that was priced, by row number, where one was named.",
            "propertyNames": {"pattern": "^[0-9]+$"},
            "additionalProperties": _TEXT,
        },
        "credits": {
            "type": "object",
            "description": "The hundredths of a credit that were spent, by row number.",
            "propertyNames": {"pattern": "^[0-9]+$"},
            "additionalProperties": _NUMBER,
        },
    },
}


def data_schemas(event_types: Iterable[type[Event]]) -> dict[str, Any]:
    """The schema of each event's `data` under its stored name, and of the structs in them.

    They are the events' own, without what never leaves the log.
    """
    types = list(event_types)
    refs, components = msgspec.json.schema_components(types, ref_template=REF + "{name}")
    schemas: dict[str, Any] = dict(components)
    for event_type, ref in zip(types, refs, strict=True):
        schema = schemas.pop(ref["$ref"].removeprefix(REF))
        described = USAGE if event_type is VerificationsCounted else _disclosed(event_type, schema)
        schemas[stored_name(event_type)] = described
    return schemas


def _disclosed(event_type: type[Event], schema: dict[str, Any]) -> dict[str, Any]:
    hidden = hidden_fields(event_type)
    types = {each.encode_name: each.type for each in msgspec.structs.fields(event_type)}
    return {
        "type": "object",
        "required": [name for name in schema["required"] if name not in hidden],
        "properties": {
            name: _instant(field) if _is_instant(types[name]) else field
            for name, field in schema["properties"].items()
            if name not in hidden
        },
    }


def _is_instant(field_type: Any) -> bool:
    return field_type is datetime or datetime in get_args(field_type)


def _instant(schema: dict[str, Any]) -> dict[str, Any]:
    """msgspec says only that it is text, since an instant could lack its offset. Ours don't."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [_instant(each) for each in schema["anyOf"]]}
    return {**schema, "format": "date-time"} if schema.get("type") == "string" else schema
