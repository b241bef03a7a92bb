"""The AsyncAPI 3.0 document: what Tollhouse publishes on NATS, and which commands it takes there.

One channel for each subject, one message for each event type. A new event is in it as soon as
it is in the catalogue; its example comes from `asyncapi_examples.py`. Commands are in
`asyncapi_commands.py`.
"""

from typing import Any

import msgspec

from api import asyncapi_commands
from api.asyncapi_examples import published
from api.asyncapi_schemas import CLOUD_EVENT, HEADERS, REF, data_schemas
from domain.event import Event, stored_name
from domain.events import CURRENT
from domain.verification import VerificationsCounted
from projections.publication import CONTENT_TYPE, EVENTS_SUBJECTS, USAGE_SUBJECT

EVENTS_STREAM = "TOLLHOUSE_EVENTS"
USAGE_STREAM = "TOLLHOUSE_USAGE"

_ABOUT = f"""\
Every event of the two logs, once and in order, as CloudEvents 1.0 in JSON. Read them through
JetStream: stream `{EVENTS_STREAM}` takes `{EVENTS_SUBJECTS}` and keeps everything, stream
`{USAGE_STREAM}` takes `{USAGE_SUBJECT}` and keeps the last days (as shipped, 7).

A message can be delivered again, and a stream can be made again from the log: with the same ids.
So keep the position of the last message that was applied beside its effect, in one transaction,
and skip what is at or before it. Personal fields are never published.

{asyncapi_commands.ABOUT}"""


def document(version: str) -> bytes:
    """The document as JSON. `version` is the server's."""
    by_address: dict[str, list[type[Event]]] = {}
    for event_type in CURRENT:
        by_address.setdefault(published(event_type).subject, []).append(event_type)
    return msgspec.json.encode(
        {
            "asyncapi": "3.0.0",
            "id": "urn:tollhouse:nats",
            "info": {
                "title": "Tollhouse events and commands",
                "version": version,
                "description": _ABOUT,
                "license": {"name": "MIT"},
            },
            "defaultContentType": CONTENT_TYPE,
            "servers": {"nats": _SERVER},
            "channels": {
                _channel_id(address): _channel(address, types)
                for address, types in by_address.items()
            }
            | asyncapi_commands.channels(),
            "operations": {
                _operation_id(address): _operation(address, types)
                for address, types in by_address.items()
            }
            | asyncapi_commands.operations(),
            "components": _components(),
        }
    )


def _components() -> dict[str, Any]:
    return {
        "messages": {stored_name(each): _message(each) for each in CURRENT}
        | asyncapi_commands.messages(),
        "schemas": {
            "CloudEvent": CLOUD_EVENT,
            "Headers": HEADERS,
            **data_schemas(CURRENT),
            **asyncapi_commands.schemas(),
        },
        "securitySchemes": {
            "reader": {
                "type": "userPassword",
                "description": "A NATS user that may read the two streams.",
            },
            "caller": asyncapi_commands.CALLER,
        },
    }


_SERVER = {
    "host": "{host}:{port}",
    "protocol": "nats",
    "description": "The NATS of `TOLLHOUSE_NATS_URL`. That of `tollhouse up` is "
    "`nats_reader_url` in `up.json`.",
    "variables": {"host": {"default": "127.0.0.1"}, "port": {"default": "4222"}},
    "security": [
        {"$ref": "#/components/securitySchemes/reader"},
        {"$ref": "#/components/securitySchemes/caller"},
    ],
}


def _channel(address: str, types: list[type[Event]]) -> dict[str, Any]:
    stream = USAGE_STREAM if address == USAGE_SUBJECT else EVENTS_STREAM
    return {
        "address": address,
        "description": f"In the JetStream stream `{stream}`.",
        "servers": [{"$ref": "#/servers/nats"}],
        "messages": {
            stored_name(each): {"$ref": f"#/components/messages/{stored_name(each)}"}
            for each in types
        },
        "x-jetstream-stream": stream,
    }


def _operation(address: str, types: list[type[Event]]) -> dict[str, Any]:
    channel = f"#/channels/{_channel_id(address)}"
    return {
        "action": "send",
        "channel": {"$ref": channel},
        "summary": _says(types[-1]),
        "messages": [{"$ref": f"{channel}/messages/{stored_name(each)}"} for each in types],
    }


def _message(event_type: type[Event]) -> dict[str, Any]:
    name = stored_name(event_type)
    example = published(event_type)
    log_id = example.id.partition(":")[0]
    usage = event_type is VerificationsCounted
    headers = {
        "Nats-Msg-Id": example.id,
        "Tollhouse-Position": example.id,
        "Tollhouse-Log": log_id,
        "Content-Type": CONTENT_TYPE,
        "Nats-Expected-Stream": USAGE_STREAM if usage else EVENTS_STREAM,
    }
    if example.position > 1:
        headers["Nats-Expected-Last-Msg-Id"] = f"{log_id}:{example.position - 1}"
    typed = {"type": {"const": name}, "data": {"$ref": REF + name}}
    return {
        "name": name,
        "title": event_type.__name__,
        "summary": _says(event_type),
        "contentType": CONTENT_TYPE,
        "headers": {"$ref": REF + "Headers"},
        "payload": {"allOf": [{"$ref": REF + "CloudEvent"}, {"properties": typed}]},
        "examples": [{"headers": headers, "payload": msgspec.Raw(example.body)}],
    }


def _channel_id(address: str) -> str:
    return address.removeprefix(EVENTS_SUBJECTS.rstrip(">")).removeprefix("tollhouse.")


def _operation_id(address: str) -> str:
    words = _channel_id(address).replace(".", "_").split("_")
    return "send" + "".join(word.capitalize() for word in words)


def _says(event_type: type[Event]) -> str:
    """The first sentence of its docstring: what the others add is for readers of the code."""
    line = " ".join((event_type.__doc__ or "").split("\n\n")[0].split())
    return line.partition(". ")[0].rstrip(".") + "."
