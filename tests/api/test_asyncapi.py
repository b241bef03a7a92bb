"""The AsyncAPI document describes what is published, and which commands are taken: every subject,
every header, every field."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped]
from typer.testing import CliRunner

from api import asyncapi
from api.asyncapi_examples import published
from api.cli.app import Session, build
from api.http.codes import CODES
from api.http.strict_json import decode
from api.nats.endpoint import Endpoint
from api.nats.services import ENDPOINTS
from domain.event import NewEvent, personal_fields, stored_name
from domain.events import CURRENT
from infra.event_mapper import EventMapper
from infra.followers import Log
from infra.nats.publisher import STREAMS
from infra.postgres.connection import conninfo
from main import VERSION, Wiring
from tests.faults.published import Fact, facts
from tests.infra.golden_events import DATA_KEY, EXAMPLES, METADATA
from tests.infra.publishing import a_job, a_nats, publishing, whole

NAMES = [stored_name(each) for each in CURRENT]
DOCUMENT: dict[str, Any] = json.loads(asyncapi.document("1.2.3"))
MESSAGES = DOCUMENT["components"]["messages"]
SCHEMAS = DOCUMENT["components"]["schemas"]
FACTS = {
    name: channel for name, channel in DOCUMENT["channels"].items() if not name.startswith("cmd.")
}


def problems(pointer: str, value: Any) -> list[str]:
    """What is wrong with it by the schema at this place of the document."""
    schema = {"$ref": f"#/components/{pointer}", "components": DOCUMENT["components"]}
    checker = Draft7Validator(schema, format_checker=Draft7Validator.FORMAT_CHECKER)
    return [error.message for error in checker.iter_errors(value)]


def payload_problems(payload: dict[str, Any]) -> list[str]:
    """Likewise, and what no schema tells of: readers may get more than they know, but a
    document that leaves something out is not the document."""
    name = payload["type"]
    untold = set(payload) - set(SCHEMAS["CloudEvent"]["properties"])
    untold |= set(payload["data"]) - set(SCHEMAS[name]["properties"])
    return [*problems(f"messages/{name}/payload", payload), *untold]


@pytest.mark.anyio
async def test_it_is_answered_at_its_route(client: httpx.AsyncClient) -> None:
    reply = await client.get("/asyncapi.json")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json() == DOCUMENT
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"]["version"] == "1.2.3"


def test_the_command_line_prints_it_with_nothing_running() -> None:
    done = CliRunner().invoke(build(), ["asyncapi"], obj=Session(Wiring()))
    assert done.exit_code == 0
    assert done.stdout == asyncapi.document(VERSION).decode() + "\n"


def test_every_reference_leads_somewhere() -> None:
    found = list(references(DOCUMENT))
    assert found
    for reference in found:
        place: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from references(each)


def test_every_event_has_its_message_and_an_operation_that_sends_it() -> None:
    assert list(MESSAGES)[: len(NAMES)] == NAMES
    addresses = {channel["address"] for channel in FACTS.values()}
    expected = {f"tollhouse.evt.{name.rpartition('.')[0]}" for name in NAMES}
    expected = expected - {"tollhouse.evt.usage.counted"} | {"tollhouse.usage"}
    assert addresses == expected
    told = []
    for operation in DOCUMENT["operations"].values():
        assert operation["summary"]
        if operation["action"] == "receive":
            continue
        assert operation["action"] == "send"
        channel = DOCUMENT["channels"][operation["channel"]["$ref"].rpartition("/")[2]]
        told += [each["$ref"].rpartition("/")[2] for each in operation["messages"]]
        assert set(channel["messages"]) <= set(told)
    assert sorted(told) == sorted(NAMES)


def test_streams_and_subjects_are_those_of_the_publisher() -> None:
    prefixes = {stream: subjects.rstrip(">") for stream, subjects in STREAMS.values()}
    channels = FACTS.values()
    assert {channel["x-jetstream-stream"] for channel in channels} == set(prefixes)
    for channel in channels:
        assert channel["address"].startswith(prefixes[channel["x-jetstream-stream"]])


def test_schemas_are_schemas() -> None:
    for schema in SCHEMAS.values():
        Draft7Validator.check_schema(schema)


def test_nothing_personal_or_internal_is_described() -> None:
    for event_type in CURRENT:
        hidden = {*personal_fields(event_type), "digest", "pepper_id", "type"}
        schema = SCHEMAS[stored_name(event_type)]
        assert not hidden & {*schema["properties"], *schema.get("required", ())}


@pytest.mark.parametrize("event_type", CURRENT, ids=stored_name)
def test_example_is_what_publication_makes_and_has_the_shape(event_type: Any) -> None:
    [example] = MESSAGES[stored_name(event_type)]["examples"]
    made = published(event_type)
    assert example["payload"] == msgspec.json.decode(made.body)
    assert payload_problems(example["payload"]) == []
    assert problems("schemas/Headers", example["headers"]) == []
    assert example["headers"]["Nats-Msg-Id"] == example["payload"]["id"] == made.id


@pytest.mark.anyio
@pytest.mark.parametrize("log", ["decisions", "usage"])
async def test_message_of_every_event_has_the_shape_once_it_is_published(
    database_url: str, log: Log
) -> None:
    """With all fields set, over a real stream: headers and body as a consumer gets them."""
    examples = [
        each for each in EXAMPLES if ("usage" in stored_name(type(each))) == (log == "usage")
    ]
    append_examples(database_url, log, examples)
    with a_nats() as server:
        async with publishing(database_url, a_job(server.url, log)):
            await whole(server.url, database_url, log)
        sent = {
            msgspec.json.decode(fact.body)["type"]: fact
            for fact in await facts(server.url, STREAMS[log][0])
        }
    assert {stored_name(type(each)) for each in examples} <= set(sent)
    for name, fact in sent.items():
        check(name, fact)


def check(name: str, fact: Fact) -> None:
    payload = msgspec.json.decode(fact.body)
    assert payload_problems(payload) == []
    assert problems("schemas/Headers", fact.headers) == []
    assert set(fact.headers) <= set(SCHEMAS["Headers"]["properties"])
    [address] = [channel["address"] for channel in FACTS.values() if name in channel["messages"]]
    assert fact.subject == address
    assert fact.headers["Content-Type"] == MESSAGES[name]["contentType"]


def append_examples(url: str, log: Log, examples: list[Any]) -> None:
    mapper = EventMapper()
    with psycopg.connect(conninfo(url)) as connection:
        for version, event in enumerate(examples, 1):
            stream = "usage_golden" if log == "usage" else "golden"
            new = NewEvent(stream, version, event, "acct_00000000000000000000000001")
            row = (stream, version, *mapper.encode(new, METADATA, DATA_KEY))
            connection.execute(
                f"INSERT INTO {log} (originator_id, originator_version, topic, state)"
                " VALUES (%s, %s, %s, %s)".encode(),
                row,
            )


def test_every_command_is_received_and_replied_to() -> None:
    """Each on its subject, by whoever may call, with an answer and a problem in its inbox."""
    received = {
        DOCUMENT["channels"][operation["channel"]["$ref"].rpartition("/")[2]]["address"]: operation
        for operation in DOCUMENT["operations"].values()
        if operation["action"] == "receive"
    }
    assert set(received) == {endpoint.subject for endpoint in ENDPOINTS}
    for operation in received.values():
        assert operation["security"] == [{"$ref": "#/components/securitySchemes/caller"}]
        reply = DOCUMENT["channels"][operation["reply"]["channel"]["$ref"].rpartition("/")[2]]
        assert reply["address"] is None
        assert set(reply["messages"]) == {"answer", "problem"}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: each.subject)
def test_example_of_a_command_has_the_shape_and_is_taken(endpoint: Endpoint) -> None:
    """By its schema, and by what decodes it; the answer's by its schema."""
    name = endpoint.subject.removeprefix("tollhouse.")
    [request] = MESSAGES[f"{name}.request"]["examples"]
    assert problems(f"messages/{name}.request/payload", request["payload"]) == []
    decode(json.dumps(request["payload"]).encode(), endpoint.request)
    unknown = {**request["payload"], "nosuch": 1}
    assert problems(f"messages/{name}.request/payload", unknown)
    headers = MESSAGES[f"{name}.request"]["headers"]
    assert headers["required"] == ["Tollhouse-Key"]
    assert ("Idempotency-Key" in headers["properties"]) == endpoint.operation.once
    for answer in MESSAGES[f"{name}.answer"].get("examples", []):
        assert problems(f"messages/{name}.answer/payload", answer["payload"]) == []


def test_the_problem_of_commands_has_the_shape() -> None:
    [example] = MESSAGES["problem"]["examples"]
    assert problems("messages/problem/payload", example["payload"]) == []
    assert CODES[example["payload"]["code"]].title == example["payload"]["title"]
    assert problems("messages/problem/payload", {"code": 1})


def test_message_of_another_shape_is_refused() -> None:
    """The schemas say something: a test that holds messages against them can fail."""
    [example] = MESSAGES["session.started.v1"]["examples"]
    right = example["payload"]
    assert payload_problems(right) == []
    for wrong in (
        {name: value for name, value in right.items() if name != "id"},
        {**right, "time": "yesterday"},
        {**right, "streamversion": "1"},
        {**right, "data": {**right["data"], "expires_at": "next week"}},
        {**right, "data": {**right["data"], "amr": "pwd"}},
        {**right, "data": {**right["data"], "ip": "192.0.2.1"}},
        {**right, "data": {}},
    ):
        assert payload_problems(wrong), wrong
