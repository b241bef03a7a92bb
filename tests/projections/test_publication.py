"""What is published of an event: all that may be told, nothing else, the same bytes always."""

from typing import Any

import msgspec

from domain.accounts import AccountRegistered
from domain.api_keys import ApiKeyRevoked
from domain.event import Event, Metadata, Recorded
from domain.events import CATALOGUE
from domain.verification import STALE, VerificationsCounted
from projections.publication import message
from tests.factories import AT, an_issued


def recorded(event: Event, **metadata: Any) -> Recorded:
    about = Metadata(at=AT, actor="operator", command_id="cmd_1", **metadata)
    return Recorded(
        17,
        "usage_a" if isinstance(event, VerificationsCounted) else "key_1",
        3,
        event,
        about,
        "acct_1",
    )


def counted(**columns: Any) -> VerificationsCounted:
    return VerificationsCounted(
        **{"takes": [], "counters": [], **columns},
        instance="i",
        at_us=[10, 11, 12],
        judged_at=[(0, 1)],
        keys=["key_1"],
        accounts=["acct_1"],
        key=[0, -1, 0],
        account=[0, -1, 0],
        code=["VALID", "NOT_FOUND", "VALID"],
        cost=[1, 0, 2],
        labels={"0": {"tags": ["a"]}, "2": {"model": "m"}},
    )


def test_decision_is_a_cloud_event_of_these_very_bytes() -> None:
    made = message(recorded(ApiKeyRevoked(), request_id="req_1"), "log1")
    assert (made.position, made.id, made.subject) == (
        17,
        "log1:17",
        "tollhouse.evt.api_key.revoked",
    )
    assert made.body == (
        b'{"specversion":"1.0","id":"log1:17","source":"/tollhouse/log1",'
        b'"type":"api_key.revoked.v1","subject":"key_1","time":"2026-03-01T12:00:00Z",'
        b'"datacontenttype":"application/json","actor":"operator","requestid":"req_1",'
        b'"accountid":"acct_1","streamversion":3,"data":{}}'
    )


def test_what_staff_did_as_somebody_else_says_so() -> None:
    made = message(recorded(ApiKeyRevoked(), impersonator="acct_2"), "log1")
    assert msgspec.json.decode(made.body)["impersonator"] == "acct_2"


def test_nothing_personal_and_nothing_internal_is_published() -> None:
    person = AccountRegistered(account_id="acct_1", email="canary@example.org")
    body = message(recorded(person, reason="canary reason"), "log1").body
    assert b"canary" not in body
    issued = message(recorded(an_issued("acct_1")), "log1").body
    assert "digest" not in msgspec.json.decode(issued)["data"]


def test_usage_is_published_in_columns() -> None:
    made = message(recorded(counted()), "log1u")
    assert (made.id, made.subject) == ("log1u:17", "tollhouse.usage")
    document = msgspec.json.decode(made.body)
    assert document["type"] == "usage.counted.v1"
    assert document["data"] == {
        "verifications": "ver_a_3_",
        "rows": [0, 1, 2],
        "at_us": [10, 11, 12],
        "keys": ["key_1"],
        "accounts": ["acct_1"],
        "key": [0, -1, 0],
        "account": [0, -1, 0],
        "code": ["VALID", "NOT_FOUND", "VALID"],
        "cost": [1, 0, 2],
        "labels": {"0": {"tags": ["a"]}, "2": {"model": "m"}},
        "operations": {},
        "credits": {},
    }


def test_row_that_nobody_was_told_of_is_left_out_and_a_refused_one_says_so() -> None:
    event = counted(refused=[0, 2], refused_by=[STALE, 1])
    data = msgspec.json.decode(message(recorded(event), "log1u").body)["data"]
    assert data["rows"] == [1, 2]
    assert data["code"] == ["NOT_FOUND", "USAGE_EXCEEDED"]
    assert data["at_us"] == [11, 12]
    assert data["key"] == data["account"] == [-1, 0]
    assert data["cost"] == [0, 2]
    assert data["labels"] == {"2": {"model": "m"}}


def test_what_was_spent_is_told_of_who_was_told() -> None:
    event = counted(
        takes=[0, 1, 250, 2, 1, 100],
        counters=[7],
        kinds=[2],
        operations={"0": "ai", "2": "post"},
        refused=[2],
        refused_by=[1],
    )
    data = msgspec.json.decode(message(recorded(event), "log1u").body)["data"]
    assert data["operations"] == {"0": "ai", "2": "post"}
    assert data["credits"] == {"0": 250}
    assert data["code"][2] == "CREDITS_EXHAUSTED"


def test_no_event_has_a_field_whose_order_may_differ_between_processes() -> None:
    for name in CATALOGUE.names():
        event_type = CATALOGUE.type_of(name)
        assert event_type is not None
        for field in msgspec.structs.fields(event_type):
            assert "set[" not in str(field.type).replace("frozenset", "set"), (name, field.name)
