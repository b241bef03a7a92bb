"""Accounts: own keys, a plan and allowances. What a person is called is personal and sealed."""

import re
from datetime import datetime
from typing import Literal, assert_never

import msgspec

from domain.account_events import AccountClosed as AccountClosed
from domain.account_events import AccountErased as AccountErased
from domain.account_events import AccountEvent as AccountEvent
from domain.account_events import AccountRegistered as AccountRegistered
from domain.account_events import AccountReinstated as AccountReinstated
from domain.account_events import AccountRestored as AccountRestored
from domain.account_events import AccountSuspended as AccountSuspended
from domain.account_events import ActorType as ActorType
from domain.account_events import EmailChanged as EmailChanged
from domain.account_events import EmailVerified as EmailVerified
from domain.account_events import Impersonated as Impersonated
from domain.account_events import Kind as Kind
from domain.account_events import NoteWritten as NoteWritten
from domain.account_events import PasskeyAdded as PasskeyAdded
from domain.account_events import PasskeyRemoved as PasskeyRemoved
from domain.account_events import PasswordSet as PasswordSet
from domain.account_events import PlanAssigned as PlanAssigned
from domain.account_events import PlanChangeCancelled as PlanChangeCancelled
from domain.account_events import PlanChangeScheduled as PlanChangeScheduled
from domain.account_events import ProfileChanged as ProfileChanged
from domain.account_events import RecoveryCodesIssued as RecoveryCodesIssued
from domain.account_events import RecoveryCodeUsed as RecoveryCodeUsed
from domain.account_events import RoleGranted as RoleGranted
from domain.account_events import RoleWithdrawn as RoleWithdrawn
from domain.account_events import SignedOutEverywhere as SignedOutEverywhere
from domain.account_events import SignInsRefused as SignInsRefused
from domain.account_events import TotpEnrolled as TotpEnrolled
from domain.account_events import TotpRemoved as TotpRemoved
from domain.account_events import UsernameChanged as UsernameChanged
from domain.errors import InvalidCommand
from domain.event import Event
from domain.profiles import Profile as Profile
from domain.profiles import checked
from domain.staff import ADMIN as ADMIN
from domain.staff import LEVELS

Status = Literal["active", "suspended", "closed", "erased"]

_ROLE = re.compile(r"[a-z][a-z0-9_-]{0,39}")


class Account(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An account as decisions and verification need it: nothing personal.

    `epoch` rises with everything that must end the access tokens issued before; `plan_no` with
    every plan assigned. `next_plan_at` and `final_at` (when a closed account can't be restored
    any more) are in seconds since 1970 UTC.
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
    external_id: str | None = None
    totp: bool = False
    recovery_codes: int = 0
    passkeys: int = 0
    final_at: float | None = None
    erase: bool = False

    @property
    def second_factor(self) -> bool:
        """Whether the password alone doesn't sign in."""
        return self.totp or self.passkeys > 0


def register(
    account_id: str,
    email: str,
    username: str | None,
    profile: Profile,
    plan: str,
    external_id: str | None = None,
) -> list[Event]:
    """The facts of a new account on this plan. InvalidCommand names a field of the profile."""
    return [
        AccountRegistered(
            account_id=account_id,
            email=email,
            username=username,
            external_id=external_id,
            **msgspec.structs.asdict(checked(profile)),
        ),
        PlanAssigned(plan=plan),
    ]


def verify_email(account: Account) -> list[Event]:
    """The address was proven; saying it twice changes nothing."""
    return [] if account.email_verified else [EmailVerified()]


def grant_role(account: Account, role: str) -> list[Event]:
    """Let the account act in a role. InvalidCommand for a role that doesn't exist."""
    if role not in LEVELS and _ROLE.fullmatch(role) is None:
        raise InvalidCommand("roles", "1 to 40 characters a-z 0-9 _ -, a letter first")
    return [] if role in account.roles else [RoleGranted(role=role)]


def withdraw_role(account: Account, role: str) -> list[Event]:
    """The account acts in this role no more; one that it hasn't needs no withdrawing."""
    return [RoleWithdrawn(role=role)] if role in account.roles else []


def suspend(account: Account) -> list[Event]:
    """Stop everything of this account for now; twice is once. One that is closed or erased
    does nothing anyhow."""
    return [AccountSuspended()] if account.status == "active" else []


def reinstate(account: Account) -> list[Event]:
    """Undo a suspension; twice is once."""
    return [AccountReinstated()] if account.status == "suspended" else []


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
            external_id=event.external_id,
            registered_at=at,
        )
    if state is None:
        raise ValueError(f"{type(event).__name__} before account.registered")
    if isinstance(event, _FactorEvent):
        return _with_factors(state, event)
    replace = msgspec.structs.replace
    match event:
        case EmailVerified():
            return replace(state, email_verified=True)
        case EmailChanged():
            return replace(state, email_verified=event.verified)
        case UsernameChanged():
            return replace(state, username=event.username)
        case ProfileChanged():
            return replace(
                state,
                kind=event.kind or state.kind,
                actor_type=event.actor_type or state.actor_type,
            )
        case NoteWritten() | SignInsRefused() | Impersonated():
            return state
        case PasswordSet() | SignedOutEverywhere():
            return replace(state, epoch=state.epoch + 1)
        case RoleGranted():
            return replace(state, roles=(*state.roles, event.role), epoch=state.epoch + 1)
        case RoleWithdrawn():
            left = tuple(role for role in state.roles if role != event.role)
            return replace(state, roles=left, epoch=state.epoch + 1)
        case PlanAssigned() | PlanChangeScheduled() | PlanChangeCancelled():
            return _on_plan(state, event)
        case _:
            return _living(state, event)


_FactorEvent = (
    TotpEnrolled
    | TotpRemoved
    | RecoveryCodesIssued
    | RecoveryCodeUsed
    | PasskeyAdded
    | PasskeyRemoved
)


def _with_factors(state: Account, event: _FactorEvent) -> Account:
    replace = msgspec.structs.replace
    match event:
        case TotpEnrolled():
            return replace(state, totp=True)
        case TotpRemoved():
            return replace(state, totp=False)
        case RecoveryCodesIssued():
            return replace(state, recovery_codes=event.count)
        case RecoveryCodeUsed():
            return replace(state, recovery_codes=event.left)
        case PasskeyAdded():
            return replace(state, passkeys=state.passkeys + 1)
        case PasskeyRemoved():
            return replace(state, passkeys=state.passkeys - 1)
        case _:
            assert_never(event)


def _on_plan(
    state: Account, event: PlanAssigned | PlanChangeScheduled | PlanChangeCancelled
) -> Account:
    replace = msgspec.structs.replace
    match event:
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
        case _:
            assert_never(event)


def _living(
    state: Account,
    event: AccountSuspended | AccountReinstated | AccountClosed | AccountRestored | AccountErased,
) -> Account:
    replace = msgspec.structs.replace
    match event:
        case AccountSuspended():
            return replace(state, status="suspended", epoch=state.epoch + 1)
        case AccountReinstated():
            return replace(state, status="active")
        case AccountClosed():
            return replace(
                state,
                status="closed",
                final_at=event.final_at.timestamp(),
                erase=event.erase,
                epoch=state.epoch + 1,
            )
        case AccountRestored():
            return replace(state, status="active", final_at=None, erase=False)
        case AccountErased():
            return replace(
                state,
                status="erased",
                username=None,
                external_id=None,
                email_verified=False,
                totp=False,
                recovery_codes=0,
                passkeys=0,
                final_at=None,
                erase=False,
                epoch=state.epoch + 1,
            )
        case _:
            assert_never(event)
