"""Sessions: one sign-in each. Rotation of the refresh token is a versioned row, no event."""

from datetime import datetime
from typing import assert_never

import msgspec

from domain.event import Event, PersonalText


class SessionStarted(Event, frozen=True, tag="session.started.v1"):
    """Somebody signed in, from there, until then at the latest."""

    session_id: str
    account_id: str
    amr: tuple[str, ...]
    expires_at: datetime
    ip: PersonalText = None
    user_agent: PersonalText = None


SessionEvent = SessionStarted


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in as it stands."""

    id: str
    account_id: str
    started_at: datetime
    expires_at: datetime


def evolve(state: Session | None, event: SessionEvent, at: datetime) -> Session:
    """The session after this event."""
    match event:
        case SessionStarted():
            return Session(
                id=event.session_id,
                account_id=event.account_id,
                started_at=at,
                expires_at=event.expires_at,
            )
        case _:
            assert_never(event)
