"""Which rules hold for a key: its own quota and rate limits, and those of its account.

An account's shared quota is the one that staff set for it, else its plan's, by reference: what
changes in a plan holds for everybody who is on it. Test keys have counters of their own.
"""

from collections.abc import Mapping, Sequence
from operator import is_
from typing import Protocol

import msgspec

from application.ports import Directory
from domain import plans
from domain.accounts import Account
from domain.allowances import Allowance
from domain.api_keys import ApiKey, Environment
from domain.calendars import Calendar
from domain.counters import Rule, counter_of, quota_counter, rate_rule, rule_of
from domain.plans import Plan

MAX_REMEMBERED = 32_768


class KeyRules(msgspec.Struct, frozen=True, gc=False):
    """What a verification of a key takes. `credits` only if it names an operation; None for
    test keys, which never spend any. `costs` are the plan's, in hundredths. `rated`: some rule
    takes another amount than is asked for."""

    counted: tuple[Rule, ...]
    credits: Rule | None
    costs: Mapping[str, int]
    rated: bool


class Known(msgspec.Struct, frozen=True, gc=False):
    """A key, its account and the rules that hold for it, as memory knows them."""

    changes: int
    key: ApiKey
    account: Account
    sources: tuple[object, ...]
    rules: KeyRules


class Sources(Protocol):
    """What rules are made of: the directory, or what it was at some position."""

    def plan(self, name: str) -> Plan | None: ...

    def allowances(self, owner_id: str) -> Sequence[Allowance]: ...

    @property
    def reset_at_us(self) -> int: ...


class Changing(Directory, Protocol):
    """The directory, counting its changes."""

    changes: int


class RuleBook:
    """Answers what is known of a key from memory. An answer is given again as long as nothing
    at all has changed, and its rules as long as nothing did that they were made of."""

    def __init__(self, directory: Changing) -> None:
        self._directory = directory
        self._known: dict[str, Known] = {}

    def known(self, key_id: str) -> Known | None:
        """The key of this id; None where it or its account isn't known."""
        known = self._known.get(key_id)
        if known is not None and known.changes == self._directory.changes:
            return known
        return self._look_again(key_id, known)

    def _look_again(self, key_id: str, before: Known | None) -> Known | None:
        directory = self._directory
        key = directory.key(key_id)
        account = None if key is None else directory.account(key.account_id)
        plan = None if account is None else directory.plan(account.plan)
        # Without its plan, which may be unreadable, nobody knows what limits the account.
        if key is None or account is None or plan is None:
            self._known.pop(key_id, None)
            return None
        sources = (
            key,
            account,
            plan,
            directory.allowances(key_id),
            directory.allowances(account.id),
            directory.reset_at_us,
        )
        if before is not None and all(map(is_, before.sources, sources)):
            rules = before.rules
        else:
            rules = rules_of(directory, key, account, plan)
        known = Known(directory.changes, key, account, sources, rules)
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[key_id] = known
        return known


def rules_of(directory: Sources, key: ApiKey, account: Account, plan: Plan) -> KeyRules:
    """The rules that hold for this key. Rate limits first: who is too fast is told so."""
    # The plan of staff and services is without limits: its operations are priced, and cost nothing.
    pays = key.environment == "live" and plan.name != plans.INTERNAL
    counted = (*key_rules(directory, key), *account_rules(directory, account, key.environment))
    return KeyRules(
        counted,
        credits_rule(account, plan) if pays else None,
        plan.entitlements.operation_costs,
        any(rule.cost is not None for rule in counted),
    )


def key_rules(directory: Sources, key: ApiKey) -> tuple[Rule, ...]:
    """The rules that a key has to itself: its rate limits, then its quota."""
    rates = tuple(
        rate_rule(
            each,
            owner_id=key.id,
            account_id=key.account_id,
            scope="own",
            rule_no=key.limits_no,
        )
        for each in key.rate_limits
    )
    own = directory.allowances(key.id)
    set_by_owner = (own_rule(each, directory.reset_at_us) for each in own if each.quota is not None)
    return (*rates, *(each for each in set_by_owner if each is not None))


def account_rules(
    directory: Sources, account: Account, environment: Environment = "live"
) -> tuple[Rule, ...]:
    """The rules that all keys of an account and environment share."""
    plan = directory.plan(account.plan)
    rules: list[Rule] = []
    test = "" if environment == "live" else ":test"
    if plan is not None:
        owner = account.id + test
        rules += (
            rate_rule(
                each,
                owner_id=owner,
                account_id=account.id,
                scope="shared",
                rule_no=plans.rule_no(account, plan),
            )
            for each in plan.entitlements.rate_limits
        )
    quota = shared_rule(directory, account, plan, environment)
    return (*rules, quota) if quota is not None else tuple(rules)


def own_rule(allowance: Allowance, reset_at_us: int = 0) -> Rule | None:
    """The rule that was set for an owner, if it stands."""
    quota = allowance.quota
    if quota is None:
        return None
    return rule_of(
        quota,
        owner_id=allowance.owner_id,
        account_id=allowance.account_id,
        scope=allowance.scope,
        counter_id=allowance.counter_id,
        set_no=allowance.rule_no,
        reset_at_us=max(reset_at_us, allowance.reset_at_us),
    )


def shared_rule(
    directory: Sources, account: Account, plan: Plan | None, environment: Environment
) -> Rule | None:
    """The account's quota: what staff set for it, else its plan's."""
    allowance = next(iter(directory.allowances(account.id)), None)
    quota, plan_no = None if allowance is None else allowance.quota, 0
    counter_id = None if quota is None or allowance is None else allowance.counter_id
    if quota is None and plan is not None:
        quota, plan_no = plan.entitlements.quota, plans.rule_no(account, plan)
    if quota is None:
        return None
    if counter_id is None or environment != "live":
        counter_id = quota_counter(account.id, quota.period, environment)
    return rule_of(
        quota,
        owner_id=account.id,
        account_id=account.id,
        scope="shared",
        counter_id=counter_id,
        set_no=0 if allowance is None else allowance.rule_no,
        plan_no=plan_no,
        reset_at_us=max(directory.reset_at_us, 0 if allowance is None else allowance.reset_at_us),
    )


def credits_rule(account: Account, plan: Plan) -> Rule:
    """The account's credits as counting needs them: the row itself says how many there are."""
    return Rule(
        counter_id=counter_of(account.id, "credits"),
        owner_id=account.id,
        account_id=account.id,
        kind="credits",
        name="credits",
        scope="shared",
        limit=0,
        calendar=Calendar("lifetime"),
        rule_no=plans.rule_no(account, plan),
    )
