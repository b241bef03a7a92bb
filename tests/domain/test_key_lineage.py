"""Rotation, import and re-hashing: given these events, when this is decided, then these facts."""

from datetime import UTC, datetime, timedelta

import pytest

from domain import api_keys, key_lineage
from domain.api_keys import (
    AmendApiKey,
    ApiKey,
    ApiKeyEvent,
    ApiKeyImported,
    ApiKeyIpAllowSet,
    ApiKeyIssued,
    ApiKeyLimitsSet,
    ApiKeyRehashed,
    ApiKeyRevoked,
    ApiKeyRolesSet,
    ApiKeyRotated,
    IssueApiKey,
)
from domain.errors import InvalidCommand, KeyRevoked
from domain.key_lineage import Secret
from domain.quotas import RateLimit

AT = datetime(2026, 3, 1, tzinfo=UTC)
ISSUED = ApiKeyIssued(
    key_id="key_1",
    account_id="acct_1",
    name="ci",
    digest=b"1" * 32,
    pepper_id="p1",
    hint="th_live_…1111",
    rate_limits=(RateLimit("burst", 5, "second"),),
)
NEW = Secret(b"2" * 32, "p2", "th_live_…2222")
MONTH = 2_592_000


def given(*events: ApiKeyEvent) -> ApiKey:
    state: ApiKey | None = None
    for event in events:
        state = api_keys.evolve(state, event, AT)
    assert state is not None
    return state


def test_rotation_changes_the_secret_and_nothing_else() -> None:
    key = given(ISSUED)
    (event,) = key_lineage.rotate(key, NEW, 60, AT)
    assert event == ApiKeyRotated(
        digest=b"2" * 32,
        pepper_id="p2",
        hint="th_live_…2222",
        generation=2,
        previous_until=AT + timedelta(seconds=60),
    )
    rotated = given(ISSUED, event)
    assert (rotated.previous_digest, rotated.previous_until) == (b"1" * 32, AT.timestamp() + 60)
    assert rotated.generation == 2
    changed = {"digest", "pepper_id", "hint", "generation", "previous_digest", "previous_until"}
    for field in ApiKey.__struct_fields__:
        same = getattr(rotated, field) == getattr(key, field)
        assert same is (field not in changed), field


def test_without_an_overlap_no_clock_keeps_the_old_secret_alive() -> None:
    (event,) = key_lineage.rotate(given(ISSUED), NEW, 0, AT)
    assert isinstance(event, ApiKeyRotated)
    assert event.previous_until is None
    assert given(ISSUED, event).previous_until == 0


def test_rotating_again_ends_the_older_overlap() -> None:
    first = key_lineage.rotate(given(ISSUED), NEW, MONTH, AT)
    key = given(ISSUED, *first)
    third = Secret(b"3" * 32, "p2", "th_live_…3333")
    key = given(ISSUED, *first, *key_lineage.rotate(key, third, 10, AT))
    assert (key.digest, key.previous_digest) == (b"3" * 32, b"2" * 32)
    assert (key.generation, key.previous_until) == (3, AT.timestamp() + 10)


@pytest.mark.parametrize("overlap", [-1, MONTH + 1, 2**63])
def test_overlap_is_thirty_days_at_most(overlap: int) -> None:
    with pytest.raises(InvalidCommand) as refused:
        key_lineage.rotate(given(ISSUED), NEW, overlap, AT)
    assert refused.value.param == "overlap_seconds"


def test_revoked_key_can_not_be_rotated_and_is_not_rehashed() -> None:
    key = given(imported(), ApiKeyRevoked())
    with pytest.raises(KeyRevoked):
        key_lineage.rotate(key, NEW, 0, AT)
    assert key_lineage.rehash(key, b"2" * 32, "p1") == []


def imported(**fields: object) -> ApiKeyImported:
    command = IssueApiKey(account_id="acct_1", name="old", roles=("editor",))
    secret = Secret(b"f" * 32, "p1", str(fields.get("hint", "old_…1111")))
    (event,) = key_lineage.bring_in(command, "key_2", secret, "sha256", AT)
    assert isinstance(event, ApiKeyImported)
    return event


