"""Accounts: given these events, when this is decided, then these facts follow."""

from datetime import UTC, datetime, timedelta

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
    PlanChangeCancelled,
    PlanChangeScheduled,
    Profile,
    RoleGranted,
)
from domain.errors import InvalidCommand
from domain.event import Event, name_fields, personal_fields

AT = datetime(2026, 3, 1, tzinfo=UTC)
DUE = datetime(2026, 4, 1, tzinfo=UTC)
SCHEDULED = PlanChangeScheduled(plan="free", due_at=DUE)
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
    ],
)
def test_profile_field_may_be_this_long_and_no_longer(field: str, longest: int) -> None:
    def register(length: int) -> None:
        text = ("https://" if field == "avatar_url" else "").ljust(length, "x")
        profile = Profile(**{field: text})  # type: ignore[arg-type]
        accounts.register("acct_1", "ada@example.org", None, profile, "free")

    register(longest)
    with pytest.raises(InvalidCommand) as refused:
        register(longest + 1)
    assert refused.value.param == field


def test_state_holds_nothing_personal() -> None:
    personal = set(personal_fields(AccountRegistered)) - set(name_fields(AccountRegistered))
    assert not personal & set(Account.__struct_fields__)
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
        accounts.grant_role(given(REGISTERED), "The Emperor")


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
        plan_no=1,
        email_verified=True,
    )


def test_a_plan_assigned_ends_what_was_scheduled_and_is_counted() -> None:
    scheduled = given(REGISTERED, PlanAssigned(plan="pro"), SCHEDULED)
    assert (scheduled.plan, scheduled.plan_no) == ("pro", 1)
    assert (scheduled.next_plan, scheduled.next_plan_at) == ("free", DUE.timestamp())
    assigned = accounts.evolve(scheduled, PlanAssigned(plan="team"), AT)
    assert (assigned.plan, assigned.plan_no) == ("team", 2)
    assert (assigned.next_plan, assigned.next_plan_at) == (None, None)


def test_the_plan_that_the_account_is_on_only_takes_back_what_was_scheduled() -> None:
    account = given(REGISTERED, PlanAssigned(plan="pro"))
    assert accounts.assign_plan(account, "pro") == []
    assert accounts.schedule_plan(account, "pro", DUE) == []
    assert accounts.cancel_plan_change(account) == []
    scheduled = accounts.evolve(account, SCHEDULED, AT)
    cancelled: list[Event] = [PlanChangeCancelled()]
    assert accounts.assign_plan(scheduled, "pro") == cancelled
    assert accounts.schedule_plan(scheduled, "pro", DUE) == cancelled
    assert accounts.cancel_plan_change(scheduled) == cancelled
    assert accounts.evolve(scheduled, PlanChangeCancelled(), AT) == account


def test_scheduling_the_same_twice_is_once_and_another_replaces_it() -> None:
    scheduled = given(REGISTERED, PlanAssigned(plan="pro"), SCHEDULED)
    assert accounts.schedule_plan(scheduled, "free", DUE) == []
    assert accounts.schedule_plan(scheduled, "team", DUE) == [
        PlanChangeScheduled(plan="team", due_at=DUE)
    ]


def test_a_scheduled_change_is_carried_out_when_it_is_due_and_not_before() -> None:
    scheduled = given(REGISTERED, PlanAssigned(plan="pro"), SCHEDULED)
    assert accounts.renew_plan(scheduled, DUE - timedelta(microseconds=1)) == []
    assert accounts.renew_plan(scheduled, DUE) == [PlanAssigned(plan="free")]
    renewed = accounts.evolve(scheduled, PlanAssigned(plan="free"), DUE)
    assert accounts.renew_plan(renewed, DUE + timedelta(days=40)) == []
