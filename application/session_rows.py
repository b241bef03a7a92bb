"""Rows of sign-ins, and of those that failed."""

from datetime import datetime

from application.row import Row


class SessionRow(Row, frozen=True):
    """A sign-in and the digest of its current refresh token. Also a guard: the account's epoch
    is still this one; raises `VersionConflict`."""

    session_id: str
    account_id: str
    refresh_digest: bytes
    expires_at: datetime
    started_at: datetime
    amr: list[str]
    impersonator: str | None
    epoch: int


class SessionOverRow(Row, frozen=True):
    """Not a row but the end of one: the session's refresh token works no more."""

    session_id: str
    ended_at: datetime


class SessionsOverRow(Row, frozen=True):
    """The end of all sessions of an account, `but` one, those that are just being started as
    well: it takes the account's lock, and their SessionRow has looked under it, or will."""

    account_id: str
    but: str | None
    ended_at: datetime


class KnownNetworkRow(Row, frozen=True):
    """The account signed in from this network (a digest of both) and is known there until then."""

    digest: bytes
    account_id: str
    known_until: datetime


class SignInsClearedRow(Row, frozen=True):
    """Not a row but the end of some: the account's failed sign-ins, and what they lock."""

    account_id: str


class LockToldRow(Row, frozen=True):
    """Not a row but a mark: the account's history has this lock."""

    subject: bytes