def test_imported_key_is_a_key_like_any_other_but_for_its_digest() -> None:
    key = given(imported())
    assert (key.id, key.name, key.roles) == ("key_2", "old", ("editor",))
    assert (key.digest, key.algorithm, key.generation) == (b"f" * 32, "sha256", 1)


def test_rehashing_replaces_the_digest_once() -> None:
    (event,) = key_lineage.rehash(given(imported()), b"2" * 32, "p1")
    assert event == ApiKeyRehashed(digest=b"2" * 32, pepper_id="p1")
    key = given(imported(), event)
    assert (key.digest, key.algorithm, key.generation) == (b"2" * 32, None, 1)
    assert key_lineage.rehash(key, b"3" * 32, "p1") == []
    assert key_lineage.rehash(given(ISSUED), b"3" * 32, "p1") == []


def test_imported_key_keeps_its_secret_during_an_overlap() -> None:
    event = imported()
    rotation = key_lineage.rotate(given(event), NEW, 60, AT)
    key = given(event, *rotation)
    assert (key.algorithm, key.previous_algorithm) == (None, "sha256")
    again = key_lineage.rotate(key, Secret(b"3" * 32, "p1", "x"), 60, AT)
    assert given(event, *rotation, *again).previous_algorithm is None


@pytest.mark.parametrize("hint", ["", "x" * 41, "a\nb", "a\0b"])
def test_hint_of_an_imported_key_is_short_and_printable(hint: str) -> None:
    with pytest.raises(InvalidCommand) as refused:
        imported(hint=hint)
    assert refused.value.param == "hint"


def test_amending_rights_and_limits_makes_one_fact_for_each() -> None:
    command = AmendApiKey(
        roles=("editor", "editor"),
        ip_allow=("::ffff:10.0.0.0/104", "10.0.0.0/8", "192.0.2.1"),
        rate_limits=(RateLimit("burst", 6, "second"),),
    )
    events = api_keys.amend(given(ISSUED), command, AT)
    assert events == [
        ApiKeyRolesSet(roles=("editor",)),
        ApiKeyIpAllowSet(ip_allow=("10.0.0.0/8", "192.0.2.1/32")),
        ApiKeyLimitsSet(rate_limits=(RateLimit("burst", 6, "second"),)),
    ]
    key = given(ISSUED, *events)
    assert (key.roles, key.ip_allow, key.limits_no) == (
        ("editor",),
        ("10.0.0.0/8", "192.0.2.1/32"),
        2,
    )
    assert api_keys.amend(key, command, AT) == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"permissions": ("and",)}, "permissions[0]"),
        ({"permissions": ("a", "role:editor")}, "permissions[1]"),
        ({"permissions": ("a.*.b",)}, "permissions[0]"),
        ({"permissions": ("a*",)}, "permissions[0]"),
        ({"permissions": ("keys.*",), "kind": "service"}, "permissions[0]"),
        ({"permissions": ("*",), "kind": "service"}, "permissions[0]"),
        ({"roles": ("Editor",)}, "roles[0]"),
        ({"roles": ("a.*",)}, "roles[0]"),
        ({"roles": tuple(f"r{n}" for n in range(51))}, "roles"),
        ({"ip_allow": ("10.0.0.1/8",)}, "ip_allow[0]"),
        ({"rate_limits": (RateLimit("a", -1, "second"),)}, "rate_limits[0].limit"),
        (
            {"rate_limits": (RateLimit("a", 1, "second"), RateLimit("a", 1, "minute"))},
            "rate_limits[1].name",
        ),
    ],
)
def test_right_or_limit_that_breaks_a_rule_is_refused_by_its_name(
    fields: dict[str, object], param: str
) -> None:
    with pytest.raises(InvalidCommand) as refused:
        command = IssueApiKey(account_id="acct_1", name="k", **fields)  # type: ignore[arg-type]
        api_keys.issue(command, "key_1", b"d" * 32, "p1", "h", AT)
    assert refused.value.param == param


def test_standard_key_may_hold_wildcards() -> None:
    command = IssueApiKey(account_id="acct_1", name="k", permissions=("docs.*", "docs:*", "*"))
    (event,) = api_keys.issue(command, "key_1", b"d" * 32, "p1", "h", AT)
    assert given(event).permissions == ("docs.*", "docs:*", "*")
