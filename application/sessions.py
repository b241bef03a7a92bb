"""Sessions: start one, keep it alive, list them, end them.

A session's refresh token is rotated in its row, by compare-and-set, and that is no event; that
it started, that a spent token came back, and that it ended are (RFC 9700, 4.14.2).
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from application.accounts import profile
from application.deciding import (
    ACCOUNT,
    SESSION,
    SYSTEM,
    Change,
    Context,
    Stream,
    change,
    commit,
    fresh,
    load,
    new_id,
    retrying,
)
from application.errors import RefreshRefused, StoreUnavailable, VersionConflict
from application.mail import Mail, mail_row
from application.ports import AccessClaims, Ports
from application.rows import Row, SessionOverRow, SessionRow, SessionsOverRow
from application.session_ports import SessionRecord
from application.tokens import principal_of_token as principal_of_token
from domain.accounts import Account, SignedOutEverywhere
from domain.errors import AccountNotActive, NotFound
from domain.event import Event
from domain.sessions import EndReason, SessionReuseDetected, SessionStarted, end

MOST_USER_AGENT = 500


class SignedIn(msgspec.Struct, frozen=True):
    """A sign-in and its tokens. The refresh token is shown once; its digest is kept. Lifetimes
    are seconds, the refresh token's counted from now to the end of the session."""

    account: Account
    session_id: str
    access_token: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int


class _Lasting(NamedTuple):
    """What of a session goes into each of its access tokens."""

    id: str
    started_at: datetime
    expires_at: datetime
    amr: tuple[str, ...]
    impersonator: str | None


async def start(
    ports: Ports,
    context: Context,
    account: Account,
    amr: tuple[str, ...],
    *,
    ip: str | None,
    user_agent: str | None,
    impersonator: str | None = None,
    ttl_seconds: int | None = None,
    session_id: str | None = None,
    changes: Sequence[Change[Any]] = (),
    rows: Sequence[Row] = (),
    reason: str | None = None,
) -> tuple[SignedIn, int]:
    """Start a session of this account, however that was decided; answers its tokens and the
    position.

    `amr` is how it was proven (RFC 8176). `changes` and `rows` are committed with it, and a
    change of the account among them counts. `account` is as it was when that was decided:
    VersionConflict if its epoch has risen since, so that no password that was just changed
    still opens anything. The session ends `ttl_seconds` from now at the latest, whatever is done
    with it.
    """
    now = ports.clock()
    lifetime = ttl_seconds or ports.policy.refresh_token_ttl_seconds
    session_id = session_id or new_id(ports, "sess")
    ends = now + timedelta(seconds=lifetime)
    lasting = _Lasting(session_id, now, ends, amr, impersonator)
    refresh_token = ports.refresh_tokens.first(session_id)
    event = _started(account.id, lasting, ip, user_agent)
    started = change(fresh(SESSION, session_id), [event], now, account.id)
    row = _row(account, lasting, ports.refresh_tokens.digest(refresh_token))
    after = [each.state for each in changes if isinstance(each.state, Account)]
    account = next((each for each in after if each.id == account.id), account)
    signed_in = _signed_in(ports, account, lasting, refresh_token, now)
    # What only one of two sign-ins can use up comes first: the other waits there, and not for the
    # account's state while both have a share of its lock.
    position = await commit(
        ports, context, now, [*changes, started], [*rows, row], result=signed_in, reason=reason
    )
    await _end_oldest(ports, context, account.id)
    return signed_in, position


def _started(
    account_id: str, session: _Lasting, ip: str | None, user_agent: str | None
) -> SessionStarted:
    return SessionStarted(
        session_id=session.id,
        account_id=account_id,
        amr=session.amr,
        expires_at=session.expires_at,
        impersonator=session.impersonator,
        ip=ip,
        user_agent=user_agent and user_agent[:MOST_USER_AGENT],
    )


def _row(account: Account, session: _Lasting, refresh_digest: bytes) -> SessionRow:
    return SessionRow(
        session_id=session.id,
        account_id=account.id,
        refresh_digest=refresh_digest,
        expires_at=session.expires_at,
        started_at=session.started_at,
        amr=list(session.amr),
        impersonator=session.impersonator,
        epoch=account.epoch,
    )


async def _end_oldest(ports: Ports, context: Context, account_id: str) -> None:
    """End what goes on beyond the sessions that an account may have.

    After the start and not with it: of many that start at once each sees those before it, and
    all agree on which are the oldest. What can't be ended now, the next start ends.
    """
    most = ports.policy.sessions_per_account
    if not most:
        return

    async def attempt() -> None:
        now = ports.clock()
        found = await ports.sessions.too_many(account_id, most, now)
        changes: list[Change[Any]] = []
        rows: list[Row] = []
        for session, version in found:
            stream = Stream(SESSION, session.id, version, session)
            changes.append(change(stream, end(session, "ended"), now, account_id))
            rows.append(SessionOverRow(session.id, now))
        if changes:
            command_id = new_id(ports, "cmd")
            own = Context(principal=SYSTEM, command_id=command_id, request_id=context.request_id)
            await commit(ports, own, now, changes, rows)

    # The session has been started: nothing here may have it started again.
    with suppress(VersionConflict, StoreUnavailable):
        await retrying(attempt)


