"""What can happen to an account. Whatever names a person or holds their words is sealed."""

from datetime import datetime
from typing import Literal

from domain.event import Event, PersonalText, PublicName

Kind = Literal["personal", "business"]
ActorType = Literal["user", "creator"]
Factor = Literal["totp", "recovery_codes", "passkey"]


class AccountRegistered(Event, frozen=True, tag="account.registered.v2"):
    """An account exists. Its address is a claim of its own; here it is only history.

    `external_id` is what somebody else calls it. It and the username are sealed, since v2: after
    an erasure the log says neither.
    """

    account_id: str
    username: PublicName = None
    kind: Kind = "personal"
    actor_type: ActorType = "user"
    external_id: PublicName = None
    email: PersonalText = None
    name: PersonalText = None
    phone: PersonalText = None
    about: PersonalText = None
    hobbies: PersonalText = None
    avatar_url: PersonalText = None
    wallet_address: PersonalText = None


class EmailVerified(Event, frozen=True, tag="account.email_verified.v1"):
    """The address is known to reach its owner."""


class EmailChanged(Event, frozen=True, tag="account.email_changed.v1"):
    """The account has another address. `verified`: it was proven to reach its owner."""

    verified: bool = True
    email: PersonalText = None


class UsernameChanged(Event, frozen=True, tag="account.username_changed.v1"):
    """The account is called this from now on; None gave the name up."""

    username: PublicName


class ProfileChanged(Event, frozen=True, tag="account.profile_changed.v1"):
    """These fields of the profile have these values from now on; None is nothing."""

    changed: tuple[str, ...]
    kind: Kind | None = None
    actor_type: ActorType | None = None
    name: PersonalText = None
    phone: PersonalText = None
    about: PersonalText = None
    hobbies: PersonalText = None
    avatar_url: PersonalText = None
    wallet_address: PersonalText = None


class NoteWritten(Event, frozen=True, tag="account.note_written.v1"):
    """What staff noted about the account; in the place of the note before."""

    note: PersonalText = None


class PasswordSet(Event, frozen=True, tag="account.password_set.v1"):
    """There is another password. Tokens from before end (`epoch`)."""

    how: Literal["changed", "reset", "removed"]


class SignInsRefused(Event, frozen=True, tag="account.sign_ins_refused.v1"):
    """So many sign-ins failed in a row, and the password alone opens nothing until then.
    Counted: one event a lock, not one a try."""

    failures: int
    locked_until: datetime


class TotpEnrolled(Event, frozen=True, tag="account.totp_enrolled.v1"):
    """Codes of an authenticator app are a second factor from now on."""


class TotpRemoved(Event, frozen=True, tag="account.totp_removed.v1"):
    """Codes of the authenticator app count no more."""


class RecoveryCodesIssued(Event, frozen=True, tag="account.recovery_codes_issued.v1"):
    """So many new recovery codes; those from before count no more."""

    count: int


class RecoveryCodeUsed(Event, frozen=True, tag="account.recovery_code_used.v1"):
    """One recovery code was spent; so many are left."""

    left: int


class PasskeyAdded(Event, frozen=True, tag="account.passkey_added.v1"):
    """A passkey (WebAuthn credential) signs this account in, too."""

    passkey_id: str
    name: PersonalText = None


class PasskeyRemoved(Event, frozen=True, tag="account.passkey_removed.v1"):
    """This passkey signs nobody in any more."""

    passkey_id: str


class RoleGranted(Event, frozen=True, tag="account.role_granted.v1"):
    """The account may act in this role. Tokens from before end (`epoch`)."""

    role: str


class RoleWithdrawn(Event, frozen=True, tag="account.role_withdrawn.v1"):
    """The account may not act in this role any more. Tokens from before end (`epoch`)."""

    role: str


class SignedOutEverywhere(Event, frozen=True, tag="account.signed_out_everywhere.v1"):
    """All sessions and all tokens from before end (`epoch`)."""


class Impersonated(Event, frozen=True, tag="account.impersonated.v1"):
    """Staff acts as this account until then; the metadata's actor is who, its reason why."""

    session_id: str
    until: datetime


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


class AccountClosed(Event, frozen=True, tag="account.closed.v1"):
    """Nothing of this account works any more, and its tokens end. Until `final_at` it can be
    restored; then it stays closed, or (`erase`) is erased."""

    final_at: datetime
    erase: bool = False


class AccountRestored(Event, frozen=True, tag="account.restored.v1"):
    """The account was closed, and works again."""


class AccountErased(Event, frozen=True, tag="account.erased.v1"):
    """The person is forgotten: the data key is destroyed, so nothing sealed with it can be read
    again; claims, credentials and mail are gone. `counts` says how much of what."""

    counts: dict[str, int] = {}


AccountEvent = (
    AccountRegistered
    | EmailVerified
    | EmailChanged
    | UsernameChanged
    | ProfileChanged
    | NoteWritten
    | PasswordSet
    | SignInsRefused
    | TotpEnrolled
    | TotpRemoved
    | RecoveryCodesIssued
    | RecoveryCodeUsed
    | PasskeyAdded
    | PasskeyRemoved
    | RoleGranted
    | RoleWithdrawn
    | SignedOutEverywhere
    | Impersonated
    | PlanAssigned
    | PlanChangeScheduled
    | PlanChangeCancelled
    | AccountSuspended
    | AccountReinstated
    | AccountClosed
    | AccountRestored
    | AccountErased
)
