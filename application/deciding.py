"""load -> decide -> append: the path that every command takes.

A use case loads streams, lets the domain decide, and commits all that follows in one
transaction: the events, the states they fold to, and the rows that must be right.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Generic, Literal, Protocol, TypeVar, get_args

import msgspec

from application.errors import VersionConflict
from application.ports import Ports
from application.rows import AnswerRow, Row, StateRow
from domain import (
    accounts,
    allowances,
    api_keys,
    credits,
    ids,
    plans,
    purchases,
    sessions,
    staff,
)
from domain.errors import InvalidCommand
from domain.event import Event, Metadata, NewEvent

S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")

ATTEMPTS = 4
CATCH_UP_SECONDS = 1.0


class Noun(msgspec.Struct, Generic[S], frozen=True):
    """How one noun's streams fold; `events` are all that ever stand in them."""

    name: str
    evolve: Callable[[S | None, Any, datetime], S]
    events: tuple[type[Event], ...]


ACCOUNT = Noun[accounts.Account]("account", accounts.evolve, get_args(accounts.AccountEvent))
SESSION = Noun[sessions.Session]("session", sessions.evolve, get_args(sessions.SessionEvent))
API_KEY = Noun[api_keys.ApiKey]("api_key", api_keys.evolve, get_args(api_keys.ApiKeyEvent))
PLAN = Noun[plans.Plan]("plan", plans.evolve, get_args(plans.PlanEvent))
ALLOWANCE = Noun[allowances.Allowance](
    "allowance", allowances.evolve, get_args(allowances.AllowanceEvent)
)
PURCHASE = Noun[purchases.Purchase]("purchase", purchases.evolve, get_args(purchases.PurchaseEvent))
CREDIT = Noun[credits.CreditAccount]("credit", credits.evolve, get_args(credits.CreditEvent))

RESET = Noun[allowances.GlobalReset]("reset", allowances.reset_everybody, (allowances.ResetEvent,))

FOLLOWED: dict[type[Event], Noun[Any]] = {
    event: noun for noun in (ACCOUNT, API_KEY, PLAN, ALLOWANCE, RESET) for event in noun.events
}
"""The nouns that the key directory holds, by the events that change them."""

PrincipalKind = Literal["account", "service", "key", "operator", "system", "public"]


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts. `account_id` is whose account it is, or belongs to.

    Of who signed in: `session_id`, how (`amr`, RFC 8176) and when (`signed_in_at`), and who it
    really is where staff acts as this account (`impersonator`).
    """

    kind: PrincipalKind
    id: str
    account_id: str | None = None
    roles: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()
    session_id: str | None = None
    amr: tuple[str, ...] = ()
    signed_in_at: datetime | None = None
    impersonator: str | None = None

    def may(self, right: staff.Right) -> bool:
        """Whether it has this right over other people's things."""
        if self.kind in ("operator", "system"):
            return True
        return self.kind == "account" and right in staff.rights_of(self.roles)


OPERATOR = Principal(kind="operator", id="operator")
SYSTEM = Principal(kind="system", id="system")
PUBLIC = Principal(kind="public", id="public")


class Idempotency(Protocol):
    """Remembers the answer in the command's own transaction."""

    def row(self, result: object, stream: str, version: int) -> AnswerRow: ...


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """Around a command: who asks, under which request, what to remember, and why they ask, in
    their words (`reason`; a use case that is told another one keeps that)."""

    principal: Principal
    command_id: str
    request_id: str | None = None
    idempotency: Idempotency | None = None
    reason: str | None = None


class Stream(msgspec.Struct, Generic[S], frozen=True):
    """A stream as it was loaded, or as it will be after a change."""

    noun: Noun[S]
    id: str
    version: int
    state: S | None


class Change(msgspec.Struct, Generic[S], frozen=True):
    """What a decision does to one stream."""

    events: tuple[NewEvent, ...]
    row: StateRow
    state: S


def new_id(ports: Ports, prefix: str) -> str:
    """A fresh id of this prefix."""
    unix_ms = int(ports.clock().timestamp() * 1000)
    return ids.compose(prefix, unix_ms, ports.entropy(ids.ENTROPY_BYTES))


def fresh(noun: Noun[S], stream: str) -> Stream[S]:
    """A stream that nothing has happened in."""
    return Stream(noun, stream, 0, None)


async def load(ports: Ports, noun: Noun[S], stream: str) -> Stream[S]:
    """The stream as it stands in the log now; empty where it is of another noun.

    Ids come from outside: asking for a key by an account's id finds no key.
    """
    state: S | None = None
    version = 0
    for recorded in await ports.store.read(stream):
        if not isinstance(recorded.event, noun.events):
            return fresh(noun, stream)
        state = noun.evolve(state, recorded.event, recorded.metadata.at)
        version = recorded.version
    return Stream(noun, stream, version, state)


def change(
    stream: Stream[S], events: Sequence[Event], at: datetime, account_id: str | None
) -> Change[S]:
    """The stream's change by these events, which must be some."""
    state = stream.state
    new = []
    for number, event in enumerate(events, stream.version + 1):
        state = stream.noun.evolve(state, event, at)
        new.append(NewEvent(stream.id, number, event, account_id))
    if state is None:
        raise ValueError("a change without events")
    row = StateRow(stream.id, stream.noun.name, account_id, new[-1].version, state)
    return Change(tuple(new), row, state)


async def commit(
    ports: Ports,
    context: Context,
    at: datetime,
    changes: Sequence[Change[Any]],
    rows: Sequence[Row] = (),
    *,
    result: object = None,
    reason: str | None = None,
) -> int:
    """Append all changes and rows in one transaction; answer the position.

    Waits a moment for this process to have followed the log that far, so that whoever got
    the answer sees what they did. Raises InvalidCommand where staff doesn't say why.
    """
    events = [event for each in changes for event in each.events]
    metadata = metadata_of(context, at, {event.account_id for event in events}, reason)
    written: list[Row] = [*rows, *(each.row for each in changes)]
    if context.idempotency is not None:
        written.append(context.idempotency.row(result, events[-1].stream, events[-1].version))
    position = await ports.store.append(events, metadata, written)
    await ports.directory.catch_up(position, CATCH_UP_SECONDS)
    return position


def metadata_of(
    context: Context, at: datetime, account_ids: Collection[str | None], reason: str | None = None
) -> Metadata:
    """What the log keeps with events about these accounts: who did it, when, and why.

    All that staff does to somebody else's account is written by way of this, so here is where it
    has to have a reason: InvalidCommand without. What is of no account (plans, everybody's
    limits) needs none: reasons are sealed with the key of the account that they are about.
    """
    reason = context.reason if reason is None else reason
    if not (reason and reason.strip()) and any(
        acts_as_staff(context.principal, each) for each in account_ids if each is not None
    ):
        raise InvalidCommand("reason", "Staff say why: it stands in the account's history.")
    return Metadata(
        at=at,
        actor=context.principal.id,
        command_id=context.command_id,
        request_id=context.request_id,
        impersonator=context.principal.impersonator,
        reason=reason,
    )


def acts_as_staff(principal: Principal, account_id: str) -> bool:
    """Whether this is a person who acts on an account that isn't theirs: for owners, services and
    operators it is no."""
    return principal.kind == "account" and principal.account_id != account_id


async def retrying(attempt: Callable[[], Awaitable[T]]) -> T:
    """Run the whole of load, decide, append again when somebody else was first."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await attempt()
        except VersionConflict:
            continue
    return await attempt()
