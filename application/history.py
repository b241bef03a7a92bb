"""Histories: what happened to a key or an account, in plain words, by whom and why."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from application.allowances import allowance_id
from application.deciding import API_KEY, Principal, load
from application.errors import StreamUnreadable
from application.ports import HistoryEntry, Ports
from domain.disclosure import seen, sees_reasons
from domain.errors import NotFound
from domain.event import Recorded, Unreadable, stored_name
from domain.plain_words import sentence, who
from domain.staff import Right

UNREADABLE = "Something that this version of the server can't read."


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it is told to one reader: `summary` is what happened in one sentence, `by` who
    did it in words. `data` and `reason` have what this reader may see; None, too, where it was
    erased."""

    position: int
    stream: str
    version: int
    type: str
    at: datetime | None
    summary: str
    by: str
    actor: str
    account_id: str | None = None
    impersonator: str | None = None
    command_id: str | None = None
    request_id: str | None = None
    cause: str | None = None
    reason: str | None = None
    data: dict[str, Any]


async def of_key(
    ports: Ports,
    principal: Principal,
    key_id: str,
    before: int | None,
    limit: int,
    at_least: int | None = None,
) -> list[Told]:
    """Of a key and of its own quota, newest first, before this position of the log.

    NotFound where it is somebody else's, PositionNotReached where `at_least` takes too long.
    """
    try:
        key = (await load(ports, API_KEY, key_id)).state
    except StreamUnreadable:
        key = ports.directory.key(key_id)
    if key is None or not may_read(principal, key.account_id):
        raise NotFound("key", key_id)
    streams = [key_id, allowance_id(key_id)]
    entries = await ports.read_models.history_of_streams(streams, before, limit, at_least)
    return await tell(ports, principal, entries)


async def of_account(
    ports: Ports,
    principal: Principal,
    account_id: str,
    before: int | None,
    limit: int,
    at_least: int | None = None,
) -> list[Told]:
    """Of an account and all that is its: sign-ins, keys, quotas. Otherwise as `of_key`."""
    if not may_read(principal, account_id):
        raise NotFound("account", account_id)
    entries = await ports.read_models.history_of_account(account_id, before, limit, at_least)
    if not entries and before is None and ports.directory.account(account_id) is None:
        raise NotFound("account", account_id)
    return await tell(ports, principal, entries)


def may_read(principal: Principal, account_id: str | None) -> bool:
    """Whether they may read what happened to what is this account's. A service may manage keys,
    but reasons are people's words: they are not for it."""
    if principal.may("history.read"):
        return True
    return principal.kind == "account" and principal.id == account_id


async def tell(ports: Ports, principal: Principal, entries: Sequence[HistoryEntry]) -> list[Told]:
    """These events in words, with what this reader may see of them.

    What is personal is in the log only: that of an erased person can't be read by anybody.
    """
    if not entries:
        return []
    found = await ports.log_pages.at([each.position for each in entries], personal=True)
    return [_told(principal, each, found.get(each.position)) for each in entries]


def told(principal: Principal, event: Recorded | Unreadable) -> Told:
    """One event of the log in words."""
    if isinstance(event, Unreadable):
        return Told(
            position=event.position,
            stream=event.stream,
            version=event.version,
            type=event.name,
            at=None,
            summary=UNREADABLE,
            by="",
            actor="",
            account_id=event.account_id,
            data={},
        )
    metadata, owner = event.metadata, _owner(principal, event)
    rights = _rights(principal)
    return Told(
        position=event.position,
        stream=event.stream,
        version=event.version,
        type=stored_name(type(event.event)),
        at=metadata.at,
        summary=sentence(event.event),
        by=who(metadata.actor, event.account_id, metadata.impersonator),
        actor=metadata.actor,
        account_id=event.account_id,
        impersonator=metadata.impersonator,
        command_id=metadata.command_id,
        request_id=metadata.request_id,
        cause=metadata.cause,
        reason=metadata.reason if sees_reasons(owner, rights) else None,
        data=seen(event, owner, rights),
    )


def _told(principal: Principal, entry: HistoryEntry, event: Recorded | Unreadable | None) -> Told:
    if isinstance(event, Recorded):
        return told(principal, event)
    # It was read once, by whoever wrote the read model: what is known of it is shown.
    return Told(
        position=entry.position,
        stream=entry.stream,
        version=entry.version,
        type=entry.type,
        at=entry.at,
        summary=UNREADABLE,
        by=who(entry.actor, entry.account_id),
        actor=entry.actor,
        account_id=entry.account_id,
        request_id=entry.request_id,
        data=entry.data,
    )


def _owner(principal: Principal, event: Recorded) -> bool:
    return principal.kind == "account" and principal.id == event.account_id


def _rights(principal: Principal) -> frozenset[Right]:
    asked: tuple[Right, ...] = (
        "history.read",
        "accounts.read",
        "accounts.email",
        "accounts.notes",
    )
    return frozenset(right for right in asked if principal.may(right))
