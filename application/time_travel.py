"""How accounts and keys were: their events up to an instant or a position, folded again.

By position exactly what the log held then is meant; by time, what had been decided by then, by
the clocks of those who decided.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from application.account_reading import known, seen_by
from application.allowances import allowance_id
from application.api_keys import get as get_key
from application.credit_balances import AsOf
from application.deciding import ACCOUNT, ALLOWANCE, API_KEY, Noun, Principal
from application.persons import AccountView
from application.persons import folded as viewed
from application.ports import Ports
from domain.api_keys import ApiKey
from domain.errors import InvalidCommand, NotFound
from domain.event import Recorded
from domain.quotas import Quota

S = TypeVar("S", bound=msgspec.Struct)


class KeyThen(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it was, with its own quota."""

    key: ApiKey
    quota: Quota | None
    at: datetime


async def account_as_of(
    ports: Ports, principal: Principal, name: str, as_of: AsOf
) -> tuple[AccountView, datetime]:
    """The account of this id or @username as it was, as far as this principal sees it; and the
    instant that was meant.

    NotFound where they see none; InvalidCommand for an instant or a position that is yet to
    come, or from before the account. StreamUnreadable, StoreUnavailable.
    """
    account_id = await known(ports, principal, name)
    at = await instant_of(ports, as_of)
    past, began = await _past(ports, [account_id], as_of, personal=True)
    ours = began and all(isinstance(each.event, ACCOUNT.events) for each in past)
    view = viewed(past) if ours else None
    if view is None:
        raise _younger("account", name, ours)
    return seen_by(principal, view), at


async def key_as_of(ports: Ports, principal: Principal, key_id: str, as_of: AsOf) -> KeyThen:
    """The key as it was, for who may see it now. Otherwise as `account_as_of`."""
    await get_key(ports, principal, key_id)
    at = await instant_of(ports, as_of)
    past, began = await _past(ports, [key_id, allowance_id(key_id)], as_of)
    key = folded(API_KEY, past, key_id)
    if key is None:
        raise _younger("key", key_id, began)
    allowance = folded(ALLOWANCE, past, allowance_id(key_id))
    return KeyThen(key=key, quota=None if allowance is None else allowance.quota, at=at)


async def instant_of(ports: Ports, as_of: AsOf) -> datetime:
    """The instant that is meant. InvalidCommand where it is yet to come."""
    if isinstance(as_of, datetime):
        if as_of > ports.clock():
            raise InvalidCommand("as_of", "not in the future")
        return as_of.astimezone(UTC)
    at = await ports.log_pages.moment(as_of)
    if at is None:
        raise InvalidCommand("as_of", "a position that the log has reached")
    return at


def folded(noun: Noun[S], events: Sequence[Recorded], stream: str) -> S | None:
    """What these events make of this stream; None of one that is of another noun."""
    state: S | None = None
    for each in events:
        if each.stream == stream:
            if not isinstance(each.event, noun.events):
                return None
            state = noun.evolve(state, each.event, each.metadata.at)
    return state


async def _past(
    ports: Ports, streams: Sequence[str], as_of: AsOf, *, personal: bool = False
) -> tuple[list[Recorded], bool]:
    """The events of these streams by then; and whether there are any at all."""
    events = await ports.log_pages.of(streams, personal=personal)
    if isinstance(as_of, int):
        return [each for each in events if each.position <= as_of], bool(events)
    # Within a stream the order of the log counts, whatever the clocks said: the first event that
    # was decided later ends it.
    past: list[Recorded] = []
    ended: set[str] = set()
    for each in events:
        if each.stream in ended or each.metadata.at > as_of:
            ended.add(each.stream)
        else:
            past.append(each)
    return past, bool(events)


def _younger(noun: str, id: str, began: bool) -> Exception:
    return InvalidCommand("as_of", f"the {noun} is younger") if began else NotFound(noun, id)
