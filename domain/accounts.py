"""Accounts: own keys, a plan and allowances. What a person is called is personal and sealed."""

from datetime import datetime
from typing import Literal, assert_never

import msgspec

from domain.errors import InvalidCommand
from domain.event import Event, PersonalText

Kind = Literal["personal", "business"]
ActorType = Literal["user", "creator"]
Status = Literal["active", "suspended"]

ADMIN = "admin"
ROLES = frozenset({ADMIN})


class AccountRegistered(Event, frozen=True, tag="account.registered.v1"):
    """An account exists. Its address is a claim of its own; here it is only history."""

    account_id: str
    username: str | None = None
    kind: Kind = "personal"
    actor_type: ActorType = "user"
    email: PersonalText = None
    name: PersonalText = None
    phone: PersonalText = None
    about: PersonalText = None
    hobbies: PersonalText = None
    avatar_url: PersonalText = None
    wallet_address: PersonalText = None


class EmailVerified(Event, frozen=True, tag="account.email_verified.v1"):
    """The address is known to reach its owner."""


class RoleGranted(Event, frozen=True, tag="account.role_granted.v1"):
    """The account may act in this role. Tokens from before end (`epoch`)."""

    role: str


class PlanAssigned(Event, frozen=True, tag="account.plan_assigned.v1"):
    """The account is on this plan from now on; a change that was scheduled is off."""

    plan: str


class PlanChangeScheduled(Event, frozen=True, tag="account.plan_change_scheduled.v1"):
    """The account will be put on this plan at this instant; an earlier schedule is off."""

    plan: str
    due_at: datetime


class PlanChangeCancelled(Event, frozen=True, tag="account.plan_change_cancelled.v1"):
    """The account stays on its plan: the change that was scheduled is off."""


class AccountSuspended(Event, frozen=True, tag="account.suspended.v1"):
    """Nothing of this account works until it is reinstated; its tokens end."""


class AccountReinstated(Event, frozen=True, tag="account.reinstated.v1"):
    """The account works again."""


AccountEvent = (
    AccountRegistered
    | EmailVerified
    | RoleGranted
    | PlanAssigned
    | PlanChangeScheduled
    | PlanChangeCancelled
    | AccountSuspended
    | AccountReinstated
)


class Account(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An account as decisions and verification need it: nothing personal.

    `epoch` rises with everything that must end the access tokens issued before; `plan_no` with
    every plan assigned. `next_plan_at` is in seconds since 1970 UTC.
    """

    id: str
    username: str | None
    kind: Kind
    actor_type: ActorType
    registered_at: datetime
    status: Status = "active"
    email_verified: bool = False
    plan: str = ""
    roles: tuple[str, ...] = ()
    epoch: int = 0
    plan_no: int = 0
    next_plan: str | None = None
    next_plan_at: float | None = None


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person says of themselves at registration. All of it personal but the kinds."""

    name: str | None = None
    phone: str | None = None
    about: str | None = None
    hobbies: str | None = None
    avatar_url: str | None = None
    wallet_address: str | None = None
    kind: Kind = "personal"
    actor_type: ActorType = "user"


_LONGEST = {
    "name": 200,
    "phone": 40,
    "about": 2_000,
    "hobbies": 1_000,
    "avatar_url": 2_000,
    "wallet_address": 100,
}


def register(
    account_id: str, email: str, username: str | None, profile: Profile, plan: str
) -> list[Event]:
    """The facts of a new account on this plan. InvalidCommand names a field too long."""
    for field, longest in _LONGEST.items():
        text: str | None = getattr(profile, field)
        if text is not None and len(text) > longest:
            raise InvalidCommand(field, f"at most {longest} characters")
    return [
        AccountRegistered(
            account_id=account_id,
            email=email,
            username=username,
            **msgspec.structs.asdict(profile),
        ),
        PlanAssigned(plan=plan),
    ]


def verify_email(account: Account) -> list[Event]:
    """The address was proven; saying it twice changes nothing."""
    return [] if account.email_verified else [EmailVerified()]


def grant_role(account: Account, role: str) -> list[Event]:
    """Let the account act in a role. InvalidCommand for a role that doesn't exist."""
    if role not in ROLES:
        raise InvalidCommand("role", f"one of {', '.join(sorted(ROLES))}")
    return [] if role in account.roles else [RoleGranted(role=role)]


def suspend(account: Account) -> list[Event]:
    """Stop everything of this account for now; twice is once."""
    return [] if account.status == "suspended" else [AccountSuspended()]


def reinstate(account: Account) -> list[Event]:
    """Undo a suspension; twice is once."""
    return [] if account.status == "active" else [AccountReinstated()]


def assign_plan(account: Account, plan: str) -> list[Event]:
    """Put the account on this plan now. On it already, only what was scheduled ends."""
    if account.plan == plan:
        return cancel_plan_change(account)
    return [PlanAssigned(plan=plan)]


def schedule_plan(account: Account, plan: str, due_at: datetime) -> list[Event]:
    """Put the account on this plan later. The one that it is on already needs no change."""
    if account.plan == plan:
        return cancel_plan_change(account)
    if (account.next_plan, account.next_plan_at) == (plan, due_at.timestamp()):
        return []
    return [PlanChangeScheduled(plan=plan, due_at=due_at)]


def cancel_plan_change(account: Account) -> list[Event]:
    """Stay on the plan; where nothing is scheduled, nothing happens."""
    return [] if account.next_plan is None else [PlanChangeCancelled()]


def renew_plan(account: Account, now: datetime) -> list[Event]:
    """Carry out the change that is due; nothing where it was cancelled, moved or done."""
    if account.next_plan is None or account.next_plan_at is None:
        return []
    if account.next_plan_at > now.timestamp():
        return []
    return [PlanAssigned(plan=account.next_plan)]


def evolve(state: Account | None, event: AccountEvent, at: datetime) -> Account:
    """The account after this event."""
    if isinstance(event, AccountRegistered):
        return Account(
            id=event.account_id,
            username=event.username,
            kind=event.kind,
            actor_type=event.actor_type,
            registered_at=at,
        )
    if state is None:
        raise ValueError(f"{type(event).__name__} before account.registered")
    replace = msgspec.structs.replace
    match event:
        case EmailVerified():
            return replace(state, email_verified=True)
        case RoleGranted():
            return replace(state, roles=(*state.roles, event.role), epoch=state.epoch + 1)
        case PlanAssigned():
            return replace(
                state,
                plan=event.plan,
                plan_no=state.plan_no + 1,
                next_plan=None,
                next_plan_at=None,
            )
        case PlanChangeScheduled():
            return replace(state, next_plan=event.plan, next_plan_at=event.due_at.timestamp())
        case PlanChangeCancelled():
            return replace(state, next_plan=None, next_plan_at=None)
        case AccountSuspended():
            return replace(state, status="suspended", epoch=state.epoch + 1)
        case AccountReinstated():
            return replace(state, status="active")
        case _:
            assert_never(event)
