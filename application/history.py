"""Histories: what happened to a key or an account, by whom and why. For its owner and staff."""

import asyncio
from collections.abc import Sequence

import msgspec

from application.allowances import allowance_id
from application.deciding import API_KEY, Principal, load
from application.errors import StreamUnreadable
from application.ports import HistoryEntry, Ports
from domain.errors import NotFound
from domain.event import Recorded


async def of_key(
    ports: Ports,
    principal: Principal,
    key_id: str,
    before: int | None,
    limit: int,
    at_least: int | None = None,
) -> list[HistoryEntry]:
    """Of a key and of its own quota, newest first, before this position of the log.

    NotFound where it is somebody else's, PositionNotReached where `at_least` takes too long.
    """
    key = (await load(ports, API_KEY, key_id)).state
    if key is None or not _may_read(principal, key.account_id):
        raise NotFound("key", key_id)
    streams = [key_id, allowance_id(key_id)]
    entries = await ports.read_models.history_of_streams(streams, before, limit, at_least)
    return await _with_reasons(ports, entries)


async def of_account(
    ports: Ports,
    principal: Principal,
    account_id: str,
    before: int | None,
    limit: int,
    at_least: int | None = None,
) -> list[HistoryEntry]:
    """Of an account and all that is its: sign-ins, keys, quotas. Otherwise as `of_key`."""
    if not _may_read(principal, account_id):
        raise NotFound("account", account_id)
    entries = await ports.read_models.history_of_account(account_id, before, limit, at_least)
    if not entries and before is None and ports.directory.account(account_id) is None:
        raise NotFound("account", account_id)
    return await _with_reasons(ports, entries)


def _may_read(principal: Principal, account_id: str) -> bool:
    """A service may manage keys, but reasons are people's words: they are not for it."""
    return principal.is_staff or (principal.kind == "account" and principal.id == account_id)


async def _with_reasons(ports: Ports, entries: Sequence[HistoryEntry]) -> list[HistoryEntry]:
    """With the reasons, which are in the log only: those of an erased person can't be read."""
    streams = list({entry.stream for entry in entries})
    read = await asyncio.gather(*(_stream(ports, each) for each in streams))
    reasons = {
        (stream, event.version): event.metadata.reason
        for stream, events in zip(streams, read, strict=True)
        for event in events
    }
    return [
        msgspec.structs.replace(entry, reason=reasons.get((entry.stream, entry.version)))
        for entry in entries
    ]


async def _stream(ports: Ports, stream: str) -> list[Recorded]:
    try:
        return await ports.store.read(stream, personal=True)
    except StreamUnreadable:
        return []  # what is known of it is shown all the same