async def refresh(ports: Ports, context: Context, token: str) -> tuple[SignedIn, int]:
    """Exchange a refresh token for its successor and a new access token; with the position.

    The same token again within ten seconds gets the same successor: it is derived from the
    token, so that an answer that was lost is no theft. One that was spent before that ends the
    session, whoever has the current one. Raises RefreshRefused, without saying why;
    AccountNotActive.
    """
    now = ports.clock()
    claims = ports.refresh_tokens.read(token)
    if claims is None:
        raise RefreshRefused("not ours")
    successor = ports.refresh_tokens.successor(token)
    digest = ports.refresh_tokens.digest
    found = await ports.sessions.rotate(claims, digest(token), digest(successor), now)
    if found.outcome == "reused":
        await _end_for_reuse(ports, context, claims.session_id, claims.generation)
        raise RefreshRefused("reused")
    account, started_at, expires_at = found.account, found.started_at, found.expires_at
    if found.outcome == "over" or account is None or started_at is None or expires_at is None:
        raise RefreshRefused("over")
    if found.outcome == "inactive":
        raise AccountNotActive(account.id, account.status)
    lasting = _Lasting(claims.session_id, started_at, expires_at, found.amr, found.impersonator)
    return _signed_in(ports, account, lasting, successor, now), ports.directory.position


def _signed_in(
    ports: Ports, account: Account, session: _Lasting, refresh_token: str, now: datetime
) -> SignedIn:
    """The tokens of a session; none of them outlives it."""
    left = max(int((session.expires_at - now).total_seconds()), 1)
    lifetime = min(ports.policy.access_token_ttl_seconds, left)
    issued = int(now.timestamp())
    token = ports.tokens.issue(
        AccessClaims(
            sub=account.id,
            sid=session.id,
            jti=new_id(ports, "tok"),
            iat=issued,
            exp=issued + lifetime,
            roles=list(account.roles),
            amr=list(session.amr),
            epoch=account.epoch,
            auth_time=int(session.started_at.timestamp()),
            impersonator=session.impersonator,
        )
    )
    return SignedIn(account, session.id, token, lifetime, refresh_token, left)


async def _end_for_reuse(ports: Ports, context: Context, session_id: str, generation: int) -> None:
    """Somebody has a copy: nobody may go on with this session, and its owner is told, once."""

    async def attempt() -> None:
        stream = await load(ports, SESSION, session_id)
        if stream.state is None or not (events := end(stream.state, "reuse")):
            return
        now, account_id = ports.clock(), stream.state.account_id
        told: list[Event] = [SessionReuseDetected(generation=generation), *events]
        rows: list[Row] = [SessionOverRow(session_id, now)]
        address = (await profile(ports, account_id)).email
        if address:
            once = f"reuse of {session_id}"
            mail = Mail("reuse_detected", address, account_id=account_id, once=once)
            rows.append(mail_row(ports, mail, now))
        changes = [change(stream, told, now, account_id)]
        await commit(ports, context, now, changes, rows)

    await retrying(attempt)


async def end_one(
    ports: Ports, context: Context, account_id: str, session_id: str, reason: EndReason
) -> int:
    """End this session of this account; answers the position. NotFound for another's; ending it
    twice is ending it once."""

    async def attempt() -> int:
        stream = await load(ports, SESSION, session_id)
        if stream.state is None or stream.state.account_id != account_id:
            raise NotFound("session", session_id)
        events = end(stream.state, reason)
        if not events:
            return ports.directory.position
        now = ports.clock()
        changes = [change(stream, events, now, account_id)]
        return await commit(ports, context, now, changes, [SessionOverRow(session_id, now)])

    return await retrying(attempt)


async def end_all(
    ports: Ports, context: Context, account_id: str, reason: str | None = None
) -> int:
    """End all sessions of this account, and all tokens from before; answers the position."""

    async def attempt() -> int:
        stream = await load(ports, ACCOUNT, account_id)
        if stream.state is None:
            raise NotFound("account", account_id)
        now = ports.clock()
        changes, rows = await ending(ports, account_id, "everywhere")
        ended = change(stream, [SignedOutEverywhere()], now, account_id)
        return await commit(ports, context, now, [ended, *changes], rows, reason=reason)

    return await retrying(attempt)


async def ending(
    ports: Ports, account_id: str, reason: EndReason, but: str | None = None
) -> tuple[list[Change[Any]], list[Row]]:
    """The changes and rows that end all sessions of this account, `but` one, to be committed
    with what ends them (within `retrying`: one of them may end meanwhile).

    A session that is being started while this is committed ends as well: the row takes the
    account's lock, and `start` looks at its epoch under the same one. So what ends them must
    raise the account's epoch.
    """
    now = ports.clock()
    changes: list[Change[Any]] = []
    for session, version in await ports.sessions.living(account_id, now):
        if session.id == but:
            continue
        stream = Stream(SESSION, session.id, version, session)
        changes.append(change(stream, end(session, reason), now, account_id))
    return changes, [SessionsOverRow(account_id, but, now)]


async def list_sessions(
    ports: Ports, account_id: str, after: str | None, limit: int
) -> list[tuple[SessionRecord, SessionStarted | None]]:
    """The account's sessions that go on, newest first, each with what its start said, unsealed:
    for its owner."""
    found = await ports.sessions.page(account_id, ports.clock(), after, limit)
    listed: list[tuple[SessionRecord, SessionStarted | None]] = []
    for record in found:
        events = await ports.store.read(record.session_id, personal=True)
        first = events[0].event if events else None
        listed.append((record, first if isinstance(first, SessionStarted) else None))
    return listed
