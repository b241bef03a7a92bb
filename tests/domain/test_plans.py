"""Plans: shipped ones are data; what one permits can be kept, and changes for all at once."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import accounts, plan_rules, plans
from domain.accounts import Account, AccountEvent, AccountRegistered, PlanAssigned
from domain.errors import EntitlementExceeded, InvalidCommand, PlanInUse, PlanNotOffered
from domain.plan_rules import ChangePlan, PublishPlan
from domain.plans import (
    Entitlements,
    Plan,
    PlanChanged,
    PlanEvent,
    PlanPublished,
    PlanRetired,
)
from domain.quotas import Quota, RateLimit, check

AT = datetime(2026, 3, 1, tzinfo=UTC)
TEAM = PlanPublished(
    name="team",
    tier="team",
    title="Team",
    entitlements=Entitlements(
        keys=20, quota=Quota(50, "day"), features=("sso",), operation_costs={"image": 2_50}
    ),
)


def given_plan(*events: PlanEvent) -> Plan:
    state: Plan | None = None
    for event in events:
        state = plans.evolve(state, event, AT)
    assert state is not None
    return state


def an_account(*planned: str) -> Account:
    state: Account | None = None
    events: list[AccountEvent] = [
        AccountRegistered(account_id="acct_1"),
        *(PlanAssigned(plan=each) for each in planned),
    ]
    for event in events:
        state = accounts.evolve(state, event, AT)
    assert state is not None
    return state


def test_free_pro_enterprise_and_internal_are_shipped() -> None:
    assert [plan.name for plan in plans.SHIPPED] == ["free", "pro", "enterprise", "internal"]
    assert [plan.name for plan in plans.SHIPPED if plan.self_service] == ["free"]


def test_better_plans_permit_more() -> None:
    free, pro, enterprise, internal = (plan.entitlements for plan in plans.SHIPPED)
    assert 0 < (free.keys or 0) < (pro.keys or 0) < (enterprise.keys or 0)
    assert free.monthly_credits < pro.monthly_credits < enterprise.monthly_credits
    assert internal.keys is None
    assert internal.quota is None


@pytest.mark.parametrize("event", plans.SHIPPED, ids=lambda event: event.name)
def test_shipped_plan_is_as_its_event_says_and_could_be_published(event: PlanPublished) -> None:
    plan = given_plan(event)
    assert plan == Plan(
        name=event.name,
        tier=event.tier,
        title=event.title,
        entitlements=event.entitlements,
        self_service=event.self_service,
    )
    assert plan_rules.check_entitlements(plan.entitlements) == plan.entitlements
    assert plan.entitlements.operation_costs["image"] == 2_50
    if plan.entitlements.quota is not None:
        check(plan.entitlements.quota)


def test_what_is_set_changes_and_the_rest_stays() -> None:
    plan = given_plan(TEAM)
    command = ChangePlan(title=" Team 2 ", keys=None, operation_costs={"ai": 0})
    (event,) = plan_rules.change(plan, command)
    assert event == PlanChanged(
        title="Team 2",
        entitlements=Entitlements(
            quota=Quota(50, "day"), features=("sso",), operation_costs={"ai": 0}
        ),
        self_service=False,
    )
    assert isinstance(event, PlanChanged)
    changed = given_plan(TEAM, event)
    assert (changed.revision, changed.name, changed.tier) == (2, "team", "team")


def test_changing_nothing_is_no_event() -> None:
    plan = given_plan(TEAM)
    assert plan_rules.change(plan, ChangePlan()) == []
    assert plan_rules.change(plan, ChangePlan(title="Team", keys=20, features=("sso",))) == []


def test_retired_plan_takes_no_new_accounts_and_retiring_twice_is_once() -> None:
    plan = given_plan(TEAM)
    plans.admit(plan)
    assert plans.retire(plan) == [PlanRetired()]
    retired = given_plan(TEAM, PlanRetired())
    assert plans.retire(retired) == []
    assert retired.entitlements == plan.entitlements
    with pytest.raises(PlanNotOffered):
        plans.admit(retired)


@pytest.mark.parametrize("name", ["free", "internal"])
def test_plans_that_the_server_itself_needs_cant_be_retired(name: str) -> None:
    shipped = next(each for each in plans.SHIPPED if each.name == name)
    with pytest.raises(PlanInUse):
        plans.retire(given_plan(shipped))


def test_nothing_happens_to_a_plan_before_it_is_published() -> None:
    with pytest.raises(ValueError, match=r"before plan\.published"):
        plans.evolve(None, PlanRetired(), AT)


def test_rule_number_rises_with_every_other_plan_and_every_change_of_one() -> None:
    change = PlanChanged(title="Team", entitlements=Entitlements(), self_service=False)
    team, team_2 = given_plan(TEAM), given_plan(TEAM, change)
    free = given_plan(plans.SHIPPED[0])
    numbers = [
        plans.rule_no(an_account("team"), team),
        plans.rule_no(an_account("team"), team_2),
        plans.rule_no(an_account("team", "free"), free),
        plans.rule_no(an_account("team", "free", "team"), team_2),
    ]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(
    ("quota", "allowed"),
    [
        (Quota(50, "day"), True),
        (Quota(51, "day"), False),
        (Quota(0, "day"), True),
        (Quota(51, "hour"), True),
        (Quota(10**9, "month"), True),
    ],
)
def test_owner_gives_a_key_no_more_than_the_account_has_in_that_period(
    quota: Quota, allowed: bool
) -> None:
    plans.permit_key_quota(quota, None, "team")
    if allowed:
        plans.permit_key_quota(quota, Quota(50, "day"), "team")
        return
    with pytest.raises(EntitlementExceeded) as refused:
        plans.permit_key_quota(quota, Quota(50, "day"), "team")
    assert (refused.value.limit, refused.value.plan) == (50, "team")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": "Team"}, "name"),
        ({"name": "1team"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 33}, "name"),
        ({"name": "te\0am"}, "name"),
        ({"name": "current"}, "name"),
        ({"name": "comparison"}, "name"),
        ({"name": "upgrade"}, "name"),
        ({"tier": "Gold!"}, "tier"),
        ({"title": "  "}, "title"),
        ({"title": "x" * 101}, "title"),
        ({"title": "a\nb"}, "title"),
        ({"keys": -1}, "entitlements.keys"),
        ({"keys": 1_000_001}, "entitlements.keys"),
        ({"quota": Quota(-1, "day")}, "entitlements.quota.limit"),
        ({"quota": Quota(2**53, "day")}, "entitlements.quota.limit"),
        ({"quota": Quota(1, "day", time_zone="Mars/Rim")}, "entitlements.quota.time_zone"),
        ({"rate_limits": (RateLimit("", 1, "hour"),)}, "entitlements.rate_limits[0].name"),
        (
            {"rate_limits": (RateLimit("a", 1, "hour"), RateLimit("a", 2, "day"))},
            "entitlements.rate_limits[1].name",
        ),
        ({"monthly_credits": -1}, "entitlements.monthly_credits"),
        ({"monthly_credits": 10**14 + 1}, "entitlements.monthly_credits"),
        ({"features": ("sso", "sso")}, "entitlements.features[1]"),
        ({"features": ("S S O",)}, "entitlements.features[0]"),
        ({"features": tuple(f"f{n}" for n in range(101))}, "entitlements.features"),
        ({"operation_costs": {"": 1}}, "entitlements.operation_costs"),
        ({"operation_costs": {"a b": 1}}, "entitlements.operation_costs"),
        ({"operation_costs": {"ai": -1}}, "entitlements.operation_costs.ai"),
        ({"operation_costs": {"ai": 10**15}}, "entitlements.operation_costs.ai"),
        (
            {"operation_costs": {f"o{n}": 1 for n in range(201)}},
            "entitlements.operation_costs",
        ),
    ],
)
def test_what_cant_be_kept_is_refused_by_its_field(fields: dict[str, Any], param: str) -> None:
    plain = {name: fields[name] for name in ("name", "tier", "title") if name in fields}
    permits = {name: value for name, value in fields.items() if name not in plain}
    command = PublishPlan(
        **{"name": "team", "tier": "team", "title": "Team", **plain},
        entitlements=Entitlements(**permits),
    )
    with pytest.raises(InvalidCommand) as refused:
        plan_rules.publish(command)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("now", "due"),
    [
        (datetime(2026, 11, 22, 9, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        (datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        # It is still January somewhere, but not by UTC.
        (
            datetime(2026, 1, 31, 20, tzinfo=timezone(timedelta(hours=-8))),
            datetime(2026, 3, 1, tzinfo=UTC),
        ),
    ],
)
def test_plans_renew_with_the_month_of_utc(now: datetime, due: datetime) -> None:
    assert plans.renewal_after(now) == due


@given(st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_a_renewal_is_always_ahead_and_less_than_a_month_away(now: datetime) -> None:
    due = plans.renewal_after(now)
    assert now < due <= now + timedelta(days=31)
    assert (due.day, due.hour, due.minute, due.second, due.microsecond) == (1, 0, 0, 0, 0)
