"""Sessions: one sign-in each. Rotation of the refresh token is a versioned row, no event."""

from datetime import datetime
from typing import Literal, assert_never

import msgspec

from domain.event import Event, PersonalText

EndReason = Literal["signed_out", "ended", "everywhere", "password", "reuse", "revoked", "closed"]
"""By its own token; from the list of sessions, or as the oldest of too many; with all others; by
a new password; because a spent refresh token was presented; by RFC 7009; with its account."""


class SessionStarted(Event, frozen=True, tag="session.started.v1"):
    """Somebody signed in, from there, until then at the latest. `impersonator`: staff did, who
    acts as this account."""

    session_id: str
    account_id: str
    amr: tuple[str, ...]
    expires_at: datetime
    impersonator: str | None = None
    ip: PersonalText = None
    user_agent: PersonalText = None


class SessionReuseDetected(Event, frozen=True, tag="session.reuse_detected.v1"):
    """A refresh token that was spent long ago was presented: somebody has a copy (RFC 9700,
    4.14.2). `generation` is the one that it was of."""

    generation: int


class SessionEnded(Event, frozen=True, tag="session.ended.v1"):
    """Neither its refresh token nor its access tokens work any more."""

    reason: EndReason


SessionEvent = SessionStarted | SessionReuseDetected | SessionEnded


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in as it stands."""

    id: str
    account_id: str
    started_at: datetime
    expires_at: datetime
    amr: tuple[str, ...] = ()
    impersonator: str | None = None
    ended_at: datetime | None = None


def end(session: Session, reason: EndReason) -> list[Event]:
    """End it; twice is once."""
    return [SessionEnded(reason=reason)] if session.ended_at is None else []


def evolve(state: Session | None, event: SessionEvent, at: datetime) -> Session:
    """The session after this event."""
    if isinstance(event, SessionStarted):
        return Session(
            id=event.session_id,
            account_id=event.account_id,
            started_at=at,
            expires_at=event.expires_at,
            amr=event.amr,
            impersonator=event.impersonator,
        )
    if state is None:
        raise ValueError(f"{type(event).__name__} before session.started")
    match event:
        case SessionReuseDetected():
            return state
        case SessionEnded():
            return msgspec.structs.replace(state, ended_at=at)
        case _:
            assert_never(event)
