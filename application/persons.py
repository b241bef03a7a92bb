"""Accounts with what is personal of them: what all that happened to one says, unsealed."""

from collections.abc import Sequence

import msgspec

from application.deciding import ACCOUNT
from domain import profiles
from domain.account_events import AccountRegistered, EmailChanged, NoteWritten, ProfileChanged
from domain.accounts import Account, Profile
from domain.event import Recorded


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    """An account with what is personal of it, without the fields that are `hidden`. Where the
    person was erased, nothing personal is left: None."""

    account: Account
    email: str | None
    profile: Profile
    note: str | None
    hidden: frozenset[str] = frozenset()


def folded(events: Sequence[Recorded]) -> AccountView | None:
    """All that these events of one account say, unsealed; None if there is no account."""
    account: Account | None = None
    email: str | None = None
    note: str | None = None
    profile = Profile()
    for recorded in events:
        event = recorded.event
        if not isinstance(event, ACCOUNT.events):
            break  # ids come from outside: this one is of another noun
        account = ACCOUNT.evolve(account, event, recorded.metadata.at)
        match event:
            case AccountRegistered():
                email = event.email
                said = {field: getattr(event, field) for field in Profile.__struct_fields__}
                profile = Profile(**said)
            case EmailChanged():
                email = event.email
            case ProfileChanged():
                profile = profiles.after(profile, event)
            case NoteWritten():
                note = event.note
    if account is None:
        return None
    return AccountView(account=account, email=email, profile=profile, note=note)
