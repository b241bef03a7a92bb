"""The commands over NATS in the AsyncAPI document: request, answer, refusal of each subject.

The shapes and examples are those of HTTP's operations, so the two documents can't disagree.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from api.asyncapi_schemas import REF
from api.http.problems import MEDIA_TYPE, Problem
from api.nats.endpoint import PREFIX, Endpoint
from api.nats.services import ENDPOINTS, QUEUE, SERVICE

SCHEMA_PREFIX = "cmd."
"""Before the names of these schemas: an event's field and a body may have types of one name."""

PROBLEM = "problem"

ABOUT = f"""\
Commands are requests that are answered: to `{PREFIX}>`, in the queue group `{QUEUE}`, discoverable
as the service `{SERVICE}` (`$SRV.INFO.{SERVICE}`). The caller's service key is in the header
`Tollhouse-Key`. A refusal has the headers `Nats-Service-Error` and `Nats-Service-Error-Code`, and
an RFC 9457 problem document as its data. `messages.log` is not there yet.
"""

CALLER = {
    "type": "userPassword",
    "description": "A NATS user that may send commands; its inboxes begin with `_CALLER.<user>`. "
    "That of `tollhouse up` is `nats_caller_url` in `up.json`.",
}

_TEXT = {"type": "string"}
_REQUEST_ID = {**_TEXT, "pattern": "^[A-Za-z0-9._-]{1,128}$"}
_POSITION = {**_TEXT, "pattern": "^[^:]+:[0-9]+$"}


def channels() -> dict[str, Any]:
    """Two for each command: where it is sent to, and the inbox of who sent it."""
    found: dict[str, Any] = {}
    for each in ENDPOINTS:
        channel = _channel_id(each)
        found[channel] = {
            "address": each.subject,
            "description": f"Answered by one of the queue group `{QUEUE}`.",
            "servers": [{"$ref": "#/servers/nats"}],
            "messages": {"request": {"$ref": f"#/components/messages/{channel}.request"}},
        }
        found[f"{channel}.answer"] = {
            "address": None,
            "description": "The inbox of the request.",
            "servers": [{"$ref": "#/servers/nats"}],
            "messages": {
                "answer": {"$ref": f"#/components/messages/{channel}.answer"},
                PROBLEM: {"$ref": f"#/components/messages/{PROBLEM}"},
            },
        }
    return found


def operations() -> dict[str, Any]:
    """What Tollhouse receives, and how it replies."""
    return {
        _operation_id(each): {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{_channel_id(each)}"},
            "summary": each.operation.summary,
            "description": f"{each.operation.description} Over HTTP: `{each.http}`. "
            f"At most {each.most_bytes // 1024} KiB.",
            "security": [{"$ref": "#/components/securitySchemes/caller"}],
            "messages": [{"$ref": f"#/channels/{_channel_id(each)}/messages/request"}],
            "reply": {
                "channel": {"$ref": f"#/channels/{_channel_id(each)}.answer"},
                "messages": [
                    {"$ref": f"#/channels/{_channel_id(each)}.answer/messages/{name}"}
                    for name in ("answer", PROBLEM)
                ],
            },
        }
        for each in ENDPOINTS
    }


def messages() -> dict[str, Any]:
    """The requests, the answers, and the one refusal that they share."""
    found: dict[str, Any] = {
        PROBLEM: {
            "name": PROBLEM,
            "title": "Problem",
            "summary": "Why a command was not carried out.",
            "contentType": MEDIA_TYPE,
            "headers": _headers(
                {
                    "Nats-Service-Error": {**_TEXT, "description": "`CODE: title`."},
                    "Nats-Service-Error-Code": {**_TEXT, "pattern": "^[45][0-9]{2}$"},
                    "Request-Id": _REQUEST_ID,
                    "Retry-After": {**_TEXT, "description": "Seconds, where it may pass."},
                },
                required=("Nats-Service-Error", "Nats-Service-Error-Code", "Request-Id"),
            ),
            "payload": {"$ref": f"{REF}{SCHEMA_PREFIX}Problem"},
            "examples": [{"payload": _PROBLEM_EXAMPLE}],
        }
    }
    refs = _schemas()[0]
    for each in ENDPOINTS:
        channel, title = _channel_id(each), each.operation.summary
        found[f"{channel}.request"] = {
            "name": f"{channel}.request",
            "title": title,
            "contentType": "application/json",
            "headers": _headers(_request_headers(each), required=("Tollhouse-Key",)),
            "payload": refs[each.request],
            "examples": [{"payload": each.request_example}],
        }
        found[f"{channel}.answer"] = {
            "name": f"{channel}.answer",
            "title": f"{title}: the answer",
            "contentType": "application/json",
            "headers": _headers(_answer_headers(each), required=("Request-Id",)),
            **_content(each, refs),
        }
    return found


def schemas() -> dict[str, Any]:
    """The shapes of bodies and answers, under names that no event has."""
    return _schemas()[1]


def _schemas() -> tuple[dict[type, Any], dict[str, Any]]:
    types: list[type] = list(dict.fromkeys([*_types(ENDPOINTS), Problem]))
    refs, components = msgspec.json.schema_components(
        types, ref_template=f"{REF}{SCHEMA_PREFIX}{{name}}"
    )
    named = {f"{SCHEMA_PREFIX}{name}": schema for name, schema in components.items()}
    return dict(zip(types, refs, strict=True)), named


def _types(endpoints: Sequence[Endpoint]) -> list[type]:
    answers = [each.operation.answer for each in endpoints]
    return [*(each.request for each in endpoints), *(each for each in answers if each is not None)]


def _content(endpoint: Endpoint, refs: dict[type, Any]) -> dict[str, Any]:
    answer = endpoint.operation.answer
    if answer is None:
        return {"payload": {"type": "null"}, "summary": "Empty: it was done."}
    return {"payload": refs[answer], "examples": [{"payload": endpoint.operation.example}]}


def _request_headers(endpoint: Endpoint) -> dict[str, Any]:
    needs = f"A service key with `{endpoint.permission}`."
    found: dict[str, Any] = {
        "Tollhouse-Key": {**_TEXT, "description": needs},
        "Request-Id": {**_REQUEST_ID, "description": "Made where it is missing."},
        "Tollhouse-Min-Position": {**_POSITION, "description": "What must be seen; 2 s at most."},
    }
    if endpoint.operation.once:
        said = "The same again within 7 days gets the first answer."
        found["Idempotency-Key"] = {**_TEXT, "maxLength": 255, "description": said}
    return found


def _answer_headers(endpoint: Endpoint) -> dict[str, Any]:
    found: dict[str, Any] = {"Request-Id": _REQUEST_ID}
    if endpoint.operation.commands:
        found["Tollhouse-Position"] = {**_POSITION, "description": "The position that it made."}
    if endpoint.operation.once:
        found["Idempotent-Replayed"] = {"const": "true", "description": "The first answer again."}
    return found


def _headers(properties: dict[str, Any], required: Sequence[str]) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


def _channel_id(endpoint: Endpoint) -> str:
    return endpoint.subject.removeprefix("tollhouse.")


def _operation_id(endpoint: Endpoint) -> str:
    words = f"{endpoint.noun}-{endpoint.verb}".split("-")
    return "receive" + "".join(word.capitalize() for word in words)


_PROBLEM_EXAMPLE = {
    "type": "/errors/forbidden",
    "title": "A right is missing",
    "status": 403,
    "code": "FORBIDDEN",
    "detail": "This needs the right `keys.verify`.",
    "request_id": "req_5f0c7d2a91b84e6633aa18f2",
}
