"""What may stand in a plan, checked once, on the way in."""

import re

import msgspec
from msgspec import UNSET, UnsetType

from domain import quotas
from domain.errors import InvalidCommand
from domain.event import Event
from domain.plans import Entitlements, Plan, PlanChanged, PlanPublished
from domain.quotas import Quota, RateLimit

RESERVED = frozenset(("comparison", "current", "upgrade"))
"""What stands in the place of a plan's name in URLs."""
MAX_KEYS = 1_000_000
MAX_CREDITS = 10**14
"""The most that a plan gives or an operation costs, in hundredths: a trillion credits."""
MAX_FEATURES = 100
MAX_OPERATIONS = 200

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_WORD = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


class PublishPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The command that makes a plan."""

    name: str
    tier: str
    title: str
    entitlements: Entitlements = Entitlements()
    self_service: bool = False


class ChangePlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to change of a plan: what is unset stays. Lists and tables are given whole."""

    title: str | UnsetType = UNSET
    self_service: bool | UnsetType = UNSET
    keys: int | UnsetType | None = UNSET
    quota: Quota | UnsetType | None = UNSET
    rate_limits: tuple[RateLimit, ...] | UnsetType = UNSET
    monthly_credits: int | UnsetType = UNSET
    features: tuple[str, ...] | UnsetType = UNSET
    operation_costs: dict[str, int] | UnsetType = UNSET


def publish(command: PublishPlan) -> PlanPublished:
    """The fact of a new plan. InvalidCommand names what can't be."""
    if command.name in RESERVED:
        raise InvalidCommand("name", f"none of {', '.join(sorted(RESERVED))}")
    return PlanPublished(
        name=checked_name(command.name, "name"),
        tier=checked_name(command.tier, "tier"),
        title=checked_title(command.title),
        entitlements=check_entitlements(command.entitlements),
        self_service=command.self_service,
    )


def change(plan: Plan, command: ChangePlan) -> list[Event]:
    """The fact that gives the plan what is set; none where it has it. InvalidCommand."""
    given = {
        name: value
        for name in Entitlements.__struct_fields__
        if (value := getattr(command, name)) is not UNSET
    }
    permits = check_entitlements(msgspec.structs.replace(plan.entitlements, **given))
    title = plan.title if command.title is UNSET else checked_title(command.title)
    self_service = plan.self_service if command.self_service is UNSET else command.self_service
    if (plan.title, plan.entitlements, plan.self_service) == (title, permits, self_service):
        return []
    return [PlanChanged(title=title, entitlements=permits, self_service=self_service)]


def is_name(name: str) -> bool:
    """Whether a plan can have this name."""
    return _NAME.fullmatch(name) is not None


def checked_name(name: str, param: str) -> str:
    """The name of a plan or tier: it stands in URLs and never changes."""
    if not is_name(name):
        raise InvalidCommand(param, "1 to 32 of a-z 0-9 _ -, beginning with a letter")
    return name


def checked_title(title: str) -> str:
    """The title, trimmed: 1 to 100 characters."""
    title = title.strip()
    if not 1 <= len(title) <= 100 or not title.isprintable():
        raise InvalidCommand("title", "1 to 100 printable characters")
    return title


def checked_word(word: str, param: str) -> str:
    """The name of a feature or an operation."""
    if _WORD.fullmatch(word) is None:
        raise InvalidCommand(param, "1 to 64 of a-z 0-9 _ . -, beginning with a letter or digit")
    return word


def check_entitlements(permits: Entitlements) -> Entitlements:
    """The entitlements themselves, if each can be kept; InvalidCommand names what can't."""
    if permits.keys is not None:
        _within(permits.keys, MAX_KEYS, "entitlements.keys")
    if permits.quota is not None:
        quotas.check(permits.quota, "entitlements.quota")
    quotas.check_rate_limits(permits.rate_limits, "entitlements.rate_limits")
    _within(permits.monthly_credits, MAX_CREDITS, "entitlements.monthly_credits")
    _check_features(permits.features)
    if len(permits.operation_costs) > MAX_OPERATIONS:
        raise InvalidCommand("entitlements.operation_costs", f"at most {MAX_OPERATIONS}")
    for operation, cost in permits.operation_costs.items():
        checked_word(operation, "entitlements.operation_costs")
        _within(cost, MAX_CREDITS, f"entitlements.operation_costs.{operation}")
    return permits


def _check_features(features: tuple[str, ...]) -> None:
    if len(features) > MAX_FEATURES:
        raise InvalidCommand("entitlements.features", f"at most {MAX_FEATURES}")
    seen: set[str] = set()
    for number, feature in enumerate(features):
        here = f"entitlements.features[{number}]"
        checked_word(feature, here)
        if feature in seen:
            raise InvalidCommand(here, "each feature once")
        seen.add(feature)


def _within(amount: int, most: int, param: str) -> None:
    if not 0 <= amount <= most:
        raise InvalidCommand(param, f"between 0 and {most}")
