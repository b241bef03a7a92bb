"""Accounts: given these events, when this is decided, then these facts follow."""

from datetime import UTC, datetime

import pytest

from domain import accounts
from domain.accounts import (
    Account,
    AccountEvent,
    AccountRegistered,
    AccountReinstated,
    AccountSuspended,
    EmailVerified,
    PlanAssigned,
    Profile,
    RoleGranted,
)
from domain.errors import InvalidCommand
from domain.event import personal_fields

AT = datetime(2026, 3, 1, tzinfo=UTC)
REGISTERED = AccountRegistered(account_id="acct_1", username="ada", email="ada@example.org")


def given(*events: AccountEvent) -> Account:
    state: Account | None = None
    for event in events:
        state = accounts.evolve(state, event, AT)
    assert state is not None
    return state


def test_registering_states_who_and_on_which_plan() -> None:
    events = accounts.register("acct_1", "ada@example.org", "ada", Profile(name="Ada"), "free")
    assert events == [
        AccountRegistered(account_id="acct_1", email="ada@example.org", username="ada", name="Ada"),
        PlanAssigned(plan="free"),
    ]


@pytest.mark.parametrize(
    ("field", "longest"),
    [
        ("name", 200),
        ("phone", 40),
        ("about", 2_000),
        ("hobbies", 1_000),
        ("avatar_url", 2_000),
        ("wallet_address", 100),
    ],
)
def test_profile_field_may_be_this_long_and_no_longer(field: str, longest: int) -> None:
    def register(length: int) -> None:
        profile = Profile(**{field: "x" * length})  # type: ignore[arg-type]
        accounts.register("acct_1", "ada@example.org", None, profile, "free")

    register(longest)
    with pytest.raises(InvalidCommand) as refused:
        register(longest + 1)
    assert refused.value.param == field


def test_state_holds_nothing_personal() -> None:
    assert not set(personal_fields(AccountRegistered)) & set(Account.__struct_fields__)
    assert {"email", "name", "phone", "about"} <= set(personal_fields(AccountRegistered))


def test_suspending_and_reinstating_twice_is_once() -> None:
    active = given(REGISTERED)
    assert accounts.reinstate(active) == []
    assert accounts.suspend(active) == [AccountSuspended()]
    suspended = given(REGISTERED, AccountSuspended())
    assert suspended.status == "suspended"
    assert accounts.suspend(suspended) == []
    assert accounts.reinstate(suspended) == [AccountReinstated()]
    assert given(REGISTERED, AccountSuspended(), AccountReinstated()).status == "active"


def test_proving_an_address_twice_is_once() -> None:
    assert accounts.verify_email(given(REGISTERED)) == [EmailVerified()]
    assert accounts.verify_email(given(REGISTERED, EmailVerified())) == []


def test_role_is_granted_once_and_only_if_it_exists() -> None:
    assert accounts.grant_role(given(REGISTERED), "admin") == [RoleGranted(role="admin")]
    assert accounts.grant_role(given(REGISTERED, RoleGranted(role="admin")), "admin") == []
    with pytest.raises(InvalidCommand):
        accounts.grant_role(given(REGISTERED), "emperor")


@pytest.mark.parametrize("event", [RoleGranted(role="admin"), AccountSuspended()])
def test_what_changes_access_ends_the_tokens_from_before(event: AccountEvent) -> None:
    assert given(REGISTERED, event).epoch == given(REGISTERED).epoch + 1


def test_reinstating_does_not_revive_tokens_from_before_the_suspension() -> None:
    assert given(REGISTERED, AccountSuspended(), AccountReinstated()).epoch == 1


@pytest.mark.parametrize("event", [EmailVerified(), PlanAssigned(plan="pro"), AccountSuspended()])
def test_nothing_happens_to_an_account_before_it_exists(event: AccountEvent) -> None:
    with pytest.raises(ValueError, match=r"before account\.registered"):
        accounts.evolve(None, event, AT)


def test_folding_changes_only_what_the_event_says() -> None:
    assert given(REGISTERED, PlanAssigned(plan="pro"), EmailVerified()) == Account(
        id="acct_1",
        username="ada",
        kind="personal",
        actor_type="user",
        registered_at=AT,
        plan="pro",
        email_verified=True,
    )
