"""What `exactness` shoots at: accounts whose one hot key takes from three counters at once.

Each has another counter that is the first to be used up: the key's quota, the quota that its
account's keys share, or the account's credits. The other two are out of reach.
"""

import os
from typing import Literal, NamedTuple

from application.allowances import set_quota
from application.deciding import SYSTEM, Context, commit
from application.plans import publish
from application.ports import Ports
from bench.seeding import SeededKey, seed
from bench.seeding_credits import grant
from domain.counters import counter_of, quota_counter
from domain.plan_rules import PublishPlan
from domain.plans import Entitlements
from domain.quotas import Quota

OPERATION, PRICE = "api_call", 10  # hundredths of a credit
OUT_OF_REACH = 1_000_000_000
# Of this plan an account has no quota and no monthly credits: it has what it is given here.
PLAN = "bench"
PUBLISHED = PublishPlan(
    name=PLAN,
    tier=PLAN,
    title="Bench",
    entitlements=Entitlements(operation_costs={OPERATION: PRICE}),
)

Tightest = Literal["key", "account", "credits"]
TIGHTEST: tuple[Tightest, ...] = ("key", "account", "credits")
DENIAL = {"key": "USAGE_EXCEEDED", "account": "USAGE_EXCEEDED", "credits": "CREDITS_EXHAUSTED"}


class Limits(NamedTuple):
    """How much of each counter there is; `credits` in hundredths."""

    key: int
    account: int
    credits: int


class Target(NamedTuple):
    """A hot key, what limits it, and the position that has all of it."""

    tightest: Tightest
    key: SeededKey
    limits: Limits
    position: str

    @property
    def denial(self) -> str:
        """The code that says that it is used up."""
        return DENIAL[self.tightest]

    @property
    def credits_counter_id(self) -> int:
        """The counter of its account's credits."""
        return counter_of(self.key.account_id, "credits")


async def targets(ports: Ports, limit: int) -> list[Target]:
    """One for each counter that can be the tightest, with so many verifications in it."""
    _, position = await publish(ports, _context(), PUBLISHED)
    await ports.directory.catch_up(position, 30)
    return [await _target(ports, tightest, limit) for tightest in TIGHTEST]


async def _target(ports: Ports, tightest: Tightest, limit: int) -> Target:
    limits = Limits(OUT_OF_REACH, OUT_OF_REACH, OUT_OF_REACH)
    limits = limits._replace(**{tightest: limit * PRICE if tightest == "credits" else limit})
    # Lifetimes, not days: the run may cross midnight.
    made = await seed(ports, 1, 1, Quota(limits.key, "lifetime"), PLAN)
    key = made.keys[0]
    now = ports.clock()
    shared = Quota(limits.account, "lifetime")
    changes, rows = await set_quota(
        ports, key.account_id, key.account_id, shared, now, scope="shared"
    )
    await commit(ports, _context(), now, changes, rows)
    key = key._replace(shared_counter_id=quota_counter(key.account_id, shared.period))
    position = await grant(ports, [key.account_id], limits.credits)
    return Target(tightest, key, limits, f"{ports.store.log_id}:{position}")


def _context() -> Context:
    return Context(principal=SYSTEM, command_id=f"bench-{os.urandom(8).hex()}")
