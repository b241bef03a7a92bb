"""API keys: given these events, when this is decided, then these facts follow."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given as forall
from hypothesis import strategies as st

from domain import api_keys
from domain.api_key_rules import Labels
from domain.api_keys import (
    AmendApiKey,
    ApiKey,
    ApiKeyEvent,
    ApiKeyExpirySet,
    ApiKeyIssued,
    ApiKeyLabelled,
    ApiKeyPaused,
    ApiKeyPermissionsSet,
    ApiKeyRenamed,
    ApiKeyResumed,
    ApiKeyRevoked,
    IssueApiKey,
)
from domain.errors import InvalidCommand, KeyRevoked

AT = datetime(2026, 3, 1, tzinfo=UTC)
LATER = AT + timedelta(days=1)
ISSUED = ApiKeyIssued(
    key_id="key_1",
    account_id="acct_1",
    name="ci",
    digest=b"d" * 32,
    pepper_id="p1",
    hint="th_live_…abcd",
)


def given(*events: ApiKeyEvent) -> ApiKey:
    state: ApiKey | None = None
    for event in events:
        state = api_keys.evolve(state, event, AT)
    assert state is not None
    return state


def issue(**fields: Any) -> ApiKeyIssued:
    command = IssueApiKey(**{"account_id": "acct_1", "name": "ci", **fields})
    (event,) = api_keys.issue(command, "key_1", b"d" * 32, "p1", "th_live_…abcd", AT)
    assert isinstance(event, ApiKeyIssued)
    return event


def test_issuing_states_everything_about_the_key_but_its_secret() -> None:
    event = issue(
        permissions=("read", "write", "read"),
        expires_at=LATER,
        labels=Labels(metadata={"team": "a"}, tags=("x",), external_id="e1"),
        audience="api.example.org",
        environment="test",
        enabled=False,
    )
    key = given(event)
    assert key.permissions == ("read", "write")
    assert key.expires_at == LATER.timestamp()
    assert (key.metadata, key.tags, key.external_id) == ({"team": "a"}, ("x",), "e1")
    assert (key.audience, key.environment, key.enabled) == ("api.example.org", "test", False)
    assert key.revoked_at is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"audience": ""}, "audience"),
        ({"audience": "x" * 101}, "audience"),
        ({"audience": "a\x00b"}, "audience"),
        ({"permissions": ("Read",)}, "permissions[0]"),
        ({"permissions": ("read", "a..b")}, "permissions[1]"),
        ({"permissions": ("read\n",)}, "permissions[0]"),
        ({"permissions": tuple(f"p{n}" for n in range(101))}, "permissions"),
        ({"kind": "service", "permissions": ("fly",)}, "permissions[0]"),
        ({"expires_at": AT}, "expires_at"),
        ({"expires_at": datetime(2030, 1, 1)}, "expires_at"),
        ({"labels": Labels(metadata={"": 1})}, "metadata"),
        ({"labels": Labels(metadata={str(n): 1 for n in range(51)})}, "metadata"),
        ({"labels": Labels(metadata={"n": 2**53})}, "metadata.n"),
        ({"labels": Labels(metadata={"n": "x" * 501})}, "metadata.n"),
        ({"labels": Labels(metadata={"n": "a\x00b"})}, "metadata.n"),
        ({"labels": Labels(metadata={"a\x00b": 1})}, "metadata"),
        ({"labels": Labels(tags=("",))}, "tags"),
        ({"labels": Labels(tags=("a\x00b",))}, "tags"),
        ({"labels": Labels(external_id="")}, "external_id"),
        ({"labels": Labels(external_id="a\x00b")}, "external_id"),
    ],
)
def test_key_that_breaks_a_rule_is_refused_by_the_field_s_name(
    fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidCommand) as refused:
        issue(**fields)
    assert refused.value.param == param


def test_service_key_may_have_the_permissions_of_services() -> None:
    assert issue(kind="service", permissions=("keys.verify",)).permissions == ("keys.verify",)


def test_amending_makes_one_fact_for_each_thing_that_differs() -> None:
    command = AmendApiKey(
        name=" deploy ",
        permissions=("read",),
        expires_at=LATER,
        tags=("x",),
        enabled=False,
    )
    assert api_keys.amend(given(ISSUED), command, AT) == [
        ApiKeyRenamed(name="deploy"),
        ApiKeyPermissionsSet(permissions=("read",)),
        ApiKeyExpirySet(expires_at=LATER),
        ApiKeyLabelled(tags=("x",)),
        ApiKeyPaused(),
    ]


def test_amending_to_what_it_is_already_makes_no_fact() -> None:
    labelled = ApiKeyLabelled(metadata={"a": 1}, tags=("t",), external_id="e")
    key = given(ISSUED, ApiKeyPermissionsSet(permissions=("a", "b")), labelled)
    command = AmendApiKey(
        name=" ci ",
        permissions=("a", "b", "a"),
        expires_at=None,
        metadata={"a": 1},
        tags=("t",),
        external_id="e",
        enabled=True,
    )
    assert api_keys.amend(key, command, AT) == []
    assert api_keys.amend(key, AmendApiKey(), AT) == []


def test_amending_one_label_keeps_the_others() -> None:
    key = given(ISSUED, ApiKeyLabelled(metadata={"a": 1}, tags=("t",), external_id="e"))
    assert api_keys.amend(key, AmendApiKey(external_id=None), AT) == [
        ApiKeyLabelled(metadata={"a": 1}, tags=("t",))
    ]


def test_expired_key_can_be_prolonged_and_an_expiry_be_lifted() -> None:
    expired = given(ISSUED, ApiKeyExpirySet(expires_at=AT - timedelta(days=1)))
    prolonged = [ApiKeyExpirySet(expires_at=LATER)]
    assert api_keys.amend(expired, AmendApiKey(expires_at=LATER), AT) == prolonged
    assert api_keys.amend(expired, AmendApiKey(expires_at=None), AT) == [ApiKeyExpirySet()]


_AMENDMENTS = st.builds(
    AmendApiKey,
    name=st.just(msgspec.UNSET) | st.sampled_from(["a", "b", " a"]),
    permissions=st.just(msgspec.UNSET) | st.sampled_from([(), ("a",), ("b", "a", "b")]),
    expires_at=st.sampled_from([msgspec.UNSET, None, LATER, LATER + timedelta(microseconds=1)]),
    metadata=st.just(msgspec.UNSET) | st.sampled_from([{}, {"a": 1}, {"a": 1.5}]),
    tags=st.just(msgspec.UNSET) | st.sampled_from([(), ("a",)]),
    external_id=st.sampled_from([msgspec.UNSET, None, "e"]),
    enabled=st.sampled_from([msgspec.UNSET, True, False]),
)


@forall(st.lists(_AMENDMENTS, max_size=4))
def test_amending_again_the_same_way_changes_nothing(commands: list[AmendApiKey]) -> None:
    key = given(ISSUED)
    for command in commands:
        for event in api_keys.amend(key, command, AT):
            key = api_keys.evolve(key, event, AT)
        assert api_keys.amend(key, command, AT) == []


@pytest.mark.parametrize(
    "command",
    [AmendApiKey(), AmendApiKey(name="x"), AmendApiKey(enabled=True), AmendApiKey(expires_at=None)],
)
def test_revoked_key_is_never_changed_again(command: AmendApiKey) -> None:
    key = given(ISSUED, ApiKeyRevoked())
    with pytest.raises(KeyRevoked):
        api_keys.amend(key, command, AT)


def test_revoking_twice_is_once() -> None:
    assert api_keys.revoke(given(ISSUED)) == [ApiKeyRevoked()]
    assert api_keys.revoke(given(ISSUED, ApiKeyRevoked())) == []


def test_no_event_makes_a_revoked_key_live_again() -> None:
    after: list[ApiKeyEvent] = [
        ApiKeyResumed(),
        ApiKeyExpirySet(expires_at=None),
        ApiKeyRenamed(name="x"),
        ApiKeyPermissionsSet(permissions=()),
        ApiKeyLabelled(),
    ]
    assert given(ISSUED, ApiKeyRevoked(), *after).revoked_at == AT.timestamp()


def test_nothing_happens_to_a_key_before_it_is_issued() -> None:
    with pytest.raises(ValueError, match=r"before api_key\.issued"):
        api_keys.evolve(None, ApiKeyRevoked(), AT)
